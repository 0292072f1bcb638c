"""Against MLflow's model registry on SQLite, holding the same rows; left out, with a word, where it cannot be had."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.peers import installed

# Name, number, time in milliseconds, tags.
Row = tuple[str, int, int, Mapping[str, str]]
# Its rows are written through its own tables: through its API a hundred thousand versions take an hour.
_PROGRAM = r"""
import json, sys, time
from mlflow.store.model_registry import sqlalchemy_store
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag, SqlRegisteredModel
from sqlalchemy import create_engine, insert
uri = "sqlite:///" + sys.argv[1]
store = sqlalchemy_store.SqlAlchemyStore(uri)
models, versions, tags = {}, [], []
for name, number, created, labels in map(json.loads, sys.stdin):
    models[name] = {"name": name, "creation_time": created, "last_updated_time": created, "workspace": "default"}
    version = {"name": name, "version": number, "creation_time": created, "last_updated_time": created}
    versions.append({**version, "source": "/x", "status": "READY", "current_stage": "None", "workspace": "default"})
    for key, value in labels.items():
        tags.append({"name": name, "version": number, "key": key, "value": value, "workspace": "default"})
def fill(table, rows):
    known = {column.name for column in table.__table__.columns}
    rows = [{key: value for key, value in row.items() if key in known} for row in rows]
    for start in range(0, len(rows), 10000):
        connection.execute(insert(table), rows[start:start + 10000])
with create_engine(uri).begin() as connection:
    fill(SqlRegisteredModel, list(models.values()))
    fill(SqlModelVersion, versions)
    fill(SqlModelVersionTag, tags)
for _ in range(int(sys.argv[2]) + 1):
    began = time.perf_counter()
    found = store.search_model_versions(sys.argv[3], max_results=20)
    print(json.dumps([(time.perf_counter() - began) * 1000, len(found)]))
"""


def search(folder: Path, rows: list[Row], text: str, rounds: int) -> list[float] | None:
    """Return the milliseconds that MLflow takes to find 20 versions, each time; None where it cannot be had."""
    venv = installed("mlflow-skinny", "sqlalchemy", "alembic")
    if venv is None:
        return None
    done = subprocess.run(
        [venv / "bin" / "python", "-c", _PROGRAM, folder / "mlflow.db", str(rounds), text],
        input="\n".join(map(json.dumps, rows)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert all(found == 20 for _, found in told), told
    # The first one pays for what is imported and prepared.
    return [took for took, _ in told[1:]]

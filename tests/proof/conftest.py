"""What the proofs share, made once: a prepared store to copy, and a process to run the command line in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.running import Runner, started
from tests.proof.scenes import prepare


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has something of every kind, to be copied and never changed."""
    place = tmp_path_factory.mktemp("template") / "repo"
    prepare(place)
    return place


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with started(tmp_path_factory.mktemp("runner")) as runner:
        yield runner

"""The rules of the house (docs/architecture.md), held by reading the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mvs

ROOT = Path(mvs.__file__).parent

# What may import what: strictly downward. "" is `mvs` itself, which hands out what lies below.
FLOORS = {
    "_about": 0,
    "errors": 0,
    "running": 0.5,
    "format": 1,
    "codecs": 1,
    "backends": 1,
    "query": 1,
    "store": 2,
    "ops": 3,
    "hooks": 3,
    "handles": 3.5,
    "repository": 4,
    "": 4.5,
    "cli": 5,
    "web": 5,
    "integrations": 5,
    "__main__": 6,
}
MAX_LINES = 500
MAX_ENTRIES = 12
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "boto3", "obstore"}
HEAVY = {"numpy", "rich", "obstore", "filelock", "msgpack", "blake3", "sqlite3"}


@dataclass(frozen=True)
class Import:
    """One imported module, and whether the statement stands at the top of its file."""

    module: str
    line: int
    at_top: bool
    relative: bool


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def floor(self) -> str:
        """The part of the house it belongs to."""
        return floor_of(self.name)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._imports())

    def _imports(self) -> Iterator[Import]:
        top = set(map(id, self.tree.body))
        for statement in self.tree.body:
            if isinstance(statement, ast.If) and ast.unparse(statement.test).startswith(
                ("TYPE_CHECKING", "sys.version")
            ):
                top.update(map(id, [*statement.body, *statement.orelse]))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node.lineno, id(node) in top, relative=False)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    module = full if full in names() else node.module or ""
                    yield Import(module, node.lineno, id(node) in top, relative=node.level > 0)

    def uses(self) -> Iterator[tuple[str, int]]:
        """Yield every dotted name that is used, as it is written, with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                yield ast.unparse(node), node.lineno


def name_of(path: Path) -> str:
    parts = ("mvs", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def names() -> frozenset[str]:
    return frozenset(name_of(path) for path in ROOT.rglob("*.py"))


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        found.append(Module(name_of(path), path, source, ast.parse(source)))
    return tuple(found)


def test_every_module_stands_on_a_floor() -> None:
    assert [m.name for m in modules() if m.floor not in FLOORS] == []


def test_imports_go_strictly_downward() -> None:
    """What looks upward cannot be understood, tested or replaced without what is above it."""
    wrong = [
        f"{module.name}:{found.line} imports {found.module}"
        for module in modules()
        for found in module.imports
        if found.module.split(".")[0] == "mvs"
        and floor_of(found.module) != module.floor
        and FLOORS[floor_of(found.module)] >= FLOORS[module.floor]
    ]
    assert wrong == []


def test_no_imports_run_in_a_circle() -> None:
    graph = {module.name: {found.module for found in module.imports} & names() for module in modules()}
    TopologicalSorter(graph).prepare()


def test_imports_are_absolute_and_at_the_top() -> None:
    """An import elsewhere says why on its line, or it hides what a module depends on."""
    wrong = [
        f"{module.name}:{found.line}"
        for module in modules()
        for found in module.imports
        if found.relative or not (found.at_top or "noqa: PLC0415" in module.source.splitlines()[found.line - 1])
    ]
    assert wrong == []


def test_no_module_has_two_duties() -> None:
    lengths = {module.name: len(module.source.splitlines()) for module in modules()}
    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}


def test_no_module_is_named_for_nothing() -> None:
    stems = {part for module in modules() for part in module.name.split(".")}
    assert stems & {"utils", "util", "core", "common", "manager", "helpers", "misc"} == set()


def test_every_folder_is_read_at_a_glance() -> None:
    folders = [ROOT, *(path for path in ROOT.rglob("*") if path.is_dir() and not path.name.startswith("__"))]
    crowded = {}
    for folder in folders:
        # What begins with an underscore, and py.typed, is for machines.
        shown = [path.name for path in folder.iterdir() if path.name != "py.typed" and not path.name.startswith("_")]
        if len(shown) > MAX_ENTRIES:
            crowded[folder.name] = sorted(shown)
    assert crowded == {}


def test_only_the_command_line_prints_and_exits() -> None:
    """A library that prints spoils the output of its caller; one that exits ends his training."""
    mouths = {"print", "exit", "quit", "sys.exit", "os._exit", "os.abort", "SystemExit", "sys.stdout", "sys.__stdout__"}
    wrong = [
        f"{module.name}:{line} uses {used}"
        for module in modules()
        if module.floor != "cli"
        for used, line in module.uses()
        if used in mouths or used.startswith("sys.stderr.write")
    ]
    assert wrong == []
    assert importers("click") <= {"cli"}


def test_only_the_workspace_reads_the_environment() -> None:
    readers = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.path.expandvars", "environ", "getenv"}
    assert {m.name for m in modules() for used, _ in m.uses() if used in readers} == {"mvs.repository.workspace"}


def test_only_the_repository_asks_the_time() -> None:
    """Whoever is handed the time can be tested, and replayed, at any time."""
    clocks = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    askers = {m.name for m in modules() for used, _ in m.uses() if used.endswith(clocks)}
    askers |= {m.name for m in modules() for found in m.imports if found.module == "time"}
    assert askers == {"mvs.repository.repository", "mvs.cli.bar"}


def test_only_backends_take_locks() -> None:
    assert importers("filelock") == {"backends"}
    takers = {m.floor for m in modules() for used, _ in m.uses() if used.startswith(("fcntl.flock", "fcntl.lockf"))}
    assert takers <= {"backends"}


def test_only_backends_use_the_network() -> None:
    users = set().union(*(importers(package) for package in NETWORK))
    assert users <= {"backends", "repository"}
    workspace = next(m for m in modules() if m.name == "mvs.repository.workspace")
    assert {used for used, _ in workspace.uses() if used.startswith("socket.")} <= {"socket.gethostname"}
    assert importers("urllib") | importers("http") | importers("obstore") <= {"backends"}


@pytest.mark.parametrize("module", ["mvs", "mvs.cli.main"])
def test_nothing_heavy_is_imported_at_start(module: str) -> None:
    """Completion and `--version` run at every keystroke of somebody."""
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "mvs" in loaded
    assert loaded & HEAVY == set()


def importers(package: str) -> set[str]:
    return {m.floor for m in modules() for found in m.imports if found.module.split(".")[0] == package}

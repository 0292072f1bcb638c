"""Write docs/reference from the code: the command line from its commands, Python from its docstrings.

`python tests/reference.py` writes the pages; tests/test_docs.py fails when they are not what it would write.
Signatures are read from the source, so that the pages are the same under every Python and click.
"""

import ast
import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

import mvs
from mvs.cli.main import ALIASES, main
from mvs.handles.training.options import About, Watching
from mvs.handles.training.watcher import Watcher
from mvs.repository.retention import Pruning

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs` from the code; changes made here are lost. -->"
COMMON = """Options of every verb:

| option | what it does |
|---|---|
| `-q`, `--quiet` | No notices, no progress |
| `--debug` | Show the traceback of an error |
| `-h`, `--help` | Show the help of a verb |
"""
COMMON_NAMES = {"-q", "--quiet", "--debug", "-h", "--help"}
# Options that a verb passes on, and where each is named, with its type and its default.
OPTIONS: dict[str, tuple[type, list[Callable[..., Any]]]] = {
    "About": (About, [mvs.Repository.create]),
    "Watching": (Watching, [Watcher.__init__, mvs.Checkpointer.__init__]),
    "Pruning": (Pruning, [mvs.Repository.plan_prune]),
}
# What these say is a list, in the docstrings and on the page.
SECTIONS = ("Attributes:", "Raises:")


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {REFERENCE / "cli.md": cli_page(), REFERENCE / "python.md": python_page()}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its full name, in the order of the help."""
    yield from _commands("mvs", main)


def cli_page() -> str:
    """Return the reference of the command line."""
    parts = [
        NOTE,
        "# The command line",
        "Facts go to standard output, everything else to standard error.\n"
        "What a SPEC may be is in the [tutorial](../tutorial.md#naming-a-version).\n"
        "Exit codes are in [errors](../errors.md).",
        "Options before the verb:",
        _options(main),
        COMMON.strip(),
    ]
    for name, command in commands():
        parts += [f"## {name}", "```\n" + " ".join([name, *_usage(command)]) + "\n```"]
        short = [alias for alias, verb in ALIASES.items() if name == f"mvs {verb}"]
        text = inspect.cleandoc(command.help or "").replace("\n\n", ".\n\n").removesuffix(".")
        parts.append(f"{text}." + "".join(f"\nShort: `mvs {alias}`." for alias in short))
        if table := _options(command):
            parts.append(table)
    return "\n\n".join(parts) + "\n"


def _commands(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(f"{name} {verb}", command)
        else:
            yield f"{name} {verb}", command


def _usage(command: click.Command) -> Iterator[str]:
    if any(isinstance(param, click.Option) for param in command.params):
        yield "[OPTIONS]"
    for param in command.params:
        if isinstance(param, click.Argument):
            word = _value(param)
            yield word if param.required else f"[{word}]"


def _options(command: click.Command) -> str:
    rows = []
    for param in command.params:
        if isinstance(param, click.Option) and not COMMON_NAMES.issuperset(param.opts):
            names = ", ".join(f"`{name}`" for name in param.opts)
            if not param.is_flag:
                names = f"{names[:-1]} {_value(param)}`"
            again = "; may be repeated" if param.multiple else ""
            rows.append(f"| {names} | {(param.help or '').removesuffix('.')}{again} |")
    return "\n".join(["| option | what it does |", "|---|---|", *rows]) if rows else ""


def _value(param: click.Parameter) -> str:
    if param.metavar:
        return param.metavar
    if isinstance(param.type, click.Choice):
        return "{" + "|".join(map(str, param.type.choices)) + "}"
    if isinstance(param, click.Argument):
        return str(param.name).upper()
    return "N" if isinstance(param.type, click.IntRange) else "TEXT"


def python_page() -> str:
    """Return the reference of the Python API."""
    public = [getattr(mvs, name) for name in mvs.__all__ if name not in ("__version__", "errors")]
    functions = [thing for thing in public if inspect.isfunction(thing)]
    classes = [thing for thing in public if inspect.isclass(thing)]
    parts = [
        NOTE,
        "# The Python API",
        "Everything is reached from `import mvs`.\n"
        "The errors are `mvs.errors`, listed in [errors](../errors.md); `mvs.__version__` is the release.",
        "In the signatures:",
        _like("mvs.repository.opening"),
    ]
    for function in functions:
        parts += [f"## mvs.{function.__name__}", _signature(function, f"mvs.{function.__name__}"), _text(function)]
    for kind in classes:
        parts += [f"## mvs.{kind.__name__}", _text(kind)]
        if dataclasses.is_dataclass(kind) and "Attributes:" not in (kind.__doc__ or ""):
            parts.append("\n".join(f"- `{field.name}`: `{_type(field.type)}`" for field in dataclasses.fields(kind)))
        for name, member in members(kind):
            parts += _member(kind.__name__, name, member)
    return "\n\n".join(parts) + "\n"


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the members of a class of the API, and those that it has from another class of mvs."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("mvs."):
            # Not what a class only asks of those that inherit it.
            found |= {name: member for name, member in vars(base).items() if name not in found}
    yield from found.items()


def _member(owner: str, name: str, member: Any) -> list[str]:
    if name.startswith("_"):
        return []
    found = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "func", member))
    found = getattr(found, "__func__", found)
    if not inspect.isfunction(found) or not found.__doc__:
        return []
    if inspect.isfunction(member) or isinstance(member, classmethod):
        return [f"### {owner}.{name}", _signature(found, name), _text(found)]
    return [f"### {owner}.{name}", f"Property, `{_returns(found)}`.\n{_text(found)}"]


def _node(function: Callable[..., Any]) -> ast.FunctionDef:
    node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def _returns(function: Callable[..., Any]) -> str:
    returns = _node(function).returns
    # A method of this name hides the built-in one from the annotations of its class.
    return _type(returns.value if isinstance(returns, ast.Constant) else returns)


def _type(annotation: Any) -> str:
    if not isinstance(annotation, ast.AST):
        return inspect.formatannotation(annotation).replace("mvs.format.ids.", "")
    return ast.unparse(annotation).replace("builtins.", "").replace("'", "")


def _signature(function: Callable[..., Any], name: str) -> str:
    given = _node(function).args
    words = []
    plain = given.posonlyargs + given.args
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(given.defaults)), *given.defaults]
    for argument, default in zip(plain, defaults, strict=True):
        if argument.arg not in ("self", "cls"):
            words.append(_parameter(argument, default))
    if given.vararg:
        words.append("*" + _parameter(given.vararg, None))
    elif given.kwonlyargs or given.kwarg:
        words.append("*")
    words += [_parameter(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        words += _options_of(_type(given.kwarg.annotation))
    end = f") -> {_returns(function)}"
    line = f"{name}({', '.join(words)}{end}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + end
    return f"```python\n{line}\n```"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    text = f"{argument.arg}: {_type(argument.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _options_of(annotation: str) -> list[str]:
    """Return what `Unpack[...]` stands for, as the functions have it that name each of its keys."""
    kind, functions = OPTIONS[annotation.removeprefix("Unpack[").removesuffix("]")]
    named: dict[str, str] = {}
    for function in functions:
        given = _node(function).args
        named |= {pair[0].arg: _parameter(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)}
    assert named.keys() >= kind.__annotations__.keys()
    return [text for name, text in named.items() if name in kind.__annotations__]


def _like(module: str) -> str:
    nodes = ast.parse(inspect.getsource(importlib.import_module(module))).body
    given = [(ast.unparse(node.targets[0]), ast.unparse(node.value)) for node in nodes if isinstance(node, ast.Assign)]
    return "\n".join(f"- `{name}` is `{value}`" for name, value in given if name.endswith("Like"))


def _text(thing: Any) -> str:
    return "\n\n".join(_paragraph(part) for part in (inspect.getdoc(thing) or "").split("\n\n"))


def _paragraph(text: str) -> str:
    title, *lines = text.split("\n")
    if title not in SECTIONS:
        return text
    items: list[str] = []
    for line in lines:
        if line.startswith("     "):
            items[-1] += " " + line.strip()
        else:
            names, _, what = line.strip().partition(": ")
            items.append("- " + ", ".join(f"`{name}`" for name in names.split(", ")) + f": {what}")
    return f"{title}\n\n" + "\n".join(items)


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        click.echo(path.relative_to(ROOT))

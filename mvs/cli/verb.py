"""What all verbs share: common options, types of arguments, the repository."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from mvs.cli.bar import Bar
from mvs.cli.main import settings
from mvs.errors import InvalidMetadata, MvsError, NotFound
from mvs.handles.version import Version
from mvs.query.sizes import parse_size
from mvs.repository import opening
from mvs.repository.repository import Repository

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])
Options = ParamSpec("Options")


SPECS = """\b
SPEC is one of
  NAME               the most recently saved version (also NAME:latest)
  NAME:latest~N      the one saved N saves before it
  NAME:VERSION       that one
  NAME:BEGINNING*    the only one that begins so
  NAME:^1.2          the highest number from 1.2 on, before 2
  NAME:~1.2          the highest from 1.2 on, before 1.3
  'NAME:>=1.0,<2'    the highest that all clauses hold
  NAME@ALIAS         the one an alias points at
  NAME#DIGITS        the only one whose id begins so
"""

# What a verb exits with that compares and finds a difference, as diff(1) and git have it.
DIFFERENT = 1

_COMMON = ((["-q", "--quiet"], "No notices, no progress"), (["--debug"], "Show the traceback of an error"))


class Verb(click.Command):
    """A command that also takes `-q` and `--debug` behind its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for names, text in _COMMON:
            self.params.append(click.Option(names, is_flag=True, expose_value=False, callback=_remember, help=text))


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and param.name:
        settings(ctx)[param.name] = True


def pass_repository(function: Callable[Concatenate[Repository, Options], None]) -> Callable[..., None]:
    """Open the repository of the working directory and pass it as the first argument."""

    @functools.wraps(function)
    def opened(*args: Options.args, **kwargs: Options.kwargs) -> None:
        function(open_repository(click.get_current_context()), *args, **kwargs)

    return opened


def open_repository(ctx: click.Context) -> Repository:
    """Open the repository that the options before the verb choose."""
    return opening.open_with(None, Bar(quiet=settings(ctx)["quiet"]))


def json_option(function: Function) -> Function:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON")(function)


def place_options(function: Function) -> Function:
    """Add what says how a URL of a remote is reached."""
    for option in (
        click.option(
            "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="Of silence, then try again (30)"
        ),
        click.option(
            "--path-style/--host-style", default=None, help="The bucket is a part of the path, not of the host"
        ),
        click.option("--region", metavar="NAME", help="Of the bucket"),
        click.option("--endpoint", metavar="URL", help="Of an S3 server that is not Amazon's"),
        click.option("--single-writer", is_flag=True, help="Use a server that does not keep two writers apart"),
    ):
        function = option(function)
    return function


def where_option(function: Function) -> Function:
    """Add `--where`."""
    text = 'Only versions for which EXPR is true, such as "metadata.accuracy > 0.9"'
    return click.option("--where", metavar="EXPR", help=text)(function)


def complete_spec(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what the shell offers for a spec: names, and the versions of a name once it is written."""

    def words(repo: Repository) -> Iterable[str]:
        name, at, _ = incomplete.partition("@")
        if at:
            return [alias.alias for alias in repo.aliases(name)]
        name, colon, _ = incomplete.partition(":")
        tags = [str(version.tag) for version in repo.list(name if colon else None)]
        return tags if colon else (tag.partition(":")[0] for tag in tags)

    return _offered(ctx, incomplete, words)


def complete_remote(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what the shell offers for the name of a remote."""
    return _offered(ctx, incomplete, lambda repo: repo.remotes)


def complete_pin(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what the shell offers for a pin: names, and paths."""
    return _offered(ctx, incomplete, lambda repo: (word for pin in repo.pins() for word in (pin.tag.name, pin.path)))


def _offered(
    ctx: click.Context, incomplete: str, words: Callable[[Repository], Iterable[str]]
) -> "list[CompletionItem]":
    """Return the words that begin so, each once; none where the repository cannot be read."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only the shell asks

    try:
        found = words(opening.open_with(ctx.find_root().params.get("directory"), Bar(quiet=True)))
    except MvsError:
        return []
    return [CompletionItem(word) for word in dict.fromkeys(found) if word.startswith(incomplete)]


def find(repo: Repository, spec: str) -> Version:
    """Return the version that a spec stands for here, or at a remote if it is REMOTE/SPEC."""
    name, slash, rest = spec.partition("/")
    if slash and name in repo.remotes:
        try:
            return repo.get(spec)
        except NotFound:
            return repo.remote(name).get(rest)
    return repo.get(spec)


def confirm(tags: Sequence[str], where: str = "") -> None:
    """Show what would be deleted, and ask; anything but yes ends the command."""
    for tag in tags:
        click.echo(tag, err=True)
    ask(len(tags), where)


def ask(count: int, where: str = "") -> None:
    """Ask whether so many versions are to be deleted; anything but yes ends the command."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: confirm with -y")
    click.confirm(f"Delete {count} version{'s' if count != 1 else ''}{where}?", abort=True, err=True)


def byte_count(text: str) -> int:
    """Return the bytes that `500MB`, `1.5GiB` or a plain number means."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def label(text: str) -> tuple[str, str]:
    """Return key and value of `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"'{text}' is not KEY=VALUE")
    return key, value


def meta(text: str) -> tuple[str, Any]:
    """Return key and value of `KEY=VALUE`, the value as JSON where it parses, else a string."""
    key, value = label(text)
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def read_json(path: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        InvalidMetadata: the file cannot be read, or holds anything else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidMetadata(f"cannot read JSON from '{path}': {reason}") from error
    if not isinstance(found, dict):
        raise InvalidMetadata(f"'{path}' holds no JSON object")
    return found

"""The command `mvs`: which verbs there are, and how errors leave the program."""

import contextlib
import importlib
import os
import sys
from typing import Any

import click

from mvs._about import __version__
from mvs.errors import HookRefused, MvsError, QueryError, StorageFailed, command

INTERRUPTED = 130
INTERNAL = 70

# Verb -> module that has it. Nothing but click is imported before a verb is chosen.
VERBS = {
    "init": "setup",
    "save": "change",
    "list": "find",
    "show": "find",
    "path": "files",
    "cat": "files",
    "checkout": "files",
    "export": "files",
    "delete": "change",
    "restore": "change",
    "prune": "change",
    "alias": "refs",
    "label": "refs",
    "log": "find",
    "diff": "compare",
    "dedup": "dense",
    "du": "dense",
    "gc": "dense",
    "fsck": "checks",
    "push": "remotes",
    "pull": "remotes",
    "fetch": "remotes",
    "remote": "remotes",
    "mirror": "remotes",
    "bundle": "bundles",
    "import": "bundles",
    "clone": "bundles",
    "pin": "git.pins",
    "unpin": "git.pins",
    "status": "git.pins",
    "hook": "git.hooks",
    "watch": "training",
    "run": "training",
    "config": "setup",
    "completion": "setup",
}
ALIASES = {"ls": "list", "rm": "delete"}


class Verbs(click.Group):
    """The verbs, imported when they are asked for, in the order of a working day."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb by its name or its short form."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        module = importlib.import_module(f"mvs.cli.verbs.{VERBS[name]}")
        # `list_` is `list`: its own name means something else in Python, or beside it.
        found: click.Command = getattr(module, f"{name}_", None) or getattr(module, name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, and suggest a near one for a slip of the finger."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415 - only on the way to an error

            near = difflib.get_close_matches(args[0], [*VERBS, *ALIASES], n=1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from error
            raise


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Short forms: ls for list, rm for delete.",
)
@click.option("-C", "directory", metavar="DIR", help="Work as if started in DIR")
@click.option("-q", "--quiet", is_flag=True, help="No notices, no progress")
@click.option("--debug", is_flag=True, help="Show the traceback of an error")
@click.version_option(__version__, prog_name="mvs", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, directory: str | None, quiet: bool, debug: bool) -> None:
    """Git for model artifacts: immutable versions of models, found by name"""
    ctx.ensure_object(dict).update(quiet=quiet, debug=debug)
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise click.UsageError(f"cannot work in '{directory}': {error.strerror}") from error


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, an error's own code, 2 for usage, 130 when interrupted."""
    said: dict[str, bool] = {}
    try:
        code = main.main(arguments, prog_name="mvs", standalone_mode=False, obj=said)
        # What cannot be written is an error of ours, not one that Python prints behind our back at its end.
        sys.stdout.flush()
    except MvsError as error:
        if said.get("debug"):
            raise
        # The first shows the expression on lines of its own, the second what a program said.
        lines = error.message.split("\n") if isinstance(error, QueryError | HookRefused) else [error.message]
        _say("\n".join(map(_printable, lines)), error.hint)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        reason = error.__cause__ or error.__context__
        if isinstance(error, click.Abort) and not isinstance(reason, KeyboardInterrupt):
            click.echo("not confirmed; nothing was changed", err=True)
            code = 1
        else:
            click.echo("interrupted; the store is whole", err=True)
            code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough.
        code = 1
        _drop_output()
    except OSError as error:
        if said.get("debug"):
            raise
        place = f"'{error.filename}': " if error.filename else ""
        _say(_printable(f"{place}{error.strerror or error}"), "")
        code = StorageFailed.exit_code
        _drop_output()
    except Exception as error:
        if said.get("debug"):
            raise
        _say(
            _printable(f"internal error: {type(error).__name__}: {error}"),
            command("mvs", "--debug", *(sys.argv[1:] if arguments is None else arguments)),
        )
        code = INTERNAL
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """Let what is still to be written go nowhere: it could not be written, and Python tries once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _say(message: str, hint: str) -> None:
    from mvs.repository.workspace import forbids_colour  # noqa: PLC0415 - only on the way to an error

    # None: click decides by the terminal.
    colour = False if forbids_colour() else None
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True, color=colour)
    if hint:
        click.echo(f"hint:  {_printable(hint)}", err=True)


def _printable(text: str) -> str:
    # A file name of the user's may hold what a terminal obeys, or bytes that none takes.
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def settings(ctx: click.Context) -> dict[str, Any]:
    """Return what the options before the verb said."""
    found: dict[str, Any] = ctx.find_root().obj
    return found

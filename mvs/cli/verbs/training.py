"""Verbs for training runs: watch, run."""

import json
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, Unpack

import click

from mvs.cli.verb import Verb, json_option, label, pass_repository
from mvs.handles.training.options import Watching
from mvs.handles.version import Version
from mvs.query.sizes import parse_duration
from mvs.repository.repository import Repository


def seconds(text: str) -> float:
    """Return the seconds that `30s` or `5m` means."""
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def best(text: str) -> tuple[str, str, int]:
    """Return metric, direction and number of `METRIC:min` or `METRIC:max:3`."""
    metric, _, rest = text.partition(":")
    mode, _, number = (rest or "min").partition(":")
    if not metric or mode not in ("min", "max") or not (number or "1").isdecimal() or number == "0":
        raise click.BadParameter(f"'{text}' is not METRIC:min or METRIC:max, with a number behind if it is not one")
    return metric, mode, int(number or 1)


def _split(ctx: click.Context, param: click.Parameter, value: tuple[str, str, int] | None) -> None:
    metric, mode, number = value or (None, "min", None)
    ctx.params.update(monitor=metric, mode=mode, keep_best=number)


def _dict(ctx: click.Context, param: click.Parameter, value: Iterable[tuple[str, str]]) -> dict[str, str]:
    return dict(value)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both verbs take, and pass it as `Repository.watch` takes it."""
    best_option = click.option(
        "--keep-best",
        metavar="METRIC:min|max[:N]",
        type=best,
        expose_value=False,
        callback=_split,
        help="And keep the best by a metric",
    )
    label_option = click.option(
        "-l", "--label", "labels", type=label, metavar="K=V", multiple=True, callback=_dict, help="Add a label to each"
    )
    for option in reversed((
        click.option("--pattern", metavar="GLOB", default="checkpoint-*", help="What a checkpoint is called in DIR"),
        click.option("--marker", metavar="FILE", help="The file in a checkpoint that is written last"),
        click.option("--settle", metavar="TIME", type=seconds, default="30s", help="How long it must not change"),
        click.option("--keep-last", metavar="N", type=click.IntRange(min=1), help="Delete all but the newest N"),
        best_option,
        label_option,
    )):  # fmt: skip
        function = option(function)
    return function


def _print(version: Version, *, as_json: bool, err: bool = False) -> None:
    # One line each: whoever reads them need not wait for the end.
    click.echo(json.dumps(version.to_dict(), ensure_ascii=False) if as_json else str(version.tag), err=err)


@click.command(cls=Verb)
@click.argument("directory", metavar="DIR", type=click.Path())
@click.argument("name")
@_options
@click.option("--once", is_flag=True, help="Save what is there, and end")
@json_option
@pass_repository
def watch(
    repo: Repository,
    directory: str,
    name: str,
    once: bool,
    as_json: bool,
    **options: Unpack[Watching],
) -> None:
    """Save each checkpoint that is written into DIR as a version of NAME, once it is whole

    Step and metrics come from trainer_state.json and the like. Runs until Ctrl-C or SIGTERM, and prints the tag of
    each version. What is saved already is not saved again, also not by the next call.
    """
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        # The second time at once.
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for version in repo.watch(directory, name, once=once, stop=stop, **options):
            _print(version, as_json=as_json)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(cls=Verb, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--watch", "directory", metavar="DIR", required=True, type=click.Path(), help="Where it writes")
@click.option("--name", required=True, help="The name of what it makes")
@_options
@click.option("--env", "variables", metavar="NAME", multiple=True, help="Note this environment variable too")
@json_option
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]...", type=click.UNPROCESSED)
@pass_repository
@click.pass_context
def run(
    ctx: click.Context,
    repo: Repository,
    directory: str,
    name: str,
    variables: list[str],
    as_json: bool,
    words: list[str],
    **options: Unpack[Watching],
) -> None:
    """Run a training command, save what it writes into DIR, and exit with its code

    Checkpoints are saved as `mvs watch` does it; where there were none, all of DIR is one version when the command
    has succeeded. Command, exit code, duration and some variables are kept with them, secrets are not.
    """
    code = repo.run(
        words,
        watch=directory,
        name=name,
        variables=variables,
        # Standard output is the command's own.
        saved=lambda version: _print(version, as_json=as_json, err=True),
        **options,
    )
    ctx.exit(code)

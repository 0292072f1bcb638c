"""Verbs that compare versions: diff."""

from collections.abc import Iterable, Iterator

import click

from mvs.cli import diffing, render
from mvs.cli.main import settings
from mvs.cli.verb import DIFFERENT, SPECS, Verb, complete_spec, json_option, pass_repository
from mvs.errors import InvalidTag, MvsError, NotARepository, NotFound
from mvs.repository.pinning import Pinned
from mvs.repository.repository import Repository


@click.command(cls=Verb, epilog=SPECS)
@click.argument("before", metavar="A", shell_complete=complete_spec)
@click.argument("after", metavar="B", required=False, shell_complete=complete_spec)
@click.option("--tensors", is_flag=True, help="Compare the weights, and sum them up by layer")
@click.option("--all", "each", is_flag=True, help="Compare the weights, and list every tensor")
@json_option
@pass_repository
def diff(repo: Repository, before: str, after: str | None, tensors: bool, each: bool, as_json: bool) -> None:
    """Show what differs between two versions: files, labels, metadata, weights

    The exit code is 1 when something differs, 0 when nothing does. Weights that are the same are known without
    reading them. Revisions of git instead of versions compare what was pinned; one alone is compared with what is
    pinned now.
    """
    try:
        if after is None:
            repo.get(before)
            raise click.UsageError(f"'{before}' is a version; with which one is it to be compared?")
        found = repo.diff(before, after, tensors=tensors or each)
    except (NotFound, InvalidTag) as error:
        _diff_pins(repo, before, after, as_json=as_json, unless=error)
        return
    if as_json:
        render.as_json(found.to_dict())
    else:
        diffing.diff(found, each=each)
        if not settings(click.get_current_context())["quiet"]:
            if found.same:
                click.echo(f"no difference between {found.before} and {found.after}", err=True)
            elif found.tensors == ():
                click.echo("no tensors in these files", err=True)
    if not found.same:
        click.get_current_context().exit(DIFFERENT)


def _diff_pins(repo: Repository, before: str, after: str | None, *, as_json: bool, unless: MvsError) -> None:
    try:
        found = repo.diff_pins(before, after)
    except (NotFound, NotARepository):
        # Neither of git: what was said of them as versions is what helps.
        raise unless from None
    if as_json:
        pairs = [{"before": old and old.to_dict(), "after": new and new.to_dict()} for old, new in found]
        render.as_json({"before": before, "after": after, "same": not found, "pins": pairs})
    elif found:
        render.columns(_rows(found))
    elif not settings(click.get_current_context())["quiet"]:
        click.echo("the same is pinned", err=True)
    if found:
        click.get_current_context().exit(DIFFERENT)


def _rows(found: Iterable[tuple[Pinned | None, Pinned | None]]) -> Iterator[tuple[str, str, str]]:
    for old, new in found:
        if old and new:
            yield "changed", f"{old.tag} -> {new.tag.version}", new.path
        elif one := old or new:
            yield "removed" if old else "added", str(one.tag), one.path

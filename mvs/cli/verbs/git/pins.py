"""Verbs of what a repository pins: pin, unpin, status."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import click

from mvs.cli import render
from mvs.cli.main import settings
from mvs.cli.verb import DIFFERENT, SPECS, Verb, complete_pin, complete_spec, json_option, pass_repository
from mvs.repository.pinning import Pinned, PinStatus
from mvs.repository.repository import Repository


@click.command(cls=Verb, epilog=SPECS)
@click.argument("spec", required=False, shell_complete=complete_spec)
@click.option("--to", metavar="PATH", type=click.Path(), help="The folder that it is checked out to")
@click.option("--update", is_flag=True, help="Pin what the aliases, or latest, stand for by now; of all, or one NAME")
@click.option("--resolve", is_flag=True, help="Resolve a merge conflict of git in mvs.lock")
@click.option(
    "--prefer",
    type=click.Choice(["newest", "ours", "theirs"]),
    help="With --resolve, what both sides changed: the version that was saved later, or the one of a side",
)
@json_option
@pass_repository
def pin(
    repo: Repository, spec: str | None, to: str | None, update: bool, resolve: bool, prefer: Any, as_json: bool
) -> None:
    """Note in mvs.lock which version this repository needs, and where; without SPEC, list what is pinned

    Only mvs.lock and .gitignore are written; `mvs checkout` brings the files. Another version of a name that is
    pinned takes its place.
    """
    if update + resolve + (to is not None) > 1 or (resolve and spec) or (to and not spec) or (prefer and not resolve):
        raise click.UsageError("pass SPEC [--to PATH], --update [NAME], or --resolve [--prefer WHICH]")
    if update:
        moved = repo.update_pins(*([spec] if spec else []))
        if as_json:
            render.as_json([{"before": before.to_dict(), "after": after.to_dict()} for before, after in moved])
        for before, after in () if as_json else moved:
            click.echo(render.plain(f"{before.tag} -> {after.tag.version}  {after.path}"))
        if not moved:
            _note("every pin is up to date")
        return
    if resolve:
        _list(repo.resolve_pins(prefer=prefer), as_json)
        _note("resolved; git add mvs.lock")
        return
    if spec is None:
        _list(repo.pins(), as_json)
        return
    # As the shell means it, not relative to the repository.
    done = repo.pin(spec, to=os.path.abspath(to) if to else None)
    render.told(done.to_dict(), render.plain(f"{done.tag}  {done.path}"), json_wanted=as_json)


@click.command(cls=Verb)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_pin)
@json_option
@pass_repository
def unpin(repo: Repository, names: tuple[str, ...], as_json: bool) -> None:
    """Take pins out of mvs.lock, by name or path; the files that are checked out stay"""
    gone = repo.unpin(*names)
    if as_json:
        render.as_json([pin.to_dict() for pin in gone])
    for pin in () if as_json else gone:
        click.echo(render.plain(f"{pin.tag}  {pin.path}"))


@click.command(cls=Verb)
@json_option
@pass_repository
def status(repo: Repository, as_json: bool) -> None:
    """Show what differs from what is pinned: files, newer versions, versions that were not pushed

    The exit code is 1 when something differs, 0 when nothing does. The remote is not asked: `mvs fetch` does that.
    """
    found = repo.status()
    if as_json:
        render.as_json([one.to_dict() for one in found])
    for one in () if as_json else found:
        if not one.clean:
            click.echo(render.plain(f"{one.pinned.tag}  {one.pinned.path}"))
            for line in _differences(one):
                click.echo(render.plain(f"  {line}"))
    clean = all(one.clean for one in found)
    if clean and not as_json:
        count = f"{len(found)} pin{'s' if len(found) != 1 else ''}"
        _note(f"{count}, and nothing differs" if found else "nothing is pinned")
    if not clean:
        click.get_current_context().exit(DIFFERENT)


def _differences(one: PinStatus) -> Iterator[str]:
    if not one.here:
        yield f"not in the store: mvs pull {one.pinned.tag}"
    if not one.checked_out:
        yield "not checked out: mvs checkout"
    for path in one.edited:
        yield f"edited   {path}"
    for path in one.missing:
        yield f"missing  {path}"
    if one.behind:
        yield f"behind   '{one.pinned.follows}', which is {one.behind}: mvs pin --update {one.pinned.tag.name}"
    if one.pushed is False:
        yield f"not pushed: mvs push {one.pinned.tag}"
    if one.problem:
        yield one.problem


def _list(pins: Iterable[Pinned], as_json: bool) -> None:
    rows = list(pins)
    if as_json:
        render.as_json([pin.to_dict() for pin in rows])
    elif rows:
        render.table(
            ("TAG", "ID", "PATH", "FOLLOWS"), [(str(pin.tag), pin.id[:12], pin.path, pin.follows) for pin in rows]
        )


def _note(text: str) -> None:
    if not settings(click.get_current_context())["quiet"]:
        click.echo(text, err=True)

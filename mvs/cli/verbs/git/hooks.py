"""Verbs that git calls: hook."""

import os
import sys

import click

from mvs.cli import render
from mvs.cli.main import settings
from mvs.cli.verb import Verb, byte_count, json_option, open_repository, pass_repository
from mvs.errors import ForbiddenPlace, NotARepository, UnsupportedFormat, command
from mvs.ops.pins.githooks import NAMES, pushed_revisions
from mvs.repository.hooking import LARGE
from mvs.repository.repository import Repository

_SHOWN = 10


@click.group(short_help="Let git look after what is pinned")
def hook() -> None:
    """Let git look after what is pinned"""


@hook.command("install", cls=Verb)
@json_option
@pass_repository
def hook_install(repo: Repository, as_json: bool) -> None:
    """Let git check pins out after a checkout or merge, push them before a push, and keep models out of commits

    Hooks that are there stay, and run first.
    """
    done = [str(path) for path in repo.install_hooks()]
    if as_json:
        render.as_json({"hooks": done})
    else:
        click.echo("\n".join(map(render.plain, done)))


@hook.command("uninstall", cls=Verb)
@json_option
@pass_repository
def hook_uninstall(repo: Repository, as_json: bool) -> None:
    """Take the hooks out again; those that were there before are back"""
    done = [str(path) for path in repo.uninstall_hooks()]
    if as_json:
        render.as_json({"hooks": done})
    elif done:
        click.echo("\n".join(map(render.plain, done)))


@hook.command("git", cls=Verb)
@click.argument("name", type=click.Choice(NAMES))
@click.argument("words", nargs=-1, metavar="[ARGUMENT]...")
@click.option(
    "--max-size",
    metavar="SIZE",
    type=byte_count,
    default=str(LARGE),
    help="The largest file that a commit may bring, 10MB unless told",
)
def hook_git(name: str, words: tuple[str, ...], max_size: int) -> None:
    """Do what a hook of git is to do; its arguments and standard input are those that git gives"""
    try:
        repo = open_repository(click.get_current_context())
    except NotARepository as error:
        # A work tree that was just made, and has the configuration and no store yet, must not fail for it.
        if isinstance(error, UnsupportedFormat) or name == "pre-push":
            raise
        _note(f"mvs does nothing here: {error.message}; {error.hint}")
        return
    if name == "pre-commit":
        _refuse_staged(repo, max_size)
    elif name == "pre-push":
        # A repository without a remote shares its store, or nothing.
        revisions = list(pushed_revisions(sys.stdin.read())) if repo.remotes else []
        if revisions and (tags := repo.unpushed_pins(*revisions)):
            done = repo.push(*tags)
            _note(f"pushed {', '.join(str(ref.tag) for ref in (*done.refs, *done.present))}")
    # The third argument of post-checkout is 0 where only files were checked out, no branch.
    elif name == "post-merge" or words[2:3] != ("0",):
        for pin in repo.checkout_pins():
            _note(f"checked out {pin.tag} to {pin.path}")


def _refuse_staged(repo: Repository, max_size: int) -> None:
    found = repo.staged(max_size=max_size)
    if not found:
        return
    for one in found[:_SHOWN]:
        click.echo(f"  {one.why:<6}  {render.size(one.size):>9}  {render.plain(one.path)}", err=True)
    if len(found) > _SHOWN:
        click.echo(f"  and {len(found) - _SHOWN} more", err=True)
    folders = {os.path.dirname(one.path) for one in found}
    what = found[0].path if len(found) == 1 else os.path.commonpath(folders) or found[0].path
    raise ForbiddenPlace(
        "what is staged belongs into the store, not into git; `git commit --no-verify` commits it all the same",
        hint=f"{command('git', 'reset', '-q', '--', what)} && {command('mvs', 'save', what, 'NAME')} && mvs pin NAME",
    )


def _note(text: str) -> None:
    if not settings(click.get_current_context())["quiet"]:
        click.echo(render.plain(text), err=True)

"""The verb for hooks, of git and of mvs: hook."""

import os
import sys

import click

from mvs.cli import render
from mvs.cli.main import settings
from mvs.cli.verb import SPECS, Verb, byte_count, complete_spec, json_option, open_repository, pass_repository
from mvs.errors import ForbiddenPlace, NotARepository, UnsupportedFormat, command
from mvs.ops.pins.githooks import NAMES, pushed_revisions
from mvs.repository.events import EVENTS, Hook
from mvs.repository.hooking import LARGE
from mvs.repository.repository import Repository

_SHOWN = 10


def _complete_event(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [event for event in EVENTS if event.startswith(incomplete)]


@click.group(short_help="Hooks: of git, and programs that mvs calls")
def hook() -> None:
    """Hooks: let git look after what is pinned; call programs when something happens"""


@hook.command("list", cls=Verb)
@json_option
@pass_repository
def hook_list(repo: Repository, as_json: bool) -> None:
    """List what is called when something happens, and whether it may run here"""
    _show_hooks(repo.hooks(), as_json=as_json)


@hook.command("allow", cls=Verb)
@click.argument("events", nargs=-1, metavar="[EVENT]...", shell_complete=_complete_event)
@json_option
@pass_repository
def hook_allow(repo: Repository, events: tuple[str, ...], as_json: bool) -> None:
    """Let the files in .mvs/hooks run on this machine, as they are now

    Read them first: they may have come with git, from anybody. One that changes must be allowed again.
    """
    _show_hooks(repo.allow_hooks(*events), as_json=as_json)


@hook.command("deny", cls=Verb)
@click.argument("events", nargs=-1, metavar="[EVENT]...", shell_complete=_complete_event)
@json_option
@pass_repository
def hook_deny(repo: Repository, events: tuple[str, ...], as_json: bool) -> None:
    """Let the files in .mvs/hooks not run any more"""
    _show_hooks(repo.deny_hooks(*events), as_json=as_json)


@hook.command("run", cls=Verb, epilog=SPECS)
@click.argument("event", shell_complete=_complete_event)
@click.argument("spec", shell_complete=complete_spec)
@click.option("--remote", metavar="NAME", default="", help="The remote that a hook of a push is told")
@click.option("--alias", metavar="NAME@ALIAS", default="", help="The alias that a hook of one is told")
@pass_repository
def hook_run(repo: Repository, event: str, spec: str, remote: str, alias: str) -> None:
    """Try the hooks of an event, as if it happened to a version"""
    repo.call_hooks(event, spec, remote=remote, alias=alias)


@hook.command("install", cls=Verb)
@json_option
@pass_repository
def hook_install(repo: Repository, as_json: bool) -> None:
    """Let git check pins out after a checkout or merge, push them before a push, and keep models out of commits

    Hooks that are there stay, and run first.
    """
    done = [str(path) for path in repo.install_hooks()]
    render.told({"hooks": done}, "\n".join(map(render.plain, done)), json_wanted=as_json)


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


def _show_hooks(hooks: list[Hook], *, as_json: bool) -> None:
    if as_json:
        render.as_json([hook.to_dict() for hook in hooks])
        return
    for one in hooks:
        click.echo(f"{one.event:<11}  {one.state:<14}  {render.plain(one.source)}")


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

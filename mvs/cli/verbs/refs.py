"""Verbs that say something about versions after they were saved: alias, label."""

import click

from mvs.cli import render
from mvs.cli.verb import SPECS, Function, Verb, complete_spec, json_option, label, pass_repository
from mvs.repository.repository import Repository


def _moving(function: Function) -> Function:
    """Add the options of whatever moves an alias."""
    force = click.option("--force", is_flag=True, help="Also if the setting alias.protected names it")
    expect = click.option(
        "--expect",
        metavar="SPEC",
        shell_complete=complete_spec,
        help='Only if it points at SPEC; with "" only if it is not there',
    )
    return expect(force(function))


@click.group(short_help="Give versions names that move")
def alias() -> None:
    """Give versions names that move, as NAME@prod"""


@alias.command("set", cls=Verb, epilog=SPECS)
@click.argument("alias", metavar="NAME@ALIAS", shell_complete=complete_spec)
@click.argument("spec", shell_complete=complete_spec)
@_moving
@json_option
@pass_repository
def alias_set(repo: Repository, alias: str, spec: str, expect: str | None, force: bool, as_json: bool) -> None:
    """Let an alias point at a version of its name and print the tag of that"""
    version = repo.alias(alias, spec, expect=expect, force=force)
    render.tag(version, json_wanted=as_json, files=False)


@alias.command("list", cls=Verb)
@click.argument("name", required=False, shell_complete=complete_spec)
@json_option
@pass_repository
def alias_list(repo: Repository, name: str | None, as_json: bool) -> None:
    """List the aliases of a name, or of all"""
    found = repo.aliases(name)
    if as_json:
        render.as_json([alias.to_dict() for alias in found])
    else:
        render.aliases(found)


@alias.command("delete", cls=Verb)
@click.argument("alias", metavar="NAME@ALIAS", shell_complete=complete_spec)
@_moving
@pass_repository
def alias_delete(repo: Repository, alias: str, expect: str | None, force: bool) -> None:
    """Delete an alias, and not what it points at"""
    repo.delete_alias(alias, expect=expect, force=force)


@alias.command("rollback", cls=Verb)
@click.argument("alias", metavar="NAME@ALIAS", shell_complete=complete_spec)
@_moving
@json_option
@pass_repository
def alias_rollback(repo: Repository, alias: str, expect: str | None, force: bool, as_json: bool) -> None:
    """Let an alias point at what it pointed at before its last move, and print the tag of that

    Done twice it goes back two moves; --expect keeps two people from doing that who both mean the last one.
    """
    version = repo.rollback_alias(alias, expect=expect, force=force)
    render.tag(version, json_wanted=as_json, files=False)


@click.command("label", cls=Verb, epilog=SPECS)
@click.argument("spec", shell_complete=complete_spec)
@click.argument("labels", metavar="KEY=VALUE...", type=label, nargs=-1, required=True)
@json_option
@pass_repository
def label_(repo: Repository, spec: str, labels: list[tuple[str, str]], as_json: bool) -> None:
    """Set labels of a version, remove those of which the value is empty, and print its tag

    They stand beside the labels it was saved with, which never change, and decide where both have one.
    """
    version = repo.label(spec, dict(labels))
    render.tag(version, json_wanted=as_json, files=False)

"""Verbs that compare versions: diff."""

import click

from mvs.cli import diffing, render
from mvs.cli.main import settings
from mvs.cli.verb import SPECS, Verb, complete_spec, json_option, pass_repository
from mvs.repository import Repository

# As diff(1) and git have it.
DIFFERENT = 1


@click.command(cls=Verb, epilog=SPECS)
@click.argument("before", metavar="A", shell_complete=complete_spec)
@click.argument("after", metavar="B", shell_complete=complete_spec)
@click.option("--tensors", is_flag=True, help="Compare the weights, and sum them up by layer")
@click.option("--all", "each", is_flag=True, help="Compare the weights, and list every tensor")
@json_option
@pass_repository
def diff(repo: Repository, before: str, after: str, tensors: bool, each: bool, as_json: bool) -> None:
    """Show what differs between two versions: files, labels, metadata, weights

    The exit code is 1 when something differs, 0 when nothing does. Weights that are the same are known without
    reading them.
    """
    found = repo.diff(before, after, tensors=tensors or each)
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

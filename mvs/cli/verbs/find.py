"""Verbs that find versions: list, show, log."""

import contextlib

import click

from mvs.cli import render
from mvs.cli.main import settings
from mvs.cli.verb import (
    SPECS,
    Verb,
    complete_remote,
    complete_spec,
    find,
    json_option,
    label,
    pass_repository,
    where_option,
)
from mvs.errors import NotFound
from mvs.repository.repository import Repository


@click.command("list", cls=Verb)
@click.argument("name", required=False, shell_complete=complete_spec)
@click.option("-l", "--label", "labels", type=label, metavar="K=V", multiple=True, help="Only versions with this label")
@where_option
@click.option("--sort", metavar="FIELD[:desc],...", help="In this order, such as metadata.val_loss:asc,created:desc")
@click.option("-n", "--limit", type=click.IntRange(min=0), help="At most so many")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Leave out the first N")
@click.option("--remote", metavar="NAME", shell_complete=complete_remote, help="Versions of that remote")
@json_option
@pass_repository
def list_(
    repo: Repository,
    name: str | None,
    labels: list[tuple[str, str]],
    where: str | None,
    sort: str | None,
    limit: int | None,
    offset: int,
    remote: str | None,
    as_json: bool,
) -> None:
    """List versions, newest first; NAME may be a glob

    With -q only their tags are printed.
    """
    if remote is None:
        found = repo.list(name, labels=dict(labels), where=where, sort=sort, limit=limit, offset=offset)
    elif where is not None or sort is not None or offset:
        raise click.UsageError("--where, --sort and --offset are about what is here, not on a remote")
    else:
        found = [
            version
            for version in repo.remote(remote).list(name)
            if all(version.labels.get(key) == value for key, value in labels)
        ][:limit]
    if as_json:
        render.as_json([version.to_dict(files=False) for version in found])
    elif settings(click.get_current_context())["quiet"]:
        for version in found:
            click.echo(str(version.tag))
    else:
        render.versions(found)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("spec", shell_complete=complete_spec)
@click.option("--tensors", is_flag=True, help="List the tensors in its files")
@json_option
@pass_repository
def show(repo: Repository, spec: str, tensors: bool, as_json: bool) -> None:
    """Show one version: files, sizes, labels, metadata, what it is stored as

    REMOTE/SPEC is a version of a remote.
    """
    version = find(repo, spec)
    found = version.tensors() if tensors else []
    usage = None
    if version.is_packed and (as_json or not tensors):
        # A version of a remote takes nothing here.
        with contextlib.suppress(NotFound):
            usage = next(iter(repo.du(version, exclusive=False).versions), None)
    if as_json:
        told = {"tensors": [tensor._asdict() for tensor in found]} if tensors else {}
        render.as_json({**(usage.to_dict() if usage else {}), **version.to_dict(), **told})
    elif tensors:
        from mvs.cli import diffing  # noqa: PLC0415 - only tensors need it

        diffing.tensors(found)
    else:
        render.version(version, usage)


@click.command(cls=Verb)
@click.argument("name", metavar="NAME[@ALIAS]", shell_complete=complete_spec)
@click.option("--graph", is_flag=True, help="Draw what its versions were made from, and what was made from them")
@json_option
@pass_repository
def log(repo: Repository, name: str, graph: bool, as_json: bool) -> None:
    """Show what happened to the versions of a name, or to an alias, newest first

    With --graph NAME may be any SPEC.
    """
    if graph:
        family = repo.lineage(name)
        if as_json:
            render.as_json([kin.to_dict() for kin in family])
        else:
            from mvs.cli.family import draw  # noqa: PLC0415 - only to draw

            click.echo("\n".join(draw(family)))
        return
    found = repo.log(name)
    if as_json:
        render.as_json([change.to_dict() for change in found])
    else:
        render.changes(found)

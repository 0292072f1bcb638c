"""Verbs that give files back: path, cat, checkout, export."""

import sys

import click

from mvs.cli import render
from mvs.cli.main import settings
from mvs.cli.verb import SPECS, Verb, complete_spec, find, json_option, pass_repository
from mvs.repository.repository import Repository


@click.command("path", cls=Verb, epilog=SPECS)
@click.argument("spec", shell_complete=complete_spec)
@json_option
@pass_repository
def path_(repo: Repository, spec: str, as_json: bool) -> None:
    """Print a read-only folder with the files of a version"""
    version = repo.get(spec)
    path = str(version.path)
    render.told({"tag": str(version.tag), "path": path}, path, json_wanted=as_json)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("spec", shell_complete=complete_spec)
@click.argument("file")
@pass_repository
def cat(repo: Repository, spec: str, file: str) -> None:
    """Write one file of a version to standard output

    REMOTE/SPEC is a version of a remote; of it only this file is fetched.
    """
    out = sys.stdout.buffer
    for block in find(repo, spec).blocks(file):
        out.write(block)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("spec", required=False, shell_complete=complete_spec)
@click.argument("directory", required=False, type=click.Path())
@click.option("--link", is_flag=True, help="Link the files, read-only, instead of copying them")
@click.option("--force", is_flag=True, help="Overwrite files that are there")
@click.option("--include", metavar="GLOB", multiple=True, help="Only files that match")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No files that match")
@json_option
@pass_repository
def checkout(
    repo: Repository,
    spec: str | None,
    directory: str | None,
    link: bool,
    force: bool,
    include: list[str],
    exclude: list[str],
    as_json: bool,
) -> None:
    """Write the files of a version to DIRECTORY and print it

    Without DIRECTORY, to a folder of the model's name. Without SPEC, let everything that is pinned be where it is
    pinned to, exactly; what is missing here is pulled.
    """
    if spec is None:
        if include or exclude:
            raise click.UsageError("pins are checked out whole")
        changed = repo.checkout_pins(link=link, force=force)
        if as_json:
            render.as_json([pin.to_dict() for pin in changed])
        for pin in () if as_json else changed:
            click.echo(render.plain(f"{pin.tag}  {pin.path}"))
        if not changed and not settings(click.get_current_context())["quiet"]:
            click.echo("all that is pinned is there" if repo.pins() else "nothing is pinned: mvs pin SPEC", err=True)
        return
    version = repo.get(spec)
    dest = version.name.rpartition("/")[2] if directory is None else directory
    done = repo.checkout(version, dest, include=include, exclude=exclude, link=link, force=force)
    render.told({"tag": str(version.tag), "path": str(done)}, str(done), json_wanted=as_json)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("spec", shell_complete=complete_spec)
@click.argument("dest", type=click.Path())
@click.option("--force", is_flag=True, help="Overwrite what is there")
@click.option("--include", metavar="GLOB", multiple=True, help="Only files that match")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No files that match")
@json_option
@pass_repository
def export(
    repo: Repository, spec: str, dest: str, force: bool, include: list[str], exclude: list[str], as_json: bool
) -> None:
    """Write the files of a version to DEST, for somebody without mvs

    DEST is an archive if it ends as .tar, .tar.gz, .tgz, .tar.zst or .zip, else a folder. Saved again with
    `mvs save --unpack`, it is the same content.
    """
    version = repo.get(spec)
    done = repo.export(version, dest, include=include, exclude=exclude, force=force)
    render.told({"tag": str(version.tag), "path": str(done)}, str(done), json_wanted=as_json)

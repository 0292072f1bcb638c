"""Verbs for where no network leads: bundle, import; and clone."""

import click

from mvs.cli import render
from mvs.cli.bar import Bar
from mvs.cli.main import settings
from mvs.cli.verb import SPECS, Verb, complete_spec, json_option, pass_repository
from mvs.repository import opening
from mvs.repository.repository import Repository


@click.group(short_help="Write versions into one file, and look into it")
def bundle() -> None:
    """Write versions into one file, and look into it"""


@bundle.command("create", cls=Verb, epilog=SPECS)
@click.argument("file", type=click.Path())
@click.argument("specs", nargs=-1, metavar="[SPEC]...", shell_complete=complete_spec)
@click.option("--all", "everything", is_flag=True, help="Every version")
@click.option("--since", metavar="SPEC", multiple=True, shell_complete=complete_spec, help="Leave out what it has")
@json_option
@pass_repository
def bundle_create(
    repo: Repository, file: str, specs: tuple[str, ...], everything: bool, since: tuple[str, ...], as_json: bool
) -> None:
    """Write versions into a new FILE; a bare NAME stands for all its versions

    With --since the file goes without the files of those versions, which whoever reads it must have.
    """
    if bool(specs) == everything:
        raise click.UsageError("name versions, or pass --all")
    done = repo.bundle(file, *specs, since=since)
    if as_json:
        render.as_json({"file": file, "versions": [str(ref.tag) for ref in done.refs], "bytes": done.sent})
    else:
        click.echo(f"{file}: {render.count(len(done.refs), 'version')}, {render.size(done.sent)}")


@bundle.command("list", cls=Verb)
@click.argument("file", type=click.Path())
@json_option
@pass_repository
def bundle_list(repo: Repository, file: str, as_json: bool) -> None:
    """List the versions in a bundle"""
    with repo.opened_bundle(file) as found:
        versions = found.list()
        if as_json:
            render.as_json([version.to_dict(files=False) for version in versions])
        else:
            render.versions(versions)


@bundle.command("verify", cls=Verb)
@click.argument("file", type=click.Path())
@json_option
@pass_repository
def bundle_verify(repo: Repository, file: str, as_json: bool) -> None:
    """Read all of a bundle; the exit code is 1 where something is damaged, or neither there nor here"""
    with repo.opened_bundle(file) as found:
        health = found.fsck(share=1.0)
    if as_json:
        render.as_json(health.to_dict())
    else:
        for message, tags in health.findings:
            click.echo(f"{message}; it hits {', '.join(tags) or 'no version'}")
        click.echo(f"{render.count(health.versions, 'version')}, {render.size(health.bytes)} read")
    if health.findings:
        raise click.exceptions.Exit(1)


@click.command("import", cls=Verb, epilog=SPECS)
@click.argument("file", type=click.Path())
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@json_option
@pass_repository
def import_(repo: Repository, file: str, specs: tuple[str, ...], as_json: bool) -> None:
    """Bring the versions of a bundle here, all without SPEC

    Everything is verified before a version appears.
    """
    done = repo.import_bundle(file, *specs)
    if as_json:
        tags = {"versions": [str(ref.tag) for ref in done.refs], "present": [str(ref.tag) for ref in done.present]}
        render.as_json({**tags, "bytes": done.received})
    else:
        for ref in done.refs:
            click.echo(str(ref.tag))


@click.command(cls=Verb)
@click.argument("source", metavar="URL|FILE")
@click.argument("directory", type=click.Path())
@json_option
@click.pass_context
def clone(ctx: click.Context, source: str, directory: str, as_json: bool) -> None:
    """Make DIRECTORY a repository with all versions of a remote or a bundle"""
    repo = opening.clone(source, directory, progress=Bar(quiet=settings(ctx)["quiet"]))
    if as_json:
        render.as_json({"path": str(repo.root), "versions": [str(version.tag) for version in repo.list()]})
    else:
        click.echo(str(repo.root))

"""Verbs that change what the store holds: save, delete, restore, prune."""

from typing import Any, Unpack

import click

from mvs.cli import render
from mvs.cli.verb import (
    SPECS,
    Verb,
    ask,
    complete_remote,
    complete_spec,
    confirm,
    json_option,
    label,
    meta,
    pass_repository,
    read_json,
    where_option,
)
from mvs.cli.verbs import remotes
from mvs.format.names import BUMPS, Bump
from mvs.repository.repository import Repository
from mvs.repository.retention import Pruning


@click.command(cls=Verb)
@click.argument("path", type=click.Path())
@click.argument("tag", metavar="NAME[:VERSION]")
@click.option("-l", "--label", "labels", type=label, metavar="K=V", multiple=True, help="Add a label, to find it by")
@click.option(
    "--meta", "metadata", type=meta, metavar="K=V", multiple=True, help="Add metadata; V is JSON if it parses"
)
@click.option("--meta-file", type=click.Path(), metavar="FILE.json", help="Add the metadata in a JSON file")
@click.option("-m", "--message", default="", help="Say what this version is")
@click.option(
    "-p",
    "--parent",
    "parents",
    metavar="SPEC",
    shell_complete=complete_spec,
    multiple=True,
    help="A version it was made from",
)
@click.option("--bump", type=click.Choice(BUMPS), help="Give it the number after the highest of the name")
@click.option("--move", is_flag=True, help="Move the files into the store instead of copying them")
@click.option("--if-changed", is_flag=True, help="Save only if the latest version has other files")
@click.option("--reuse-tag", is_flag=True, help="Take a tag that was deleted, with other content")
@click.option("--unpack", is_flag=True, help="Save what is in the tar or zip file PATH")
@click.option("--dedup/--no-dedup", default=None, help="Pack it at once (or not, whatever dedup.auto says)")
@json_option
@pass_repository
def save(
    repo: Repository,
    path: str,
    tag: str,
    labels: list[tuple[str, str]],
    metadata: list[tuple[str, Any]],
    meta_file: str | None,
    message: str,
    parents: list[str],
    bump: Bump | None,
    move: bool,
    if_changed: bool,
    reuse_tag: bool,
    unpack: bool,
    dedup: bool | None,
    as_json: bool,
) -> None:
    """Save a file or folder as a new version and print its tag"""
    version = repo.save(
        path,
        tag,
        labels=dict(labels),
        metadata={**(read_json(meta_file) if meta_file else {}), **dict(metadata)},
        parents=parents,
        message=message,
        bump=bump,
        move=move,
        if_changed=if_changed,
        reuse_tag=reuse_tag,
        dedup=dedup,
        unpack=unpack,
    )
    render.tag(version, json_wanted=as_json)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", metavar="[SPEC]...", shell_complete=complete_spec, nargs=-1)
@where_option
@click.option("--all", "all_versions", is_flag=True, help="Let a bare name stand for all its versions")
@click.option("--force", is_flag=True, help="Also what aliases point at; they lead nowhere then")
@click.option("-y", "--yes", is_flag=True, help="Do not ask")
@click.option("--remote", metavar="NAME", shell_complete=complete_remote, help="Delete at that remote, and not here")
@json_option
@pass_repository
def delete(
    repo: Repository,
    specs: list[str],
    where: str | None,
    all_versions: bool,
    force: bool,
    yes: bool,
    remote: str | None,
    as_json: bool,
) -> None:
    """Delete versions; `mvs restore` brings them back

    With --where a bare name stands for those of its versions, and no SPEC for those of all.
    What was deleted at a remote can be pushed again.
    """
    if not specs and where is None:
        raise click.UsageError("say which: a SPEC, or --where")
    if remote is not None:
        if where is not None:
            raise click.UsageError("--where chooses versions that are here: leave it out with --remote")
        remotes.delete_there(repo, remote, specs, yes=yes, all_versions=all_versions, force=force, as_json=as_json)
        return
    doomed = repo.matching(*specs, all_versions=all_versions, where=where, force=force)
    if not yes:
        confirm([str(tag) for tag in doomed])
    gone = [str(tag) for tag in repo.delete(*doomed, force=force)]
    if as_json:
        render.as_json(gone)
    else:
        for text in gone:
            click.echo(text)


@click.command(cls=Verb)
@click.argument("tag")
@json_option
@pass_repository
def restore(repo: Repository, tag: str, as_json: bool) -> None:
    """Bring a deleted version back"""
    version = repo.restore(tag)
    render.tag(version, json_wanted=as_json)


@click.command(cls=Verb)
@click.argument("name", metavar="[NAME-GLOB]", required=False, shell_complete=complete_spec)
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the N saved last")
@click.option("--keep-within", metavar="TIME", help="Keep those saved within TIME before the last one: 30d, 12h")
@click.option("--keep-daily", type=click.IntRange(min=1), metavar="N", help="Keep the last of each of N days")
@click.option("--keep-weekly", type=click.IntRange(min=1), metavar="N", help="Keep the last of each of N weeks")
@click.option("--keep-monthly", type=click.IntRange(min=1), metavar="N", help="Keep the last of each of N months")
@click.option(
    "--keep-best",
    metavar="FIELD:min|max[:N]",
    multiple=True,
    help="Keep the one, or N, with the lowest or highest number, such as metadata.val_loss:min",
)
@where_option
@click.option("--keep-parents", is_flag=True, help="Keep what the kept ones were made from")
@click.option("--only-pushed", is_flag=True, help="Keep what no remote has")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be deleted, and why the rest is kept")
@click.option("-y", "--yes", is_flag=True, help="Do not ask")
@json_option
@pass_repository
def prune(
    repo: Repository,
    name: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **rules: Unpack[Pruning],
) -> None:
    """Delete the versions that no rule keeps; `mvs restore` brings them back

    The rules are applied to each name by itself, and each keeps what it would keep alone. Days, weeks and months
    count where something was saved. What an alias points at or a repository pins is always kept. With --where
    only those versions are looked at; all others are kept, and do not count.
    """
    plan = repo.plan_prune(name, **rules)
    if dry_run:
        if as_json:
            render.as_json(plan.to_dict())
        else:
            render.prune_plan(plan)
        return
    if not yes and plan.doomed:
        render.prune_plan(plan, err=True)
        ask(len(plan.doomed))
    gone = [str(tag) for tag in repo.prune(plan=plan)]
    if as_json:
        render.as_json({**plan.to_dict(), "deleted": gone})
        return
    for text in gone:
        click.echo(text)
    click.echo(f"{render.count(len(gone), 'version')} deleted; mvs restore TAG brings one back", err=True)

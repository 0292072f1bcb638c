"""Verbs about room: dedup, du, gc."""

import click

from mvs.cli import render
from mvs.cli.verb import (
    SPECS,
    Verb,
    byte_count,
    complete_remote,
    complete_spec,
    json_option,
    pass_repository,
    where_option,
)
from mvs.cli.verbs import remotes
from mvs.repository.repository import Repository


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", metavar="[SPEC]...", shell_complete=complete_spec, nargs=-1)
@where_option
@click.option(
    "--keep-loose", metavar="WHAT,...", default="", help="Leave alone what is 'latest' of its name, or 'aliased'"
)
@click.option("--since-last", is_flag=True, help="Look only at what was saved since the last dedup of all")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be done")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Work on N cores")
@click.option("--max-memory", type=byte_count, metavar="SIZE", default="1GiB", help="Use about so much memory [1GiB]")
@click.option("--undo", is_flag=True, help="Give the files of SPEC files of their own again")
@json_option
@pass_repository
def dedup(
    repo: Repository,
    specs: tuple[str, ...],
    where: str | None,
    keep_loose: str,
    since_last: bool,
    dry_run: bool,
    jobs: int | None,
    max_memory: int,
    undo: bool,
    as_json: bool,
) -> None:
    """Store versions in less space, every file still bit for bit

    Without SPEC all versions; a bare name stands for all its versions. Interrupt it at any time: what was packed
    stays packed, and the next run goes on. Exit code 1 when a file had to be left as it is.
    """
    if undo:
        if not specs:
            raise click.UsageError("--undo needs a SPEC")
        if dry_run or where is not None:
            raise click.UsageError("--undo has no --dry-run and no --where")
        written = repo.undo_dedup(*specs)
        render.told({"written": written}, f"{render.size(written)} unpacked", json_wanted=as_json)
        return
    plan = repo.plan_dedup(*specs, where=where, keep_loose=filter(None, keep_loose.split(",")), since_last=since_last)
    if dry_run:
        render.dedup_plan(plan, json_wanted=as_json)
        return
    result = repo.dedup(plan=plan, jobs=jobs, max_memory=max_memory)
    render.dedup_result(result, json_wanted=as_json)
    if result.skipped:
        # Each was told as a notice; a script has to notice, too.
        click.get_current_context().exit(1)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", metavar="[SPEC]...", shell_complete=complete_spec, nargs=-1)
@where_option
@click.option("--by-name", is_flag=True, help="One line for all versions of a name")
@json_option
@pass_repository
def du(repo: Repository, specs: tuple[str, ...], where: str | None, by_name: bool, as_json: bool) -> None:
    """Show what versions take on disk, and what nothing else needs of that

    What versions share is counted in each of them, and once in the total. EXCLUSIVE is what would come back if that
    version, or all of that name that are shown, were deleted and collected.
    """
    total = repo.du(*specs, where=where)
    if as_json:
        render.as_json(total.to_dict())
    else:
        render.usage(total, by_name=by_name)


@click.command(cls=Verb)
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed")
@click.option("--expire", metavar="TIME", default="7d", help="Let go of what was deleted so long ago: 12h, now [7d]")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Work on N cores")
@click.option("--auto", is_flag=True, help="Only when the setting gc.auto asks for it by now, and in no hurry")
@click.option("--only-pushed", is_flag=True, help="Where store.max-size makes it prune: keep what no remote has")
@click.option("--forget", metavar="PATH", multiple=True, help="Forget a repository that shared the store and is gone")
@click.option("--remote", metavar="NAME", shell_complete=complete_remote, help="At that remote, and not here")
@json_option
@pass_repository
def gc(
    repo: Repository,
    dry_run: bool,
    expire: str,
    jobs: int | None,
    auto: bool,
    only_pushed: bool,
    forget: tuple[str, ...],
    remote: str | None,
    as_json: bool,
) -> None:
    """Remove what no version needs any more

    Versions that were deleted less than TIME ago are kept, so that they can be restored.
    """
    if remote is not None:
        remotes.gc_there(repo, remote, dry_run=dry_run, as_json=as_json)
    elif auto:
        if result := repo.gc_if_due():
            render.gc_result(result, json_wanted=as_json)
    elif dry_run:
        if forget:
            raise click.UsageError("--forget has no --dry-run")
        render.gc_plan(repo.plan_gc(expire=expire), json_wanted=as_json)
    else:
        done = repo.gc(expire=expire, jobs=jobs, forget=forget, only_pushed=only_pushed)
        render.gc_result(done, json_wanted=as_json)

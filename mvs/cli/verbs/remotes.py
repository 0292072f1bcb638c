"""Verbs that reach out: push, pull, fetch, mirror, remote."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mvs.cli import render
from mvs.cli.verb import (
    SPECS,
    Verb,
    byte_count,
    complete_remote,
    complete_spec,
    confirm,
    json_option,
    pass_repository,
    place_options,
    where_option,
)
from mvs.errors import AliasMoved
from mvs.repository.repository import Repository

if TYPE_CHECKING:
    from mvs.ops.transfer import Beside

_remote_option = click.option(
    "-r", "--remote", metavar="NAME", shell_complete=complete_remote, help="That remote, not the default one"
)

_jobs_option = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Requests at once (4), and threads that pack"
)
_rate_option = click.option(
    "--limit-rate", type=byte_count, metavar="SIZE", help="Let no more travel each second, as in 10MB"
)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", nargs=-1, metavar="[SPEC]...", shell_complete=complete_spec)
@_remote_option
@where_option
@click.option("--all", "everything", is_flag=True, help="Every version")
@click.option("--pinned", is_flag=True, help="What mvs.lock pins, as far as it is here")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent")
@click.option("--force", is_flag=True, help="Where aliases or labels changed on both sides, take those here")
@_jobs_option
@_rate_option
@json_option
@pass_repository
def push(
    repo: Repository,
    specs: tuple[str, ...],
    remote: str | None,
    where: str | None,
    everything: bool,
    pinned: bool,
    dry_run: bool,
    force: bool,
    jobs: int | None,
    limit_rate: int | None,
    as_json: bool,
) -> None:
    """Let a remote have versions; a bare NAME stands for all its versions

    With --where those of its versions, and no NAME for those of all. Only what it lacks travels, and all versions
    appear there at once, with their aliases and labels.
    """
    if pinned:
        if specs or everything or where is not None:
            raise click.UsageError("name versions, or pass --all, --where, or --pinned")
        specs = tuple(map(str, repo.unpushed_pins(remote=remote)))
        if not specs:
            _tell({"versions": [], "present": [], "bytes": 0}, as_json, "all that is pinned was pushed before")
            return
    else:
        _check(specs, everything, where)
    plan = repo.plan_push(*specs, where=where, remote=remote, force=force)
    if dry_run:
        facts = {
            "remote": plan.remote,
            "versions": [str(ref.tag) for ref in plan.refs],
            "present": [str(ref.tag) for ref in plan.present],
            "bytes": plan.size,
            **plan.beside.to_dict(),
        }
        _tell(
            facts,
            as_json,
            f"would send {_versions(plan.refs)} to '{plan.remote}': {render.size(plan.size)} of new files",
        )
        return
    done = repo.push(plan=plan, jobs=jobs, limit_rate=limit_rate)
    facts = {
        "remote": plan.remote,
        "versions": [str(ref.tag) for ref in done.refs],
        "present": [str(ref.tag) for ref in done.present],
        "packs": done.packs,
        "bytes": done.sent,
        **done.beside.to_dict(),
    }
    text = f"sent {_versions(done.refs)} to '{plan.remote}': {render.size(done.sent)} on the wire"
    _tell(facts, as_json, text + _moved(done.beside))
    _check_settled(done.beside, plan.remote)


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@_remote_option
@where_option
@click.option("--all", "everything", is_flag=True, help="Every version")
@click.option("--include", metavar="GLOB", multiple=True, help="Only files that match")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No files that match")
@click.option("--dry-run", is_flag=True, help="Only tell what would come")
@click.option("--force", is_flag=True, help="Where aliases or labels changed on both sides, take those there")
@_jobs_option
@_rate_option
@json_option
@pass_repository
def pull(
    repo: Repository,
    specs: tuple[str, ...],
    remote: str | None,
    where: str | None,
    everything: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    force: bool,
    jobs: int | None,
    limit_rate: int | None,
    as_json: bool,
) -> None:
    """Bring versions of a remote here; a bare NAME stands for all its versions

    With --where those of them for which it is true there. Only what is missing here travels, and everything is
    verified before a version appears. Aliases and labels follow; with --force also an alias that is protected here.

    With --include or --exclude only some files of each version come; a later pull brings others.
    """
    _check(specs, everything, where)
    if dry_run:
        plan = repo.plan_pull(*specs, where=where, remote=remote, include=include, exclude=exclude)
        facts = {
            "remote": plan.remote,
            "versions": [str(manifest.tag) for manifest in plan.manifests],
            "present": [str(ref.tag) for ref in plan.present],
            "completed": [str(manifest.tag) for manifest in plan.completed],
            "bytes": plan.bytes,
            "left": plan.left_bytes,
        }
        text = f"would receive {_versions(plan.manifests)}: {render.size(plan.bytes)} on the wire"
        _tell(facts, as_json, text + _stayed(len(plan.completed), plan.left_bytes, "would stay"))
        return
    done = repo.pull(
        *specs,
        where=where,
        remote=remote,
        include=include,
        exclude=exclude,
        force=force,
        jobs=jobs,
        limit_rate=limit_rate,
    )
    facts = {
        "versions": [str(ref.tag) for ref in done.refs],
        "present": [str(ref.tag) for ref in done.present],
        "completed": list(map(str, done.completed)),
        "bytes": done.received,
        "left": done.left,
        **done.beside.to_dict(),
    }
    text = f"received {_versions(done.refs)}: {render.size(done.received)} on the wire"
    text += _stayed(len(done.completed), done.left, "stayed")
    _tell(facts, as_json, text + _moved(done.beside))
    _check_settled(done.beside, remote)


@click.command(cls=Verb)
@click.argument("name", required=False, shell_complete=complete_remote)
@_rate_option
@json_option
@pass_repository
def fetch(repo: Repository, name: str | None, limit_rate: int | None, as_json: bool) -> None:
    """Learn what a remote has, without bringing any file here"""
    found = repo.fetch(name, limit_rate=limit_rate)
    _tell({"versions": found}, as_json, render.count(found, "version"))


@click.command(cls=Verb)
@click.argument("source", metavar="SRC", shell_complete=complete_remote)
@click.argument("target", metavar="DST", shell_complete=complete_remote)
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Packs under way at once (4)")
@json_option
@pass_repository
def mirror(repo: Repository, source: str, target: str, dry_run: bool, jobs: int | None, as_json: bool) -> None:
    """Let the remote DST have all that the remote SRC has; each is a name or a URL

    Only what it lacks travels, and what only DST has stays there. Nothing of it comes here.
    """
    done = repo.plan_mirror(source, target) if dry_run else repo.mirror(source, target, jobs=jobs)
    text = f"{_versions(done.versions)} in {render.count(done.packs, 'pack')}, {render.size(done.bytes)}"
    _tell(done.to_dict(), as_json, f"would send {text}" if dry_run else f"sent {text}")


@click.group(short_help="Name the places that versions are shared through")
def remote() -> None:
    """Name the places that versions are shared through"""


@remote.command("add", cls=Verb)
@click.argument("name")
@click.argument("url")
@click.option("--default", is_flag=True, help="Meant from now on where no remote is named")
@place_options
@pass_repository
def remote_add(
    repo: Repository,
    name: str,
    url: str,
    default: bool,
    single_writer: bool,
    endpoint: str | None,
    region: str | None,
    path_style: bool | None,
    timeout: int | None,
) -> None:
    """Add the remote at URL: a path, s3://, gs://, az://, or http(s):// to read from

    It is made where there is none. Credentials come from the environment, and are never kept.
    """
    repo.add_remote(
        name,
        url,
        default=default,
        single_writer=single_writer,
        endpoint=endpoint,
        region=region,
        path_style=path_style,
        timeout=timeout,
    )


@remote.command("list", cls=Verb)
@json_option
@pass_repository
def remote_list(repo: Repository, as_json: bool) -> None:
    """List the remotes"""
    if as_json:
        render.as_json([{"name": name, **settings} for name, settings in repo.remotes.items()])
    elif repo.remotes:
        render.table(("NAME", "URL", ""), [_row(name, settings) for name, settings in repo.remotes.items()])


@remote.command("show", cls=Verb)
@click.argument("name", required=False, shell_complete=complete_remote)
@json_option
@pass_repository
def remote_show(repo: Repository, name: str | None, as_json: bool) -> None:
    """Show what there is at a remote, and who pushed there last"""
    place = repo.remote(name)
    found, kept = place.info(), repo.remotes[place.name]
    if as_json:
        render.as_json({"name": place.name, **kept, **found.to_dict()})
        return
    facts = {
        "name": f"{place.name}{' (default)' if kept.get('default') else ''}",
        "url": render.plain(place.url),
        "versions": f"{found.versions} of {render.count(found.names, 'name')}",
        "stored": f"{render.size(found.bytes)} in {render.count(found.packs, 'pack')}",
        "entries": str(found.entries),
        "pushed": f"{render.moment(found.pushed)} by {render.plain(found.by or '')}" if found.pushed else "never",
    }
    for key, value in facts.items():
        click.echo(f"{key + ':':<10} {value}")


@remote.command("remove", cls=Verb)
@click.argument("name", shell_complete=complete_remote)
@pass_repository
def remote_remove(repo: Repository, name: str) -> None:
    """Forget a remote; nothing there is changed"""
    repo.remove_remote(name)


@remote.command("set-url", cls=Verb)
@click.argument("name", shell_complete=complete_remote)
@click.argument("url")
@pass_repository
def remote_set_url(repo: Repository, name: str, url: str) -> None:
    """Look for a remote elsewhere"""
    repo.set_remote_url(name, url)


def delete_there(
    repo: Repository, name: str, specs: Sequence[str], *, yes: bool, all_versions: bool, force: bool, as_json: bool
) -> None:
    """Let a remote have versions no longer, and print which."""
    place = repo.remote(name)
    if not yes:
        confirm(place.matching(*specs, all_versions=all_versions), f" at '{name}'")
    gone = place.delete(*specs, all_versions=all_versions, force=force)
    if as_json:
        render.as_json(gone)
    elif gone:
        click.echo("\n".join(gone))


def gc_there(repo: Repository, name: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove from a remote what no version there needs, and print how much."""
    place = repo.remote(name)
    found = place.plan_gc() if dry_run else place.gc()
    text = f"{found.files} files, {render.size(found.bytes)}"
    _tell(found.to_dict(), as_json, f"would remove {text}" if dry_run else f"removed {text}")


def fsck_there(repo: Repository, name: str, *, share: float, as_json: bool) -> None:
    """Check a remote, print what is wrong, and exit with 1 where something is."""
    found = repo.remote(name).fsck(share=share)
    lines = [f"{message}; it hits {', '.join(tags) or 'no version'}" for message, tags in found.findings]
    lines.append(f"{render.count(found.versions, 'version')}, {found.packs} packs, {render.size(found.bytes)} read")
    count, size = found.unfinished
    if count:
        lines.append(
            f"{render.count(count, 'upload')} cut off, {render.size(size)}; mvs gc --remote {name} removes that"
        )
    _tell(found.to_dict(), as_json, "\n".join(lines))
    if found.findings:
        raise click.exceptions.Exit(1)


def _row(name: str, settings: Mapping[str, Any]) -> tuple[str, str, str]:
    return name, settings["url"], "default" if settings.get("default") else ""


def _check(specs: tuple[str, ...], everything: bool, where: str | None) -> None:
    if (specs and everything) or not (specs or everything or where is not None):
        raise click.UsageError("name versions, or pass --all, or --where")


def _stayed(completed: int, left: int, stayed: str) -> str:
    """Return what is said of versions of which some files come, or did."""
    more = f"; files of {render.count(completed, 'version')} that {'was' if completed == 1 else 'were'} here in part"
    return (more if completed else "") + (f"; {render.size(left)} of files {stayed} there" if left else "")


def _moved(found: "Beside") -> str:
    moved = f"; moved {', '.join(found.aliases)}" if found.aliases else ""
    return moved + (f"; labelled {', '.join(found.notes)}" if found.notes else "")


def _check_settled(found: "Beside", remote: str | None) -> None:
    """End with an error where an alias moved on both sides: somebody must say which move counts."""
    for each in found.differs:
        if each.alias and not each.held:
            place = f"-r {remote} " if remote else ""
            raise AliasMoved(
                f"the alias '{each.alias}' leads to {_shown(each.here)} here and to {_shown(each.there)} there, "
                "and both moved; it stays so until one side takes the other's",
                hint=f"mvs pull {place}--force {each.there or each.here}, or mvs push {place}--force "
                f"{each.here or each.there}",
            )


def _shown(tag: str | None) -> str:
    return f"'{tag}'" if tag else "nothing"


def _tell(facts: Mapping[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        render.as_json(facts)
    else:
        click.echo(text)


def _versions(found: Sequence[object]) -> str:
    return render.count(len(found), "version")

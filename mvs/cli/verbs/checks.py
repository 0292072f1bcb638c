"""The verb that checks: fsck."""

from typing import TYPE_CHECKING

import click

from mvs.cli import render
from mvs.cli.verb import SPECS, Verb, complete_remote, complete_spec, json_option, pass_repository
from mvs.cli.verbs import remotes
from mvs.repository.repository import Repository

if TYPE_CHECKING:
    from mvs.ops.fsck import Finding, Report

# What is told of one finding; --json tells all.
_VERSIONS_SHOWN = 8
_THINGS = {
    "files": ("file", "files"),
    "not-pulled": ("of them not pulled", "of them not pulled"),
    "objects": ("loose object", "loose objects"),
    "packs": ("pack", "packs"),
    "records": ("record", "records"),
}
_RUBBISH = {
    "unreferenced": ("loose object", "loose objects"),
    "unreferenced-records": ("record", "records"),
    "sessions": ("staging folder of a dead process", "staging folders of dead processes"),
    "temporary": ("temporary file", "temporary files"),
    "trash": ("file in the trash", "files in the trash"),
}


def share(text: str) -> float:
    """Return the share that `2%` or `0.02` means."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise click.BadParameter(f"'{text}' is no share: write it as 2% or 0.02")
    return value


@click.command(cls=Verb, epilog=SPECS)
@click.argument("specs", metavar="[SPEC]...", shell_complete=complete_spec, nargs=-1)
@click.option("--quick", is_flag=True, help="Read names, manifests, sizes and indexes; the default")
@click.option("--full", is_flag=True, help="Hash or decode every byte as well")
@click.option(
    "--sample", type=share, metavar="SHARE", help="Do so for a share such as 2%, the longest unverified first"
)
@click.option("--repair", is_flag=True, help="Read everything, and mend what is damaged")
@click.option(
    "--from",
    "source",
    type=click.Path(),
    metavar="PATH",
    help="Repair with what lies in a folder as well: a checkout, a copy, another repository",
)
@click.option("--remote", metavar="NAME", shell_complete=complete_remote, help="Check that remote, and nothing here")
@json_option
@pass_repository
def fsck(
    repo: Repository,
    specs: tuple[str, ...],
    quick: bool,
    full: bool,
    sample: float | None,
    repair: bool,
    source: str | None,
    remote: str | None,
    as_json: bool,
) -> None:
    """Check that everything saved is whole, and tell which versions suffer where it is not

    Without SPEC the whole store; a bare name stands for all its versions. Nothing is changed without --repair, and
    everything else may go on meanwhile. The exit code is 1 when something is damaged, or stays so.
    """
    if remote is not None:
        if specs or repair:
            raise click.UsageError("--remote checks the whole remote, and mends nothing: leave out SPEC and --repair")
        remotes.fsck_there(repo, remote, share=1.0 if full else sample or 0.0, as_json=as_json)
        return
    if source is not None and not repair:
        raise click.UsageError("--from needs --repair")
    if repair:
        if specs or quick or sample is not None:
            raise click.UsageError("--repair reads and mends the whole store: leave out SPEC, --quick and --sample")
        _repair(repo, source, as_json=as_json)
        return
    if quick + full + (sample is not None) > 1:
        raise click.UsageError("choose one of --quick, --full and --sample")
    report = repo.fsck(*specs, level="full" if full else "sample" if sample else "quick", share=sample or 0.0)
    if as_json:
        render.as_json(report.to_dict())
    else:
        _show(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _repair(repo: Repository, source: str | None, *, as_json: bool) -> None:
    done = repo.repair(source)
    if as_json:
        render.as_json(done.to_dict())
    else:
        for what, how in done.mended:
            click.echo(f"mended  {render.plain(what)}\n  {render.plain(how)}")
        for path in done.quarantined:
            click.echo(f"moved to  {render.plain(path)}")
        _show(done.after)
        if done.broken and source is None:
            click.echo("what is broken can be mended from a copy: mvs fsck --repair --from PATH", err=True)
    if not done.ok:
        raise click.exceptions.Exit(1)


def _show(report: "Report") -> None:
    click.echo(", ".join([_counted(report.versions, "version", "versions"), *_listed(report, _THINGS)]))
    verified = report.amounts["verified"]
    if verified.count:
        click.echo(f"{_counted(verified.count, 'object', 'objects')} verified, {render.size(verified.size)}")
    for finding in report.findings:
        _show_finding(finding)
    if rubbish := _listed(report, _RUBBISH):
        click.echo(f"not needed by any version: {', '.join(rubbish)}")
    if kept := _listed(report, {"quarantine": ("file", "files")}):
        click.echo(f"in quarantine: {kept[0]}")
    damage = [finding for finding in report.findings if not finding.harmless]
    notes = len(report.findings) - len(damage)
    victims = len({tag for finding in damage for tag in finding.versions})
    if damage:
        found = _counted(len(damage), "finding", "findings")
        click.echo(f"not ok: {found}, {_counted(victims, 'version suffers', 'versions suffer')}")
    else:
        click.echo("ok" + (f", with {_counted(notes, 'note', 'notes')}" if notes else ""))


def _show_finding(finding: "Finding") -> None:
    click.echo(f"{finding.kind}  {render.plain(finding.what)}")
    click.echo(f"  {render.plain(finding.message)}")
    if finding.versions:
        shown = " ".join(map(str, finding.versions[:_VERSIONS_SHOWN]))
        more = len(finding.versions) - _VERSIONS_SHOWN
        click.echo(f"  versions: {shown}" + (f" and {more} more" if more > 0 else ""))
    if finding.hint:
        click.echo(f"  hint: {render.plain(finding.hint)}")


def _listed(report: "Report", words: dict[str, tuple[str, str]]) -> list[str]:
    """Return what there is of some things."""
    found = [(report.amounts[key], names) for key, names in words.items() if key in report.amounts]
    return [f"{_counted(amount.count, *names)} ({render.size(amount.size)})" for amount, names in found if amount.count]


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"

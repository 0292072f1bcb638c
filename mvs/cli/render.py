"""How facts look in a terminal. Nothing is cut or wrapped to a width."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mvs.errors import command
from mvs.handles.version import AliasInfo, Change, Version
from mvs.handles.version import moment as when

if TYPE_CHECKING:
    from mvs.ops.dedup import Plan, Result
    from mvs.ops.find.usage import Total, Usage
    from mvs.ops.gc import Plan as GcPlan
    from mvs.ops.gc import Result as GcResult
    from mvs.ops.refs.prune import Plan as PrunePlan

# As many paths are told one by one.
_FEW = 8
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def as_json(facts: Any) -> None:
    """Print facts as JSON on standard output."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))


def told(facts: Any, text: str, *, json_wanted: bool) -> None:
    """Print facts, or what they are in words."""
    if json_wanted:
        as_json(facts)
    else:
        click.echo(text)


def tag(version: Version, *, json_wanted: bool, files: bool = True) -> None:
    """Print the tag of a version, or all that is known of it, without its `files` if need be."""
    if json_wanted:
        as_json(version.to_dict(files=files))
    else:
        click.echo(str(version.tag))


def size(count: int) -> str:
    """Return a number of bytes in decimal units."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def count(number: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def plain(text: str) -> str:
    """Return text of the user's with everything a terminal would obey spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def moment(when: datetime) -> str:
    """Return a time in the user's own time zone."""
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns as wide as their widest cell, under a header."""
    columns([header, *rows])


def columns(rows: Iterable[Sequence[str]], *, indent: str = "", err: bool = False) -> None:
    """Print rows, at least one, in columns as wide as their widest cell."""
    lines = [[plain(cell) for cell in row] for row in rows]
    form = indent + "  ".join(f"{{:{max(map(len, column))}}}" for column in zip(*lines, strict=True))
    # One write: a line at a time costs more than finding what is on it.
    click.echo("\n".join(form.format(*line).rstrip() for line in lines), err=err)


def versions(found: Sequence[Version]) -> None:
    """Print a list of versions."""
    if found:
        aliased = any(v.aliases for v in found)
        table(
            ("TAG", "ID", "SIZE", "CREATED", *(["ALIASES"] if aliased else []), "LABELS"),
            [
                (
                    str(v.tag),
                    v.id[:12],
                    size(v.size),
                    moment(v.created),
                    *([" ".join(v.aliases)] if aliased else []),
                    pairs(v.labels),
                )
                for v in found
            ],
        )
    for broken in (v for v in found if v.broken):
        click.echo(f"'{broken.tag}' is broken: files of it are lost; mvs show {broken.tag}", err=True)


def pairs(labels: Mapping[str, str]) -> str:
    """Return labels on one line."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def version(found: Version, stored: "Usage | None" = None) -> None:
    """Print one version, and what it is stored as where it is packed."""
    facts = [
        ("tag", str(found.tag)),
        ("id", found.id),
        ("tree", found.tree),
        ("created", moment(found.created)),
        ("size", f"{size(found.size)} in {len(found.files)} file{'s' if len(found.files) != 1 else ''}"),
        ("stored", f"{size(stored.stored)} as {' '.join(stored.by_size())}" if stored else ""),
        *(("base", base) for base in (stored.bases if stored else ())),
        *(("parent", parent) for parent in found.parents),
        *(("broken", plain(path)) for path in found.broken),
        ("absent", f"{len(found.absent)} files were not pulled" if len(found.absent) > _FEW else ""),
        *(("absent", plain(path)) for path in found.absent if len(found.absent) <= _FEW),
        ("aliases", " ".join(found.aliases)),
        ("labels", plain(pairs(found.saved_labels))),
        ("notes", plain(pairs(found.notes))),
        ("message", "\n          ".join(map(plain, found.message.split("\n")))),
    ]
    for key, value in facts:
        if value:
            click.echo(f"{key + ':':<9} {value}")
    for title, values in (("metadata", found.metadata), ("context", found.context)):
        if values:
            click.echo(f"{title}:")
            for key, value in values.items():
                click.echo(f"  {plain(key)}: {plain(json.dumps(value, ensure_ascii=False))}")
    click.echo("files:")
    rows = [(f.blob, size(f.size).rjust(9), plain(f.path) + ("*" if f.executable else "")) for f in found.files]
    for row in rows:
        click.echo("  " + "  ".join(row))


def changes(found: Sequence[Change]) -> None:
    """Print the history of a name."""
    table(
        ("WHEN", "EVENT", "TAG", "ID", "BY", "MESSAGE"),
        [
            (
                moment(change.at),
                change.event,
                change.alias or str(change.tag),
                (change.new or change.old or "")[:12],
                change.by,
                _said(change),
            )
            for change in found
        ],
    )


def _said(change: Change) -> str:
    """Return what there is to say about a change besides what it is."""
    if change.alias:
        before, after = str(change.before or "nothing"), str(change.tag) if change.new else "nothing"
        return f"{before} -> {after}{' (back)' if change.back else ''}"
    if change.labels:
        return pairs({key: after or "" for key, (_, after) in change.labels.items()})
    return change.message.partition("\n")[0]


def aliases(found: Sequence[AliasInfo]) -> None:
    """Print aliases."""
    if found:
        table(
            ("ALIAS", "TAG", "ID", "SINCE", "BY", ""),
            [
                (
                    alias.alias,
                    str(alias.tag),
                    alias.id[:12],
                    moment(alias.at) if alias.at else "",
                    alias.by or "",
                    " ".join(word for word in ("deleted", "protected") if getattr(alias, word)),
                )
                for alias in found
            ],
        )


def usage(total: "Total", *, by_name: bool) -> None:
    """Print what versions take, each or all of a name together."""
    if by_name:
        rows = [
            (
                each.name,
                str(each.versions),
                *map(size, (each.size, each.stored, each.exclusive)),
                _share(each.stored, each.size),
            )
            for each in total.names
        ]
        header = ["NAME", "VERSIONS", "SIZE", "STORED", "EXCLUSIVE", "SHARE"]
    else:
        rows = [
            (
                str(found.tag),
                *map(size, (found.size, found.stored, found.exclusive or 0)),
                _share(found.stored, found.size),
                " ".join(found.by_size()),
                " ".join(found.bases),
            )
            for found in total.versions
        ]
        header = ["TAG", "SIZE", "STORED", "EXCLUSIVE", "SHARE", "AS", "BASE"]
    if rows:
        table(header, rows)
    click.echo(f"{size(total.size)} in all; the store takes {size(total.stored)}", err=True)
    if total.collectable:
        click.echo(f"{size(total.collectable)} would come back with mvs gc", err=True)
    _kept(total.held or 0, ())


def _share(stored: int, size: int) -> str:
    return f"{stored / max(1, size):.1%}"


def prune_plan(plan: "PrunePlan", *, err: bool = False) -> None:
    """Print what a prune would delete, and why the rest is kept."""
    rows = [(each.ref, "keep", ", ".join(map(str, each.why))) for each in plan.kept]
    rows += [(ref, "delete", "") for ref in plan.doomed]
    if rows:
        rows.sort(key=lambda row: (row[0].tag.name, -row[0].created))
        columns(
            [
                ("TAG", "CREATED", "", "KEPT BY"),
                *((str(ref.tag), moment(when(ref.created)), what, why) for ref, what, why in rows),
            ],
            err=err,
        )
    click.echo(
        f"{count(len(plan.doomed), 'version')} to delete, {len(plan.kept)} to keep; "
        f"{size(plan.exclusive)} are needed by nothing else",
        err=True,
    )


def dedup_plan(plan: "Plan", *, json_wanted: bool) -> None:
    """Print what a dedup would do."""
    if json_wanted:
        rows = [
            {
                "tag": str(item.tag),
                "path": item.path,
                "blob": str(item.blob),
                "size": item.size,
                "estimate": item.estimate,
                "bases": [plan.names.get(base, str(base)) for base in item.bases],
            }
            for item in plan.items
        ]
        as_json({"items": rows, "size": plan.size, "estimate": plan.estimate, "kept": plan.kept, "packed": plan.done})
        return
    if plan.items:
        table(
            ("TAG", "FILE", "SIZE", "ABOUT", "BASE"),
            [
                (
                    str(item.tag),
                    item.path,
                    size(item.size),
                    size(item.estimate),
                    " ".join(plan.names.get(base, str(base)[:12]) for base in item.bases),
                )
                for item in plan.items
            ],
        )
    click.echo(f"{size(plan.size)} would take about {size(plan.estimate)}", err=True)


def dedup_result(result: "Result", *, json_wanted: bool) -> None:
    """Print what a dedup did."""
    if json_wanted:
        as_json(
            {
                "packed": result.packed,
                "stored": result.stored,
                "freed": result.freed,
                "blobs": result.blobs,
                "skipped": result.skipped,
                "encodings": {name: {"size": a, "stored": b} for name, (a, b) in sorted(result.encodings.items())},
            }
        )
        return
    if not result.packed:
        click.echo("nothing to pack", err=True)
        return
    what = f"{size(result.packed)} in {result.blobs} file{'s' if result.blobs != 1 else ''}"
    if not result.stored:
        click.echo(f"{what} were in packs already; {size(result.freed)} came back")
        return
    click.echo(f"{what} now take {size(result.stored)} ({result.stored / result.packed:.1%})")


def gc_plan(plan: "GcPlan", *, json_wanted: bool) -> None:
    """Print what gc would remove."""
    if json_wanted:
        as_json(
            {
                "versions": [{"tag": str(gone.tag), "id": str(gone.id), "at": gone.at} for gone in plan.versions],
                "objects": len(plan.loose),
                "packs": len(plan.packs),
                "freed": plan.freed,
                "held": plan.held,
                "vanished": plan.vanished,
            }
        )
        return
    if plan.versions:
        table(
            ("TAG", "ID", "DELETED"),
            [(str(gone.tag), str(gone.id)[:12], moment(when(gone.at))) for gone in plan.versions],
        )
    click.echo(f"{size(plan.freed)} would come back", err=True)
    _kept(plan.held, plan.vanished)


def gc_result(result: "GcResult", *, json_wanted: bool) -> None:
    """Print what gc removed."""
    if json_wanted:
        fitted = result.fitted
        steps = {} if fitted is None else {"fitted": {**fitted._asdict(), "steps": dict(fitted.steps)}}
        as_json(result._asdict() | steps)
        return
    click.echo(f"{size(result.freed)} came back: {result.versions} deleted versions, {result.objects} objects")
    if fitted := result.fitted:
        for step, freed in fitted.steps:
            click.echo(f"{size(freed)} came back from {step}")
        for tag in fitted.pruned:
            click.echo(f"pruned {tag}")
        if fitted.after > fitted.limit:
            click.echo(
                f"the store takes {size(fitted.after)}, and 'store.max-size' is {size(fitted.limit)}: mvs du", err=True
            )
    _kept(result.held, result.vanished)


def _kept(held: int, vanished: Iterable[str]) -> None:
    for place in vanished:
        forget = command("mvs", "gc", "--forget", place)
        click.echo(f"the repository '{place}' is gone, or was replaced; what it pinned is kept: {forget}", err=True)
    if held:
        click.echo(f"{size(held)} more are kept for what was deleted of late: mvs gc --expire now", err=True)

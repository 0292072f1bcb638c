"""What a stranger reads is true: commands run, code runs, links lead somewhere, constants agree with the code.

In README.md and the pages of `COMMANDED` every ```console block is run, in order, in one shell.
A block that shows output shows all of it; a block that shows none only has to succeed.
A ```python block that begins with `# NAME.py` is that file; other ones are run as they stand.
"""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from blake3 import blake3

import mvs
from mvs import errors
from mvs.errors import InvalidPath, InvalidTag, MvsError
from mvs.format import canonical, layout, manifest, names, pack, paths, remote
from mvs.format.ids import ObjectId
from mvs.format.lines import journal as journal_format
from mvs.format.lines import notes, partial, refs
from mvs.format.lines.journal import Agreed, Event, Moved, Noted, Target
from mvs.format.paths import check_path
from mvs.repository.workspace import SETTINGS
from mvs.store.store import Store
from tests import demo, reference

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMANDED = [
    "README.md",
    "docs/tutorial.md",
    "docs/aliases.md",
    "docs/dedup.md",
    "docs/fsck.md",
    "docs/query.md",
    "docs/retention.md",
    "docs/sharing.md",
    "docs/training.md",
    "docs/watching.md",
    "docs/hooks.md",
    "docs/pins.md",
]
FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
SEPARATOR = "\x1e"
# So that the tests need nothing but Python; on machines that have it, `b3sum` prints the same.
B3SUM = """
import pathlib, sys
from blake3 import blake3
print(blake3(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest(), "", sys.argv[1])
"""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and content of every fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output shown behind it."""
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in re.split(r"^\$ ", block, flags=re.M)[1:]]


def shell(folder: Path, lines: list[str]) -> list[tuple[int, str]]:
    """Run lines in one shell in `folder` and return the status and all output of each."""
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    program(tools / "python", f'exec "{sys.executable}" "$@"')
    program(tools / "mvs", 'exec python -m mvs "$@"')
    (folder.parent / "b3sum.py").write_text(B3SUM, encoding="utf-8")
    program(tools / "b3sum", f'exec python "{folder.parent}/b3sum.py" "$@"')
    script = "exec 2>&1\n" + "".join(
        f"{line}\n__status=$?; printf '{SEPARATOR}%s{SEPARATOR}' $__status; (exit $__status)\n" for line in lines
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    pieces = done.stdout.split(SEPARATOR)
    assert len(pieces) == 2 * len(lines) + 1, done.stdout
    return [(int(status), output) for output, status in zip(pieces[0::2], pieces[1::2], strict=False)]


def program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    path.chmod(0o755)


def plain(output: str, folder: Path) -> str:
    """Return output with what differs from run to run made the same."""
    for pattern, same in (
        (re.escape(str(folder)), "/home/you/project"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME"),
        (r"\b\d{8}-\d{6}-([0-9a-f]{6})\b", r"TIME-\1"),
        (r"^(id|parent):( +)[0-9a-f]{64}$", r"\1: ID"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\b[\w.-]+@[\w.-]+\b", "USER@HOST"),
        (r"^  (mvs|platform|python): .*$", r"  \1: ANY"),
        (r"^  git: .*\n", ""),
        (r"  +", "  "),
        (r" +$", ""),
    ):
        output = re.sub(pattern, same, output, flags=re.M)
    return output


@pytest.mark.parametrize("page", COMMANDED)
def test_every_command_on_the_page_does_what_is_shown(page: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    if page == "README.md":
        (folder / "out").mkdir()
        (folder / "out" / "weights.bin").write_bytes(b"weights")
    shown: list[tuple[str, str | None]] = []
    for language, block in blocks(text_of(page)):
        if language == "console":
            told = commands(block)
            silent = not any(output for _, output in told)
            shown += [(command, None if silent else output) for command, output in told]
        elif language == "python" and (name := re.match(r"# (\S+\.py)\n", block)):
            (folder / name[1]).write_text(block, encoding="utf-8")
    assert shown
    ran = shell(folder, [command for command, _ in shown])
    for (command, expected), (status, output) in zip(shown, ran, strict=True):
        if expected is None:
            assert status == 0, f"$ {command}\n{output}"
        else:
            assert plain(output, folder) == plain(expected, folder), f"$ {command}"


@pytest.mark.parametrize("page", COMMANDED)
def test_every_python_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    for language, block in blocks(text_of(page)):
        if language == "python" and not re.match(r"# \S+\.py\n", block):
            folder = tmp_path / str(ran)
            folder.mkdir()
            monkeypatch.chdir(folder)
            exec(compile(block, page, "exec"), {})
            ran += 1
    assert ran or page != "README.md"


def test_the_set_up_commands_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    lines = [
        line for language, block in blocks(text_of("README.md")) if language == "sh" for line in block.splitlines()
    ]
    made = [words[1] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "make"]
    assert made == ["demo", "test"]
    assert targets.issuperset(made)
    assert "make test" in text_of(".ci/run")


def test_the_demo_succeeds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "demo"
    for _ in range(2):
        assert demo.main([], place) == 0
    out, err = capfd.readouterr()
    assert out.count("✓ spirals:latest is spirals:v2") == out.count("✓ BLAKE3 of every file is its id") == 2
    assert err.count("error: tag 'spirals:v1' exists with other content") == 2


def test_the_demo_leaves_the_users_folder_as_it_was(tmp_path: Path, folder: Path) -> None:
    def look() -> list[tuple[str, int, int, bytes]]:
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return [(str(p), p.stat().st_mtime_ns, p.stat().st_mode, p.read_bytes()) for p in found]

    before = look()
    assert demo.main([str(folder)], tmp_path / "demo") == 0
    assert look() == before


@pytest.mark.parametrize("model", ["missing", "demo", "demo/out"])
def test_the_demo_refuses_a_folder_it_cannot_use(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder inside .demo would be removed before it is saved."""
    (tmp_path / "demo" / "out").mkdir(parents=True)
    assert demo.main([str(tmp_path / model)], tmp_path / "demo") == 1
    assert "error: " in capsys.readouterr().err
    assert (tmp_path / "demo" / "out").is_dir()


@pytest.mark.parametrize("page", reference.pages(), ids=named)
def test_the_reference_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == reference.pages()[page], "run `make docs`"


def test_every_command_and_option_is_in_the_reference() -> None:
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text_of("docs/reference/cli.md"), re.M | re.S))
    told = dict(reference.commands())
    assert list(sections) == list(told)
    for name, command in told.items():
        for option in {word for param in command.params for word in param.opts if word.startswith("-")}:
            where = reference.COMMON if option in reference.COMMON_NAMES else sections[name]
            assert f"`{option}" in where, f"{name} {option}"


def test_every_public_name_is_in_the_reference_and_documented() -> None:
    page = text_of("docs/reference/python.md")
    for name in set(mvs.__all__) - {"__version__", "errors"}:
        thing = getattr(mvs, name)
        assert f"## mvs.{name}\n" in page
        assert inspect.getdoc(thing), name
    for kind in (mvs.Draft, mvs.Repository, mvs.Version):
        for member in (member for member, _ in reference.members(kind) if not member.startswith("_")):
            assert f"### {kind.__name__}.{member}\n" in page, f"{kind.__name__}.{member} has no docstring"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def classes(of: type[MvsError]) -> Iterator[type[MvsError]]:
    yield of
    for kind in of.__subclasses__():
        yield from classes(kind)


def test_the_page_of_errors_lists_every_class_with_its_kind_and_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| `([a-z-]+)` \|", text_of("docs/errors.md"), re.M)
    known = {kind for kind in classes(MvsError) if kind.__module__ == errors.__name__}
    assert sorted(rows) == sorted((str(kind.exit_code), kind.__name__, kind.kind) for kind in known)
    assert len({kind.exit_code for kind in known}) == len({kind.kind for kind in known}) == len(known)


def test_the_tree_in_the_docstring_of_errors_is_the_tree() -> None:
    assert errors.__doc__
    drawn = re.findall(r"(\w+) +(\d+)(?=  |\n)", errors.__doc__)
    known = [kind for kind in classes(MvsError) if kind.__module__ == errors.__name__]
    assert drawn == [(kind.__name__, str(kind.exit_code)) for kind in known]


def test_codes_that_are_no_errors_are_on_the_page() -> None:
    from mvs.cli.main import INTERNAL, INTERRUPTED

    table = text_of("docs/errors.md").partition("Codes that are not errors")[2]
    assert re.findall(r"^\| (\d+) \|", table, re.M) == ["0", "1", "2", str(INTERNAL), str(INTERRUPTED)]


def test_every_module_has_its_place_in_the_architecture() -> None:
    text = text_of("docs/architecture.md")
    for path in sorted((ROOT / "mvs").iterdir()):
        if path.suffix == ".py" and not path.name.startswith("_"):
            assert f"`{path.name}`" in text, path.name
        elif (path / "__init__.py").exists():
            assert f"`{path.name}/`" in text, path.name


def test_every_setting_is_in_the_tutorial() -> None:
    assert all(key in text_of("docs/tutorial.md") for key in SETTINGS)


def test_the_lengths_of_names_are_those_of_the_format() -> None:
    assert f"at most {names.NAME_LENGTH} characters\n" in FORMAT
    assert f"at most {names.COMPONENT_LENGTH} characters\n" in FORMAT
    longest = "/".join(["n" * names.COMPONENT_LENGTH] * 3 + ["n" * 63])
    assert len(longest) == names.NAME_LENGTH
    assert names.parse_name(longest) == longest
    for text in (f"{longest}n", "n" * (names.COMPONENT_LENGTH + 1), names.LATEST + ":latest"):
        with pytest.raises(InvalidTag):
            names.Tag.parse(text if ":" in text else f"{text}:v1")


def test_the_magic_lines_are_those_of_the_format() -> None:
    assert f"\n{layout.FORMAT_LINE}\nneeds-read FEATURE\nneeds-write FEATURE\n" in FORMAT
    assert f"the line `{manifest.MAGIC.decode().removesuffix(chr(10))}`" in FORMAT
    assert f"the line `{journal_format.MAGIC.decode().removesuffix(chr(10))}`" in FORMAT
    assert f"\n{remote.TAKEN_LINE} <number> <entry>\n" in FORMAT
    assert f"\n{refs.MAGIC} <tag> <manifest id> <created>\n" in FORMAT
    assert f"\n{notes.MAGIC} <tag> <manifest id> <labels>\n" in FORMAT
    assert f"the line has at most {notes.MAX_BYTES >> 20} MiB" in FORMAT
    assert f"\n{partial.MAGIC} <tag> <manifest id> <what>\n" in FORMAT
    assert f"A line has at most {partial.MAX_BYTES >> 20} MiB" in FORMAT
    assert {"packs"} == layout.READ_FEATURES | layout.WRITE_FEATURES
    assert f"This release knows one feature, `packs` (`{layout.NEEDS_PACKS}`)" in FORMAT
    assert f"\n{pack.PACK_LINE.decode()[:-1]}\\n\n" in FORMAT
    assert f"and the 8 bytes `{pack.PACK_END.decode()}`" in FORMAT
    assert f"the last {pack.TRAILER_SIZE} bytes" in FORMAT
    assert f"within {pack.MAX_RECORD >> 20} MiB" in FORMAT


def test_the_places_of_a_store_are_those_of_the_format() -> None:
    id = ObjectId.of(b"")
    assert layout.pack_path(id) == f"{layout.PACKS}/{str(id)[:2]}/{str(id)[2:]}.pack"
    assert layout.object_path(id) == f"{layout.OBJECTS}/{str(id)[:2]}/{str(id)[2:]}"
    for place in (
        f"{layout.FORMAT_FILE} ",
        f"{layout.LOCK} ",
        f"{layout.PACKING} ",
        f"{layout.WORKING} ",
        f"{layout.TAKEN} ",
        f"{layout.OBJECTS}/ab/cdef… ",
        f"{layout.PACKS}/ab/cdef….pack ",
        f"{layout.TAGS}/<name>/@<version> ",
        f"{layout.TAGS}/<name>/@{names.LATEST} ",
        f"{layout.ALIASES}/<name>/@<alias> ",
        f"{layout.NOTES}/<name>/@<version> ",
        f"{layout.PARTIAL}/<manifest id> ",
        f"{layout.JOURNAL}/<name>/{layout.EVENTS} ",
        f"{layout.STAGING}/<session>/ ",
        f"{layout.RESCUED}/<session>/ ",
        f"{layout.CACHE}/ ",
    ):
        assert f"\n  {place}" in FORMAT


def test_the_limits_of_values_are_those_of_the_format() -> None:
    assert f"at most {canonical.MAX_DEPTH} levels deep" in FORMAT
    (integers,) = re.findall(r"^Integers lie.*$", FORMAT, re.M)
    low, high = re.findall(r"2\^(\d+)", integers)
    limits = (-(2 ** int(low)), 2 ** int(high) - 1)
    assert limits == (canonical.MIN_INT, canonical.MAX_INT)
    assert f"a component over {paths.COMPONENT_BYTES} bytes" in FORMAT
    assert f"a component that is `{paths.FORBIDDEN}` after case folding" in FORMAT
    check_path("ü" * (paths.COMPONENT_BYTES // 2))
    for path in ("ü" * (paths.COMPONENT_BYTES // 2 + 1), "a/.MVS/b"):
        with pytest.raises(InvalidPath):
            check_path(path)


def keys_of(section: str) -> set[str]:
    """Return the keys in the first column of the table in a section of the format."""
    text = re.split(r"^### ", FORMAT.partition(f"### {section}\n")[2], flags=re.M)[0]
    return {key for cell in re.findall(r"^\| (`.+?`) \|", text, re.M) for key in re.findall(r"`(\w+)`", cell)}


def test_the_keys_of_a_manifest_and_of_an_event_are_those_of_the_format(
    store: Store, repo: mvs.Repository, folder: Path
) -> None:
    version = repo.save(folder, "bert:v1")
    data = store.objects.read(ObjectId.from_hex(version.id))
    stored = msgpack.unpackb(data.removeprefix(manifest.MAGIC))
    assert set(stored) == keys_of("Manifest")
    row = re.search(r"^\| `files` \| array of maps \| (.*) \|$", FORMAT, re.M)
    assert row
    assert {key for file in stored["files"] for key in file} == set(re.findall(r"`(\w+)` \(", row[1]))
    line = Event("save", "v1", None, ObjectId.of(b""), None, 1, 1, "you@host", reuse=True).encode()
    check, _, text = line.decode().partition(" ")
    assert f"the first {len(check)} hex digits of the BLAKE3 of the JSON text" in FORMAT
    assert check == blake3(text.removesuffix("\n").encode()).hexdigest()[: len(check)]
    assert set(json.loads(text)) == keys_of("Journal")
    target = Target("v1", ObjectId.of(b""))
    lines = (
        Moved("prod", target, target, 1, "you@host", back=True),
        Noted("v1", target.id, {}, 1, "you@host"),
        Agreed("0" * 32, {}, {}, 1, "you@host"),
    )
    told = [json.loads(line.encode().partition(b" ")[2]) for line in lines]
    assert {key for fields in told for key in fields} == keys_of("Events of aliases and notes")


def test_a_generated_version_is_the_time_and_the_tree(repo: mvs.Repository, folder: Path) -> None:
    first, second = repo.save(folder, "bert"), repo.save(folder, "bert", message="again, within the same second or not")
    assert first.version == f"{first.created:%Y%m%d-%H%M%S}-{first.tree[:6]}"
    assert second.version in (f"{first.version}.2", f"{second.created:%Y%m%d-%H%M%S}-{second.tree[:6]}")


def test_five_steps_read_a_version_without_mvs(repo: mvs.Repository, folder: Path) -> None:
    """The promise that no release, not even ours, stands between a user and the bytes."""
    repo.save(folder, "acme/bert:v3")
    store = repo.store

    assert (store / "format").read_text() == "mvs-store 1\n"
    id = (store / "refs/tags/acme/bert/@v3").read_text().split()[3]
    data = (store / "objects" / id[:2] / id[2:]).read_bytes()
    assert blake3(data).hexdigest() == id
    line, _, rest = data.partition(b"\n")
    assert line == b"mvs-manifest 1"
    read = {}
    for file in msgpack.unpackb(rest)["files"]:
        blob = file["blob"].hex()
        content = store / "objects" / blob[:2] / blob[2:]
        assert content.stat().st_mode & 0o777 == 0o444
        assert blake3(content.read_bytes()).hexdigest() == blob
        read[file["path"]] = (content.read_bytes(), file["executable"])
    assert read == {
        path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.rglob("*")
        if path.is_file()
    }

"""diff: what differs is printed, for people and for programs, and the exit code says whether anything does."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import mvs
from mvs.cli.diffing import _share as share
from tests.codecs.cut import samples
from tests.ops.dedup import families
from tests.ops.dedup.families import save

Cli = Callable[..., Result]
Tensors = dict[str, list[float]]


@pytest.fixture
def repo(tmp_path: Path) -> mvs.Repository:
    return families.quick(tmp_path / "repo")


def model(tensors: Tensors) -> bytes:
    header, data = {}, b""
    for name, values in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = samples.entry("F32", (len(values),), len(data), len(data) + len(raw))
        data += raw
    return samples.safetensors(header, data)


def layers(count: int, *, only: int = -1) -> Tensors:
    """A model of some layers, of which one has changed."""
    return {
        f"model.layers.{number}.{part}.weight": [3.0, 4.0, 0.0, 1.0 if number == only and part == "mlp" else 0.0]
        for number in range(count)
        for part in ("attn", "mlp")
    }


def lines(result: Result) -> list[list[str]]:
    """The lines of a table, cell by cell: columns are two blanks apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in result.stdout.splitlines()]


def test_versions_that_are_the_same_print_nothing_and_exit_with_0(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", model(layers(1)))
    save(repo, "bert:v2", model(layers(1)))
    for options in ([], ["--tensors"]):
        result = cli("diff", "bert:v1", "bert:v2", *options)
        assert result.stdout == ""
        assert result.stderr == "no difference between bert:v1 and bert:v2\n"
    assert cli("-q", "diff", "bert:v1", "bert:v2").stderr == ""
    assert json.loads(cli("diff", "--json", "bert:v1", "bert:v2").stdout)["same"] is True


def test_what_differs_is_printed_and_the_code_is_1(cli: Cli, repo: mvs.Repository) -> None:
    before = {"config": b"1", "gone": b"12", "old": b"long", "weights": b"w" * 2000}
    after = {"config": b"1", "new": b"123", "name": b"long", "weights": b"w" * 3000}
    save(repo, "bert:v1", before, labels={"stage": "test"}, metadata={"f1": 0.5, "lr": {"min": 0}}, message="one\ntwo")
    save(repo, "bert:v2", after, labels={"stage": "prod"}, metadata={"f1": 0.6, "lr": {"min": 0}, "new": None})
    assert cli("diff", "bert:v1", "bert:v2", code=1).stdout.splitlines() == [
        "files:",
        "  removed  gone         2 B",
        "  renamed  old -> name  4 B",
        "  added    new          3 B",
        "  changed  weights      2.0 kB -> 3.0 kB",
        "labels:",
        '  changed  stage  "test" -> "prod"',
        "metadata:",
        "  changed  f1   0.5 -> 0.6",
        "  added    new  null",
        "message:",
        '  changed  "one\\ntwo" -> ""',
    ]


def test_a_change_of_rights_is_seen(cli: Cli, repo: mvs.Repository, folder: Path) -> None:
    repo.save(folder, "bert:v1")
    (folder / "run.sh").chmod(0o644)
    repo.save(folder, "bert:v2")
    assert "  changed  run.sh  10 B (no longer executable)\n" in cli("diff", "bert:v1", "bert:v2", code=1).stdout
    assert "  changed  run.sh  10 B (now executable)\n" in cli("diff", "bert:v2", "bert:v1", code=1).stdout


def test_tensors_are_summed_up_by_layer(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", model({**layers(8), "lm_head.weight": [1.0, 2.0]}))
    save(repo, "bert:v2", model({**layers(8, only=5), "new.weight": [7.0]}))
    told = lines(cli("diff", "--tensors", "bert:v1", "bert:v2", code=1))
    told = told[told.index(["tensors:"]) :]
    assert told == [
        ["tensors:"],
        ["1 changed, 1 added, 1 removed, 15 same"],
        [
            "1.56% of the weights changed, those tensors by 2.00e-01 of their norm (relative L2), "
            f"cosine {25 / (5 * math.sqrt(26)):.8f}"
        ],
        [],
        ["LAYER", "TENSORS", "CHANGED", "REL L2", "COSINE", "MAX ABS"],
        ["lm_head", "1 removed"],
        # Five frozen layers are one line.
        ["model.layers.0 ... model.layers.4", "10 same", "0.00%"],
        ["model.layers.5", "1 changed, 1 same", "12.50%", "2.00e-01", "0.98058068", "1.00e+00", "##########"],
        ["model.layers.6 ... model.layers.7", "4 same", "0.00%"],
        ["new", "1 added"],
    ]


def test_the_largest_changes_come_first_below_the_layers(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", model({f"w{number}": [1.0, 0.0] for number in range(9)}))
    save(repo, "bert:v2", model({f"w{number}": [1.0, number / 10] for number in range(9)}))
    told = lines(cli("diff", "--tensors", "bert:v1", "bert:v2", code=1))
    largest = told[told.index(["largest changes:"]) + 1 :]
    assert largest[0] == ["REL L2", "CHANGED", "MAX ABS", "TENSOR"]
    assert [row[-1] for row in largest[1:]] == ["w8", "w7", "w6", "w5", "w4"]
    assert largest[1] == ["8.00e-01", "50.00%", "8.00e-01", "w8"]
    # Each layer has its bar, and the most changed one the longest.
    bars = {row[0]: row[-1] for row in told[: told.index(["largest changes:"])] if row and row[-1].startswith("#")}
    assert (bars["w8"], bars["w4"], bars["w1"]) == ("##########", "#####", "#")


def test_every_tensor_is_listed_when_asked(cli: Cli, repo: mvs.Repository) -> None:
    before = {"a": [3.0, 4.0], "b": [1.0], "module.c": [2.0], "d": [1.0], "e": [1.0, 2.0, 3.0]}
    after = {"a": [3.0, 5.0], "b": [1.0], "c": [2.0], "d": [math.nan], "e": [1.0, 2.0]}
    save(repo, "bert:v1", {"old.safetensors": model(before)})
    save(repo, "bert:v2", {"old.safetensors": model(after)})
    told = lines(cli("diff", "--all", "bert:v1", "bert:v2", code=1))
    header = ["STATUS", "TENSOR", "DTYPE", "SHAPE", "CHANGED", "REL L2", "COSINE", "MAX ABS", "MEAN ABS", "NOTE"]
    start = told.index(header)
    assert told[start + 1 :] == [
        ["changed", "a", "F32", "2", "50.00%", "2.00e-01", "0.99469179", "1.00e+00", "5.00e-01"],
        ["same", "b", "F32", "1"],
        ["moved", "c", "F32", "1", "was module.c"],
        ["changed", "d", "F32", "1", "100.00%", "NaN or infinite: 0 -> 1, left out of the figures"],
        ["resized", "e", "F32", "3 -> 2"],
    ]
    assert ["NaN or infinite: 0 -> 1, left out of the figures"] in told[:start]


def test_the_file_that_a_tensor_moved_to_is_told(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", {"a.safetensors": model({"w": [1.0]})})
    save(repo, "bert:v2", {"b.safetensors": model({"w": [1.0], "v": [2.0]})})
    assert ["moved", "w", "F32", "1", "a.safetensors -> b.safetensors"] in lines(
        cli("diff", "--all", "bert:v1", "bert:v2", code=1)
    )


def test_what_cannot_be_compared_is_counted(cli: Cli, repo: mvs.Repository) -> None:
    """A layer must not look unchanged because nobody looked."""
    base = families.model(shapes={"w": (4, 32), "v": (4, 32)})
    save(repo, "bert:v1", families.safetensors(base))
    save(repo, "bert:v2", {"model.gguf": families.gguf_q8(base)})
    told = lines(cli("diff", "--tensors", "bert:v1", "bert:v2", code=1))
    assert ["2 retyped (2 not compared)"] in told
    assert ["w", "1 retyped (1 not compared)"] in told


def test_json_tells_files_layers_and_tensors(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", model(layers(2)))
    save(repo, "bert:v2", model(layers(2, only=1)))
    told = json.loads(cli("diff", "--tensors", "--json", "bert:v1", "bert:v2", code=1).stdout)
    assert told == repo.diff("bert:v1", "bert:v2", tensors=True).to_dict()
    assert [layer["share"] for layer in told["layers"]] == [0.0, 0.125]
    assert json.loads(cli("diff", "--json", "bert:v1", "bert:v2", code=1).stdout)["tensors"] is None


def test_files_without_tensors_say_so(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", b"x")
    save(repo, "bert:v2", b"y")
    result = cli("diff", "--tensors", "bert:v1", "bert:v2", code=1)
    assert result.stderr == "no tensors in these files\n"
    assert "tensors:" not in result.stdout


def test_a_version_that_is_not_there_has_its_own_code(cli: Cli, repo: mvs.Repository) -> None:
    """1 says that two versions differ, and must say nothing else."""
    save(repo, "bert:v1", b"x")
    assert "error: no version 'bert:v2'" in cli("diff", "bert:v1", "bert:v2", code=22).stderr


def test_what_the_terminal_would_obey_is_spelled_out(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", model({"w\x1b[2J": [1.0]}), labels={"a": "x"})
    save(repo, "bert:v2", model({"w\x1b[2J": [2.0]}), labels={"a": "y\x1b[2J"})
    for option in ("--tensors", "--all"):
        assert "\x1b" not in cli("diff", option, "bert:v1", "bert:v2", code=1).stdout


@pytest.mark.parametrize(
    ("part", "text"),
    [(0, "0.00%"), (1e-9, "<0.01%"), (0.5, "50.00%"), (0.99999, ">99.99%"), (1, "100.00%")],
)
def test_a_share_never_looks_like_none_or_all(part: float, text: str) -> None:
    assert share(part) == text


def test_show_lists_tensors(cli: Cli, repo: mvs.Repository) -> None:
    data = families.safetensors({"w": families.model()["layers.0.attn.weight"]})
    version = save(repo, "bert:v1", {"a.safetensors": data, "b.safetensors": model({"v": [1.0, 2.0]})})
    ids = [tensor.id for tensor in version.tensors()]
    assert lines(cli("show", "--tensors", "bert")) == [
        ["FILE", "NAME", "DTYPE", "SHAPE", "SIZE", "ID"],
        ["a.safetensors", "w", "BF16", "128x128", "32.8 kB", ids[0][:12]],
        ["b.safetensors", "v", "F32", "2", "8 B", ids[1][:12]],
    ]
    told = json.loads(cli("show", "--tensors", "--json", "bert").stdout)
    assert told["tensors"][0] == {
        "file": "a.safetensors",
        "name": "w",
        "dtype": "BF16",
        "shape": [128, 128],
        "size": 32768,
        "id": ids[0],
    }
    assert "tensors" not in json.loads(cli("show", "--json", "bert").stdout)


def test_show_of_a_version_without_tensors_lists_none(cli: Cli, repo: mvs.Repository) -> None:
    save(repo, "bert:v1", b"x")
    assert cli("show", "--tensors", "bert").stdout == ""
    assert json.loads(cli("show", "--tensors", "--json", "bert").stdout)["tensors"] == []

"""docs/format.md says what a decoder must do: enough to write another, and what the code does."""

import re
import struct
from pathlib import Path

import msgpack
import numpy as np
import pytest

from mvs.codecs import blocks, groups, levels, numbers, streams
from mvs.codecs.derive import FUNCTIONS
from tests.codecs import by_the_page
from tests.codecs.numbers_made import noise
from tests.golden.make_encodings import BLOCKS, HERE

FORMAT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
PAGE = FORMAT.partition("\n## Encodings\n")[2].partition("\n## ")[0]


def section(title: str) -> str:
    return PAGE.partition(f"\n### {title}\n")[2].partition("\n### ")[0]


@pytest.mark.parametrize("name", [name for name, block in BLOCKS.items() if block.encoding in ("planes", "delta")])
def test_a_decoder_written_from_the_page_reads_the_golden_payloads(name: str) -> None:
    """The promise that another program can read a store."""
    encoding, plain, refs = BLOCKS[name]
    decode = by_the_page.planes if encoding == "planes" else by_the_page.delta
    assert decode((HERE / name).read_bytes(), len(plain), refs) == plain


@pytest.mark.parametrize("low", [0, 2, 14])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("width", [2, 4])
def test_groups_that_this_release_would_not_write_are_read_as_the_page_says(
    width: int, bits: int, low: int, way: str
) -> None:
    """Another writer may choose other widths, even so that what is at the top falls out."""
    count = 5001
    symbols = noise("symbols", count) & np.uint8((1 << bits) - 1)
    lengths = [(count * bits + 7) // 8, *[int(np.count_nonzero(symbols == (1 << bits) - 1))] * 2, *[count] * (low // 8)]
    lengths += [(count + 1) // 2] * (low % 8 >= 4) + [(count + 3) // 4] * (low % 4 == 2)
    packed = np.packbits(np.unpackbits(symbols[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")
    header = msgpack.packb([width, 0, 254, 5, [[bits, low, 2, lengths]]])
    stored = struct.pack("<I", len(header)) + header + packed.tobytes() + noise("rest", sum(lengths[1:])).tobytes()
    size = count * width
    assert bytes(numbers.decode_planes(stored, size)) == by_the_page.planes(stored, size, ())


def test_the_encodings_are_those_of_the_page() -> None:
    told = re.findall(r"^\| `(\w+)` \|", PAGE.partition("\n### ")[0], re.M)
    assert told == [blocks.RAW, blocks.FILL, blocks.ZSTD, blocks.PLANES, blocks.DELTA, blocks.DERIVE]
    assert f"an item of 1 to {blocks._LONGEST_FILL} bytes" in PAGE


def test_the_kinds_are_those_of_the_page() -> None:
    told = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", section("Headers"), re.M)
    assert told == [(name, *map(str, kind)) for name, kind in numbers.KINDS.items()]
    assert f"none longer than {numbers._MODEST['max_array_len']}." in section("Headers")


def test_the_limits_of_groups_rows_and_windows_are_those_of_the_page() -> None:
    assert re.findall(r"at least (\d+) elements", section("Numbers")) == [str(groups._SMALLEST)] * 2
    assert f"`row` is {levels.SHORTEST_ROW} to {levels.LONGEST_ROW}, " in section("Differences")
    assert f"a window over {1 << streams.WINDOW_LOG >> 20} MiB" in section("Streams")


def test_the_functions_are_those_of_the_page() -> None:
    told: dict[str, tuple[set[str], set[str]]] = {}
    for names, makes, of in re.findall(r"^\| (`.+?`) \| (.+?) \| (.+?) \|", section("Recipes"), re.M):
        for name in re.findall(r"`([^`]+)`", names):
            told[name] = (set(makes.split(", ")), set(of.split(", ")))
    assert told.keys() == FUNCTIONS.keys()
    for name, (makes, of) in told.items():
        assert FUNCTIONS[name].target in makes or name == "copy"
        assert of == set(FUNCTIONS[name].sources)

"""Cuts chosen by content: where they are, that they stay there, and what they cost."""

import random
import tracemalloc
from itertools import pairwise

import pyfastcdc
import pytest

from mvs.codecs.cut import chunking, chunks
from tests.codecs.cut.samples import Bytes, Zeros

MIB = 1 << 20


@pytest.fixture(scope="module")
def data() -> bytes:
    return random.Random(20).randbytes(6 * MIB)


def sizes(data: bytes) -> list[int]:
    return [size for _, size in chunks(Bytes(data))]


def test_the_compiled_module_is_in_use() -> None:
    """Its form in Python takes minutes for a gigabyte."""
    assert chunking.CONTENT_DEFINED


def test_cut_points_never_move(data: bytes) -> None:
    """A moved cut point breaks dedup with every store already out there."""
    assert sizes(data) == GOLDEN


def test_chunks_follow_each_other_and_cover_the_file(data: bytes) -> None:
    cuts = list(chunks(Bytes(data)))
    assert cuts[0][0] == 0
    assert all(first[0] + first[1] == second[0] for first, second in pairwise(cuts))
    assert sum(cuts[-1]) == len(data)
    assert all(chunking.SMALLEST <= size <= chunking.LARGEST for _, size in cuts[:-1])


@pytest.mark.parametrize("size", [0, 1, 100, chunking.SMALLEST, chunking.SMALLEST + 1])
def test_a_small_file_is_one_chunk(size: int) -> None:
    assert sizes(bytes(size)) == ([size] if size else [])


@pytest.mark.parametrize("longest", [4096, 65_537, 3 * MIB])
def test_cuts_do_not_depend_on_how_the_file_is_read(data: bytes, longest: int) -> None:
    whole = pyfastcdc.FastCDC(
        chunking.AVERAGE, min_size=chunking.SMALLEST, max_size=chunking.LARGEST, normalized_chunking=1
    )
    expected = [(chunk.offset, chunk.length) for chunk in whole.cut_buf(data)]
    assert list(chunks(Bytes(data, longest))) == expected


@pytest.mark.parametrize(("start", "stop"), [(0, 3 * MIB), (12_345, None), (777, 2 * MIB + 1), (5 * MIB, 99 * MIB)])
def test_a_stretch_is_cut_like_a_file_of_its_own(data: bytes, start: int, stop: int | None) -> None:
    cuts = list(chunks(Bytes(data), start=start, stop=stop))
    assert cuts == [(start + at, size) for at, size in chunks(Bytes(data[start:stop]))]


@pytest.mark.parametrize(("start", "stop"), [(6 * MIB, None), (7 * MIB, None), (9, 9), (9, 3)])
def test_an_empty_stretch_has_no_chunks(data: bytes, start: int, stop: int | None) -> None:
    assert list(chunks(Bytes(data), start=start, stop=stop)) == []


def test_bytes_put_in_move_the_cuts_near_them_only(data: bytes) -> None:
    def pieces(data: bytes) -> set[bytes]:
        return {data[at : at + size] for at, size in chunks(Bytes(data))}

    before, after = pieces(data), pieces(data[:MIB] + b"put in" + data[MIB:])
    assert len(before - after) <= 3


def test_without_the_compiled_module_chunks_are_of_one_size(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CONTENT_DEFINED", False)
    assert list(chunks(Bytes(data), start=7, stop=2 * MIB)) == [(7, MIB), (7 + MIB, MIB - 7)]
    assert sizes(data) == [MIB] * 6
    assert list(chunks(Bytes(data), start=9, stop=3)) == []


def test_a_large_file_takes_a_few_megabytes() -> None:
    tracemalloc.start()
    count = sum(1 for _ in chunks(Zeros(b"", 64 * MIB)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 64
    assert peak < 8 * MIB


GOLDEN = [
    309720,
    463990,
    377364,
    270634,
    440428,
    264997,
    170145,
    262792,
    359618,
    416726,
    266266,
    443473,
    155792,
    272265,
    141075,
    410146,
    325348,
    312401,
    302206,
    241082,
    84988,
]

"""Whatever the bytes are: an answer, one that can be true, and little memory."""

import tracemalloc
from collections.abc import Callable
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvs.codecs.cut import ITEM_WIDTH, chunks, external_tensors, tensors_of
from mvs.codecs.cut.pickled import storages
from tests.codecs.cut.samples import (
    Bytes,
    Storage,
    Zeros,
    check,
    entry,
    everything,
    found,
    pickled,
    safetensors,
    tensor,
    text,
)

VALID = everything()
HEADS = [b"GGUF\3\0\0\0", b"PK\3\4", b"\x93NUMPY\1\0", pack("<Q", 40) + b'{"a":', b""]


def answer(data: bytes) -> None:
    """Ask everything that can be asked of a file."""
    check(tensors_of(Bytes(data)), len(data))
    for tensors in external_tensors(Bytes(data)).values():
        check(tensors, 2**63)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few of them changed, taken out, put in, repeated or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        width = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 30]))
        new = draw(
            st.one_of(
                st.binary(max_size=9),
                st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\1\0\0\0\0\0\0\0", b"9" * 20, b"[{"]),
                st.just(data[at : at + 40]),
            )
        )
        data = data[:at] + new + data[at + width :]
        if draw(st.integers(0, 9)) == 0:
            data = data[: draw(st.integers(0, len(data)))]
    return data


def prove(name: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(damaged(VALID[name]))
    def proof(data: bytes) -> None:
        answer(data)

    proof()


@pytest.mark.parametrize("name", VALID)
def test_every_flipped_byte_has_an_answer(name: str) -> None:
    data = VALID[name]
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            answer(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])


@pytest.mark.parametrize("name", VALID)
def test_every_truncation_has_an_answer(name: str) -> None:
    for length in range(len(VALID[name])):
        answer(VALID[name][:length])


@pytest.mark.parametrize("name", VALID)
def test_every_damaged_file_has_an_answer(name: str) -> None:
    prove(name, 300)


@pytest.mark.deep
@pytest.mark.parametrize("name", VALID)
def test_every_damaged_file_has_an_answer_for_long(name: str) -> None:
    prove(name, 5_000)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=400))
def test_random_bytes_have_an_answer(head: bytes, tail: bytes) -> None:
    answer(head + tail)


OPCODES = st.sampled_from(
    [
        *(bytes([code]) for code in b"(tdlo}us]ea)RQb201N.\x81\x85\x86\x87\x90\x91\x92\x93\x94"),
        *(b"h\x00", b"h\x01", b"q\x00", b"K\x01", b"X\x07\0\0\0storage", b"\x8c\x010"),
        *(b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n"),
        *(b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ios\nabort\n"),
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(OPCODES, max_size=40))
def test_opcodes_in_any_order_have_an_answer(opcodes: list[bytes]) -> None:
    storages(b"\x80\x04" + b"".join(opcodes) + b".")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 40), st.sampled_from([2**63, 1.5, "F32", "U8"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "F4", "?"]) | JSON,
        "shape": st.lists(st.integers(0, 5), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(0, 40), min_size=2, max_size=2) | JSON,
    }
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "é", "\ud800", "__metadata__"]), ENTRY | JSON, max_size=3))
def test_headers_of_any_json_have_an_answer(header: dict[str, object]) -> None:
    answer(safetensors(header, bytes(32)))


STORAGE = Storage("FloatStorage", "0", bytes(24), 6)
PICKLE = pickled({"m": {"w": tensor(STORAGE, (2, 3))}, "l": [1, 2.5, (None, "a")]})


@settings(max_examples=200, deadline=None)
@given(damaged(PICKLE))
def test_a_damaged_pickle_has_an_answer(data: bytes) -> None:
    storages(data)


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [
        (99_000_000).to_bytes(8, "little") + b"{",
        b"GGUF" + pack("<IQQ", 3, 2**18, 2**16),
        b"GGUF" + pack("<IQQ", 3, 1, 1) + text("k") + pack("<IIQ", 9, 8, 2**60),
        b"GGUF" + pack("<IQQ", 3, 1, 1) + text("k") + pack("<IQ", 8, 2**60),
        b"GGUF" + pack("<IQQ", 3, 1, 0) + pack("<Q", 2**60),
        b"PK\3\4",
        b"\x93NUMPY\2\0\xff\xff\xff\x7f",
        b"\x3a\xff\xff\xff\xff\xff\x7f" + b"\x2a\xff\xff\xff\xff\xff\x3f",
    ],
)
def test_a_small_lie_in_a_huge_file_takes_little_memory(head: bytes) -> None:
    """A header that says gigabytes would take the machine down, and every other job with it."""
    # Nothing is read but a header of the size it says, twice: as bytes and as text.
    allowed = 220 << 20 if head[8:9] == b"{" else 64 << 20
    assert peak(lambda: tensors_of(Zeros(head, 2**50))) < allowed
    assert peak(lambda: external_tensors(Zeros(head, 2**50))) < 64 << 20


@pytest.mark.parametrize("unit", ["[],", "1,", '"ab",', "{},", "[[[[],"])
def test_a_header_of_many_values_takes_no_more_than_its_text(unit: str) -> None:
    data = safetensors('{"a": [' + unit * (8_000_000 // len(unit)) + "0]}", b"")
    assert peak(lambda: tensors_of(Bytes(data))) < 200 << 20


def test_a_model_of_a_hundred_thousand_tensors_is_read() -> None:
    """Bounds are for lies; models with many experts are none."""
    count = 100_000
    header = {f"model.layers.{n}.mlp.experts.w": entry("U8", (1,), n, n + 1) for n in range(count)}
    data = safetensors(header, bytes(count))
    assert len(found(data)) == count


def test_every_dtype_has_a_width() -> None:
    assert {name: ITEM_WIDTH[name] for name in ("F32", "BF16", "F8_E4M3", "F4", "C128", "Q8_0", "Q4_K")} == {
        "F32": 4,
        "BF16": 2,
        "F8_E4M3": 1,
        "F4": 1,
        "C128": 16,
        "Q8_0": 34,
        "Q4_K": 144,
    }


def test_a_file_of_no_known_format_is_opaque_and_can_still_be_cut() -> None:
    data = b"no model at all, but bytes all the same"
    assert found(data) == ()
    assert list(chunks(Bytes(data))) == [(0, len(data))]

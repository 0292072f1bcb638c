"""Whatever goes into an encoding comes out again, bit for bit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvs.codecs import blocks
from mvs.codecs.blocks import DELTA, FILL, PLANES, RAW, ZSTD, Trial
from mvs.codecs.numbers import KINDS, Kind, decode_delta, decode_planes, encode_delta, encode_planes
from tests.codecs.numbers_made import noise, tuned, weights

ALL = {**KINDS, "I8": Kind(1), "I16": Kind(2), "I32": Kind(4)}
FLOATS = ["BF16", "F16", "F32"]
LENGTHS = [0, 1, 2, 3, 7, 63, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 20_001]
PATTERNS = np.arange(1 << 16, dtype="<u2")
# 0, -0, the smallest denormal, a usual weight, the largest number, infinities, NaN of either sort.
BASES = {
    "BF16": [0, 0x8000, 1, 0x3C21, 0x7F7F, 0x7F80, 0xFF80, 0x7F81, 0xFFFF],
    "F16": [0, 0x8000, 1, 0x2842, 0x7BFF, 0x7C00, 0xFC00, 0x7C01, 0xFFFF],
}
# A fixture that is set once for all examples is what is meant here.
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(data: bytes, kind: Kind, bases: list[bytes], *, columns: int = 0, at: int = 0) -> None:
    """Every encoding that takes these bytes gives them back."""
    assert bytes(decode_planes(encode_planes(data, kind), len(data))) == data
    for guide in bases:
        assert bytes(decode_planes(encode_planes(data, kind, guide), len(data), guide)) == data
    for some in [bases[:1], bases] if kind.mask else [bases[:1]]:
        assert bytes(decode_delta(encode_delta(data, some, kind, columns=columns, at=at), some)) == data


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", LENGTHS)
def test_every_length_comes_back(name: str, count: int, way: str) -> None:
    kind = ALL[name]
    base = weights("base", count, kind, half=name == "F16")
    check(tuned(base, "tuned", kind), kind, [base, tuned(base, "other", kind)], columns=96, at=40)


@pytest.mark.parametrize("name", ["BF16", "F16"])
def test_every_pattern_comes_back_from_every_base(name: str, way: str) -> None:
    """Weights that became NaN are evidence; they are stored like any other."""
    for pattern in BASES[name]:
        base = np.full(1 << 16, pattern, "<u2")
        check(PATTERNS.tobytes(), KINDS[name], [base.tobytes(), PATTERNS[::-1].tobytes()])
        check(base.tobytes(), KINDS[name], [PATTERNS.tobytes(), base.tobytes()], columns=256)


@pytest.mark.parametrize("name", ALL)
def test_bytes_that_are_no_numbers_come_back(name: str, way: str) -> None:
    size = 40_000
    check(noise("a", size).tobytes(), ALL[name], [noise("b", size).tobytes(), noise("c", size).tobytes()], columns=80)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("columns", [0, 1, 63, 64, 100, 640, 4096, 4100, 8200, 1 << 40])
@pytest.mark.parametrize("at", [0, 1, 99, 5000, 1 << 41])
def test_rows_may_be_of_any_length_and_begin_anywhere(name: str, columns: int, at: int) -> None:
    kind = KINDS[name]
    base = weights("base", 9001, kind, half=name == "F16")
    data = tuned(base, "tuned", kind, row=columns or 96, by_column=True)
    assert bytes(decode_delta(encode_delta(data, [base], kind, columns=columns, at=at), [base])) == data


@relaxed
@given(st.data())
def test_any_bytes_come_back(way: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(ALL.values())))
    count = data.draw(st.integers(0, 700))
    size = count * kind.width
    drawn = [data.draw(st.binary(min_size=size, max_size=size)) for _ in range(3)]
    check(drawn[0], kind, drawn[1:], columns=data.draw(st.integers(0, 700)), at=data.draw(st.integers(0, 1 << 50)))


@pytest.mark.parametrize("name", ALL)
def test_both_ways_give_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what a machine stores would depend on what it has installed, or on how much it has seen."""
    pytest.importorskip("numba")
    from mvs.codecs import ways

    kind = ALL[name]
    base = weights("base", 300_001, kind, half=name == "F16")
    data = tuned(base, "tuned", kind, by_column=True)
    made = []
    for load in (False, True):
        fresh = ways._Ways()
        fresh._tried = True
        monkeypatch.setattr(ways, "_ways", fresh)
        if load:
            fresh.load()
        delta = encode_delta(data, [base], kind, columns=96)
        guided, alone = encode_planes(data, kind, base), encode_planes(data, kind)
        plain = bytes(decode_delta(delta, [base])), bytes(decode_planes(guided, len(data), base))
        made.append((delta, guided, alone, *plain, bytes(decode_planes(alone, len(data)))))
    assert made[0] == made[1]
    assert made[0][3:] == (data, data, data)


def test_an_update_is_smaller_than_the_weights() -> None:
    kind = KINDS["BF16"]
    base = weights("base", 1 << 16, kind)
    data = tuned(base, "tuned", kind)
    delta, planes = len(encode_delta(data, [base], kind, columns=96)), len(encode_planes(data, kind))
    assert delta < 0.4 * len(data) < 0.6 * len(data) < planes < 0.8 * len(data)


def test_the_mean_of_two_is_a_better_base_for_an_average() -> None:
    kind = KINDS["F32"]
    first = np.frombuffer(weights("base", 1 << 14, kind), "<f4")
    second = np.frombuffer(tuned(first.tobytes(), "tuned", kind), "<f4")
    average = ((first + second) / np.float32(2)).tobytes()
    bases = [first.tobytes(), second.tobytes()]
    assert len(encode_delta(average, bases, kind)) < 0.1 * len(encode_delta(average, bases[:1], kind))


@pytest.mark.parametrize("name", ["BF16", "F16", "F32"])
def test_the_mean_of_two_that_have_none_is_the_first(name: str) -> None:
    """Which NaN a processor makes of infinities of opposite signs differs from one to the next."""
    kind = KINDS[name]
    top = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F80_0000}[name]
    sign = 1 << (8 * kind.width - 1)
    pairs = [(top, top | sign), (top | sign, top), (top + 1, 5), (5, top + 1), (top + 1, top + 3), (top | 5, sign)]
    first, second = (np.array([pair[side] for pair in pairs], f"<u{kind.width}") for side in (0, 1))
    delta = encode_delta(first.tobytes(), [first.tobytes(), second.tobytes()], kind)
    assert decode_delta(delta, [first.tobytes(), second.tobytes()]) == first.tobytes()
    assert delta == encode_delta(first.tobytes(), [first.tobytes()], kind)


def test_numbers_that_are_not_aligned_come_back(way: str) -> None:
    """The header of a file may have an odd length, and files are mapped."""
    kind = KINDS["BF16"]
    base = weights("base", 5000, kind)
    data = tuned(base, "tuned", kind)
    odd, other = memoryview(b"x" + data)[1:], memoryview(bytearray(b"x" + base))[1:]
    assert encode_delta(odd, [other], kind) == encode_delta(data, [base], kind)
    stored = memoryview(bytearray(b"xyz" + encode_delta(data, [base], kind)))[3:]
    assert decode_delta(stored, [other]) == data


def test_the_smallest_encoding_is_taken() -> None:
    kind = KINDS["BF16"]
    base, guide = weights("base", 1 << 15, kind), weights("unlike", 1 << 15, kind)
    data = tuned(base, "tuned", kind)
    trials = [Trial(DELTA, (1,)), Trial(DELTA, (0,)), Trial(PLANES, (0,)), Trial(DELTA, (0, 1))]
    found = blocks.encode(data, kind, [guide, base], trials, columns=96)
    assert (found.encoding, found.refs) == (DELTA, (1,))
    assert blocks.decode(found.encoding, found.payload, len(data), [base]) == data
    assert blocks.encode(data, kind).encoding == PLANES
    assert blocks.encode(noise("a", 1 << 15).tobytes(), kind).encoding == RAW
    assert blocks.encode(noise("a", 1 << 15).tobytes(), None).encoding == RAW
    assert blocks.encode(b"a line of text\n" * 1000, None).encoding == ZSTD
    assert blocks.encode(b"", kind).encoding == RAW


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16])
def test_what_is_repeated_is_stored_once(length: int) -> None:
    item = bytes(range(1, length + 1))
    for times in (2, 3, 1000):
        found = blocks.encode(item * times, KINDS["F32"])
        assert found == (FILL, item, ())
        assert blocks.decode(FILL, item, length * times, []) == item * times
    assert blocks.encode(item * 1000 + b"\0", None).encoding != FILL
    assert blocks.encode(item * 1000 + item[:-1] + bytes([item[-1] ^ 1]), None).encoding != FILL


@relaxed
@given(st.data())
def test_any_block_comes_back(way: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([None, *ALL.values()]))
    plain = data.draw(
        st.binary(max_size=3000)
        | st.builds(lambda item, times: item * times, st.binary(max_size=20), st.integers(0, 200))
    )
    refs = [noise(name, len(plain)).tobytes() for name in "ab"]
    trials = [Trial(DELTA, (0,)), Trial(DELTA, (1,)), Trial(PLANES, (1,))]
    if kind and kind.mask:
        trials.append(Trial(DELTA, (1, 0)))
    found = blocks.encode(plain, kind, refs, trials, columns=data.draw(st.integers(0, 100)))
    assert bytes(blocks.decode(found.encoding, found.payload, len(plain), [refs[ref] for ref in found.refs])) == plain
    assert len(found.payload) <= len(plain)

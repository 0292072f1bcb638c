"""Canonical msgpack: one value, one sequence of bytes."""

from typing import Any

import msgpack
import pytest

from mvs.format import canonical


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (127, "7f"),
        (128, "cc80"),
        (256, "cd0100"),
        (65536, "ce00010000"),
        (2**64 - 1, "cfffffffffffffffff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-129, "d1ff7f"),
        (-(2**63), "d38000000000000000"),
        (0.5, "cb3fe0000000000000"),
        (-0.0, "cb8000000000000000"),
        ("é", "a2c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"", "c400"),
        ([1, [2]], "92019102"),
        # Sorted as UTF-8 bytes: U+FF61 comes before U+1F600, unlike in UTF-16.
        ({"\U0001f600": 3, "\uff61": 2, "b": 1, "a": {}}, "84a16180a16201a3efbda102a4f09f988003"),
    ],
)
def test_encodings_never_change(value: Any, encoded: str) -> None:
    """Every id of a manifest hangs on these bytes."""
    assert canonical.encode(value).hex() == encoded
    assert canonical.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "c1",
        "0000",
        "cc7f",
        "cd00ff",
        "ce0000ffff",
        "cf00000000ffffffff",
        "d000",
        "d07f",
        "d1ffdf",
        "d20000007f",
        "d3ffffffffffffffff",
        "ca3f000000",
        "cb7ff8000000000000",
        "cb7ff0000000000000",
        "d90161",
        "da000161",
        "db0000000161",
        "c5000161",
        "c60000000161",
        "dc000101",
        "dd0000000101",
        "de0001a16101",
        "df00000001a16101",
        "82a16201a16100",
        "82a16101a16101",
        "82a16101a16102",
        "810101",
        "81c4016101",
        "81c001",
        "8180c0",
        "a1ff",
        "a3eda080",
        "d40500",
        "d6ff00000000",
        "d7ffffffffffffffffff",
        "c70cff" + "ff" * 12,
        "ddffffffff",
        "dfffffffff",
        "c6ffffffff",
        "91" * 101 + "00",
        "91" * 5000 + "00",
        "81a161" * 101 + "00",
    ],
)
def test_every_other_encoding_is_refused(encoded: str) -> None:
    """Two encodings of one manifest would be two ids of one version."""
    with pytest.raises(ValueError):  # noqa: PT011 - the message is msgpack's
        canonical.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**64,
        -(2**63) - 1,
        {1: 2},
        {b"a": 1},
        (1, 2),
        {1},
        1j,
        object(),
        bytearray(b"x"),
        "\ud800",
        {"\udfff": 1},
        msgpack.Timestamp(0),
        msgpack.ExtType(5, b"x"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    for nested in (value, [value], {"a": [value]}):
        with pytest.raises(ValueError):  # noqa: PT011 - of several makers
            canonical.encode(nested)


def test_a_hundred_levels_are_held_and_one_more_is_not() -> None:
    """Deeper values would overflow the stack of another reader."""
    nested: list[Any] = []
    for _ in range(canonical.MAX_DEPTH - 1):
        nested = [nested]
    assert canonical.decode(canonical.encode(nested)) == nested
    with pytest.raises(ValueError, match="nested deeper"):
        canonical.encode([nested])

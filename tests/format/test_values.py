"""What Python objects become when they are stored, and what is refused."""

import datetime
import enum
import json
from collections import OrderedDict, UserDict
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.errors import InvalidMetadata
from mvs.format import canonical
from mvs.format.values import labels_of, metadata_of

CEST = datetime.timezone(datetime.timedelta(hours=2))


class Stage(enum.Enum):
    PROD = "production"
    NONE = None
    BAD = object()


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Endless:
    """An array-like whose `tolist` leads nowhere."""

    dtype = "x"

    def tolist(self) -> "Endless":
        return self


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (0.94, 0.94),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (Text("x"), "x"),
        ((1, (2, 3)), [1, [2, 3]]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        ({Text("a"): 1}, {"a": 1}),
        (Stage.PROD, "production"),
        (Stage.NONE, None),
        (Level.HIGH, 3),
        (Path("a/b"), "a/b"),
        (PurePosixPath("/x"), "/x"),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        (datetime.time(10, 45), "10:45:00"),
        (datetime.datetime(2026, 11, 23, 10, 45, tzinfo=CEST), "2026-11-23T10:45:00+02:00"),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.float16(1.5), 1.5),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(7), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([]), []),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([None, "a", 1], dtype=object), [None, "a", 1]),
        (np.datetime64("2026-11-23T10:45:00"), "2026-11-23T10:45:00"),
    ],
)
def test_what_frameworks_hand_out_becomes_what_json_holds(value: Any, stored: Any) -> None:
    """A metric straight from numpy must not cost anybody the run."""
    found = metadata_of({"x": [value]})
    assert found == {"x": [stored]}
    assert type(found["x"][0]) is type(stored)
    assert json.loads(json.dumps(found)) == found
    assert canonical.decode(canonical.encode(found)) == found


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        2**64,
        -(2**63) - 1,
        b"x",
        bytearray(b"x"),
        1j,
        {1, 2},
        frozenset(),
        object(),
        Stage,
        Stage.BAD,
        Endless(),
        range(3),
        iter([1]),
        datetime.timedelta(1),
        "\ud800",
        Path("caf\udce9"),
        np.float64("nan"),
        np.float32("inf"),
        np.array([1.0, np.nan]),
        np.array([1j]),
        np.complex64(1),
        np.bytes_(b"x"),
        np.array([b"x"]),
        np.array([object()]),
        np.timedelta64(1, "s"),
        {1: 2},
        {None: 2},
        {b"a": 2},
        {("a",): 2},
        {"\ud800": 2},
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_place(value: Any) -> None:
    with pytest.raises(InvalidMetadata, match=r"^metadata\.runs\[1\]"):
        metadata_of({"runs": [0, value]})


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2026-11-23T10:45:00", "ns"),
        np.timedelta64(1, "ns"),
        np.datetime64("NaT"),
        np.array([(1, 2.0)], dtype=[("step", "i4"), ("loss", "f8")]),
        np.ma.masked_array([1, 2], mask=[True, False]),
    ],
)
def test_an_array_that_would_lose_its_meaning_is_refused(value: Any) -> None:
    """A moment stored as 1795430700000000000 or null is believed by whoever reads it."""
    with pytest.raises(InvalidMetadata):
        metadata_of({"x": value})


@pytest.mark.parametrize("value", [[], "x", 7, [("a", 1)]])
def test_metadata_is_a_dict(value: Any) -> None:
    with pytest.raises(InvalidMetadata, match="metadata is a dict"):
        metadata_of(value)


def test_nothing_is_an_empty_dict() -> None:
    assert metadata_of(None) == {}
    assert labels_of(None) == {}


def test_what_refers_to_itself_is_refused() -> None:
    """Walked to its end, it would end the program."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(InvalidMetadata, match="nested deeper"):
        metadata_of(loop)


@pytest.mark.parametrize("levels", [1, 50, 95, 96, 97, 98, 99, 100, 101, 2000])
def test_what_is_accepted_fits_a_manifest_however_deep(levels: int) -> None:
    """What is refused only when the manifest is written costs the user the draft."""
    nested: Any = 1
    for _ in range(levels):
        nested = [nested]
    try:
        stored = metadata_of({"x": nested})
    except InvalidMetadata:
        assert levels > 90
        return
    canonical.encode({"metadata": stored})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    )
)
def test_any_value_is_stored_or_refused(value: Any) -> None:
    try:
        stored = metadata_of({"x": value})
    except InvalidMetadata:
        return
    assert canonical.decode(canonical.encode(stored)) == stored == json.loads(json.dumps(stored))


def test_the_stored_value_is_a_copy() -> None:
    """A draft's owner goes on to change what he gave."""
    given_value: dict[str, Any] = {"runs": [{"a": 1}]}
    stored = metadata_of(given_value)
    given_value["runs"][0]["a"] = 2
    assert stored == {"runs": [{"a": 1}]}


@pytest.mark.parametrize("labels", [{"a": "b"}, {"größe": ""}, {"a b.c/d:e": "x=y\nz"}])
def test_labels_are_strings_to_strings(labels: dict[str, str]) -> None:
    assert labels_of(labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"a": 1},
        {"a": None},
        {"a": True},
        {1: "a"},
        {"": "a"},
        {" a": "b"},
        {"a ": "b"},
        {"a=b": "c"},
        {"a\n": "b"},
        {"a\0b": "c"},
        {"a\u200b": "b"},
        {"\ud800": "a"},
        {"a": "\ud800"},
        ["a=b"],
        "a=b",
    ],
)
def test_bad_labels_are_refused(labels: Any) -> None:
    with pytest.raises(InvalidMetadata):
        labels_of(labels)

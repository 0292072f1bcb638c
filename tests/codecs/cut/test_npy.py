"""Arrays of numpy, alone and in a zip."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest

from mvs.codecs.cut import Tensor, tensors_of
from tests.codecs.cut.samples import Zeros, found, named, npy, npz, zipped


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        *[("<f4", "F32"), ("<f2", "F16"), ("<f8", "F64"), ("<c8", "C64"), ("<c16", "C128"), ("?", "BOOL")],
        *[("i1", "I8"), ("<i2", "I16"), ("<i4", "I32"), ("<i8", "I64"), (">i1", "I8")],
        *[("u1", "U8"), ("<u2", "U16"), ("<u4", "U32"), ("<u8", "U64")],
        *[(">f4", ""), ("S5", ""), ("<U3", ""), ("<M8[ns]", ""), ("V2", "")],
    ],
)
def test_an_array_lies_behind_its_header(code: str, dtype: str) -> None:
    array = np.zeros((3, 4), code)
    data = npy(array)
    assert found(data) == (Tensor("", dtype, (3, 4), len(data) - array.nbytes, array.nbytes),)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header_is_read(version: tuple[int, int]) -> None:
    buffer = BytesIO()
    np.lib.format.write_array(buffer, np.arange(6.0).reshape(2, 3), version=version)
    assert [(t.dtype, t.shape, t.size) for t in found(buffer.getvalue())] == [("F64", (2, 3), 48)]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4)])
def test_shapes_of_every_rank_are_read(shape: tuple[int, ...]) -> None:
    assert [t.shape for t in found(npy(np.zeros(shape, "<f4")))] == [shape]


def test_an_array_in_the_order_of_fortran_has_no_shape() -> None:
    """Its bytes would be read as rows that are columns."""
    assert [(t.shape, t.size) for t in found(npy(np.zeros((3, 4), "<f4", order="F")))] == [((), 48)]


@pytest.mark.parametrize("array", [np.array([{}, None]), np.zeros(3, [("a", "<f4"), ("b", "<i2")]), np.zeros((0, 4))])
def test_objects_records_and_nothing_are_opaque(array: np.ndarray[Any, Any]) -> None:
    assert found(npy(array, allow_pickle=True)) == ()


def test_arrays_of_a_zip_are_named_by_its_members() -> None:
    arrays = {"a": np.arange(12, dtype="<f4").reshape(3, 4), "b": np.arange(5, dtype="<i8"), "o": np.array([{}])}
    data = npz(**arrays)
    tensors = named(data)
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {"a": ("F32", (3, 4)), "b": ("I64", (5,))}
    assert all(data[t.offset : t.offset + t.size] == arrays[name].tobytes() for name, t in tensors.items())


def test_compressed_arrays_are_opaque() -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10_000))
    assert found(buffer.getvalue()) == ()


def header(text: str, data: bytes = b"\0" * 48) -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode("latin-1") + data


def test_a_header_by_another_hand_is_read() -> None:
    text = "{'shape':(3,4L),'fortran_order': False,  'descr': '<f4'}\n"
    assert [(t.dtype, t.shape) for t in found(header(text))] == [("F32", (3, 4))]


LIES = {
    "larger than the file": "{'descr': '<f4', 'fortran_order': False, 'shape': (13,), }",
    "larger than any file": "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4), }",
    "a length of many digits": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
    "a negative length": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4), }",
    "no lengths": "{'descr': '<f4', 'fortran_order': False, 'shape': (,,), }",
    "a shape that is a text": "{'descr': '<f4', 'fortran_order': False, 'shape': '(3,)', }",
    "an order that is a shape": "{'descr': '<f4', 'fortran_order': (1,), 'shape': False, }",
    "a type that is a shape": "{'descr': (3,), 'fortran_order': False, 'shape': (3,), }",
    "a key twice": "{'descr': '<f4', 'descr': '<f4', 'shape': (3,), }",
    "code": "{'descr': '<f4', 'fortran_order': False, 'shape': (print(),), }",
    "deep nesting": "{" + "(" * 5000,
    "spaces": "{" + " " * 9000,
    "too long": "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }" + " " * 10_000,
    "other digits": "{'descr': '<f4', 'fortran_order': False, 'shape': (\xb2,), }",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_leaves_the_file_opaque(lie: str) -> None:
    assert found(header(LIES[lie])) == ()


@pytest.mark.parametrize("lie", ["larger than the file", "larger than any file"])
def test_a_member_that_lies_leaves_the_zip_opaque(lie: str) -> None:
    good = npy(np.zeros(4))
    assert len(found(zipped([("a.npy", good)]))) == 1
    assert found(zipped([("a.npy", good), ("b.npy", header(LIES[lie]))])) == ()


def test_every_truncation_leaves_the_file_opaque() -> None:
    data = npy(np.arange(12.0))
    assert [length for length in range(len(data)) if found(data[:length]) != ()] == []


def test_a_header_of_gigabytes_is_not_read() -> None:
    source = Zeros(b"\x93NUMPY\2\0\xff\xff\xff\xff{", 2**50)
    assert tensors_of(source) == ()
    assert source.asked < 100

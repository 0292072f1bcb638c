"""ONNX: what a model says of the files beside it."""

import pytest

from mvs.codecs.cut import Tensor, external_tensors, tensors_of
from tests.codecs.cut.samples import Bytes, Zeros, everything, field, initializer, onnx, varint


def external(data: bytes) -> dict[str, tuple[Tensor, ...]]:
    return external_tensors(Bytes(data))


def test_tensors_are_found_by_the_file_they_lie_in() -> None:
    model = onnx(
        initializer("b", 16, (8,), location="w.data", offset=24, length=16),
        initializer("a", 1, (2, 3), location="w.data", offset=0, length=24),
        initializer("c", 7, (), location="sub/x.bin", offset=4096),
    )
    assert external(model) == {
        "w.data": (Tensor("a", "F32", (2, 3), 0, 24), Tensor("b", "BF16", (8,), 24, 16)),
        "sub/x.bin": (Tensor("c", "I64", (), 4096, 8),),
    }


def test_an_offset_that_is_left_out_is_nought() -> None:
    assert external(onnx(initializer("a", 1, (4,), location="w"))) == {"w": (Tensor("a", "F32", (4,), 0, 16),)}


def test_packed_dimensions_are_read() -> None:
    packed = field(1, varint(2) + varint(300)) + initializer("a", 1, (), location="w")
    assert external(onnx(packed)) == {"w": (Tensor("a", "F32", (2, 300), 0, 2400),)}


@pytest.mark.parametrize(("kind", "dtype", "size"), [(22, "I4", 3), (21, "U4", 3), (23, "F4", 3), (26, "I2", 2)])
def test_types_narrower_than_a_byte_are_packed_and_rounded_up(kind: int, dtype: str, size: int) -> None:
    model = onnx(initializer("a", kind, (5,), location="w", length=size))
    assert external(model) == {"w": (Tensor("a", dtype, (5,), 0, size),)}


def test_an_unknown_type_is_as_long_as_the_model_says() -> None:
    known = initializer("a", 99, (5,), location="w", length=7)
    assert external(onnx(known, initializer("b", 99, (5,), location="w", offset=7))) == {
        "w": (Tensor("a", "", (5,), 0, 7),)
    }


def test_weights_in_the_model_itself_are_jumped_over() -> None:
    inline = field(1, 4) + field(2, 1) + field(8, "i") + field(9, bytes(1 << 20))
    model = onnx(inline, initializer("a", 1, (4,), location="w"), inline)
    assert [t.name for t in external(model)["w"]] == ["a"]
    assert external(onnx(inline)) == {}


def test_fields_of_fixed_width_are_jumped_over() -> None:
    fixed = varint(60 << 3 | 1) + bytes(8) + varint(7 << 3 | 5) + bytes(4)
    assert list(external(fixed + onnx(initializer("a", 1, (4,), location="w")))) == ["w"]


def test_tied_weights_are_one_tensor_with_the_first_name() -> None:
    twice = [initializer(name, 1, (4,), location="w", offset=16, length=16) for name in "ab"]
    assert external(onnx(*twice)) == {"w": (Tensor("a", "F32", (4,), 16, 16),)}


def test_a_location_is_one_however_it_is_written() -> None:
    model = onnx(initializer("a", 1, (4,), location="./w"), initializer("b", 1, (4,), location="x/../w", offset=16))
    assert {name: len(tensors) for name, tensors in external(model).items()} == {"w": 2}


def test_a_model_has_no_tensors_of_its_own() -> None:
    assert tensors_of(Bytes(everything()["onnx"])) == ()


LIES = {
    "outside": onnx(initializer("a", 1, (4,), location="../w")),
    "far outside": onnx(initializer("a", 1, (4,), location="/etc/passwd")),
    "nowhere": onnx(initializer("a", 1, (4,), location="")),
    "a name with NUL": onnx(initializer("a", 1, (4,), location="w\0x")),
    "a name twice": onnx(initializer("a", 1, (4,), location="w"), initializer("a", 1, (4,), location="v", offset=16)),
    "overlap": onnx(initializer("a", 1, (4,), location="w"), initializer("b", 1, (4,), location="w", offset=8)),
    "another length than the shape's": onnx(initializer("a", 1, (4,), location="w", length=15)),
    "a negative offset": onnx(initializer("a", 1, (4,), location="w", offset=-1)),
    "an offset of many digits": onnx(initializer("a", 1, (4,), location="w", offset=10**30)),
    "an offset of 2^63": onnx(initializer("a", 1, (4,), location="w", offset=2**63)),
    "an offset that is no number": onnx(initializer("a", 1, (4,), location="w", offset="0x10")),
    "digits of another script": onnx(initializer("a", 1, (4,), location="w", offset="\u0664")),
    "a negative dimension": onnx(initializer("a", 1, (2**64 - 1,), location="w")),
    "dimensions without end": onnx(field(1, varint(1) * 70_000) + initializer("a", 1, (4,), location="w")),
    "too many dimensions": onnx(initializer("a", 1, (1,) * 65, location="w")),
    "a dimension that ends elsewhere": onnx(field(1, b"\xff") + initializer("a", 1, (4,), location="w")),
    "a number that does not end": onnx(initializer("a", 1, (4,), location="w")) + b"\xff" * 20,
    "a group": onnx(initializer("a", 1, (4,), location="w")) + b"\x0b",
    "field nought": onnx(initializer("a", 1, (4,), location="w")) + field(0, 1),
    "a length of exabytes": onnx(initializer("a", 1, (4,), location="w")) + varint(9 << 3 | 2) + varint(2**63),
    "a name that is no Unicode": onnx(field(8, b"\xff") + initializer("a", 1, (4,), location="w")),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_model_that_lies_has_nothing_outside(lie: str) -> None:
    assert external(LIES[lie]) == {}


def test_every_truncation_within_the_graph_leaves_nothing() -> None:
    model = everything()["onnx"]
    end = len(model) - len(field(8, field(2, 21)))
    assert external(model[:end]) != {}
    assert [length for length in range(end) if external(model[:length]) != {}] == []


@pytest.mark.parametrize("head", [b"", b"\x08\x00" * 1000, b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_of_zeros_is_given_up_soon(head: bytes) -> None:
    source = Zeros(head, 2**50)
    assert external_tensors(source) == {}
    assert source.asked < 1 << 20


@pytest.mark.deep
def test_a_file_of_fields_is_given_up_soon() -> None:
    source = Zeros(b"\x08\x00" * (1 << 24), 2**50)
    assert external_tensors(source) == {}
    assert source.asked < 16 << 20

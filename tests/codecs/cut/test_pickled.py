"""What torch's pickle says of its storages, and pickles made to do harm."""

import tracemalloc
from typing import Any

import pytest

from mvs.codecs.cut import pickled as reader
from mvs.codecs.cut.pickled import Told, storages
from tests.codecs.cut.samples import Call, Global, Storage, found, named, ordered, pickled, tensor, torch_zip

FLOATS = Storage("FloatStorage", "0", bytes(24), 6)
HALVES = Storage("BFloat16Storage", "1", bytes(12), 6)


def told(value: Any, protocol: int = 2) -> dict[str, Told]:
    return storages(pickled(value, protocol))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_state_dict_names_its_storages(protocol: int) -> None:
    state = ordered({"layers.0.w": tensor(FLOATS, (2, 3)), "layers.0.b": tensor(HALVES, (6,))})
    assert told(state, protocol) == {
        "0": Told("layers.0.w", "F32", (2, 3), 24),
        "1": Told("layers.0.b", "BF16", (6,), 12),
    }


def test_the_sample_is_what_torch_writes() -> None:
    """The opcodes of one parameter in a file by torch 2, with its way of using the memo."""
    written = (
        b"\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03"
        b"ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x06tq\x07QK\x00K\x02K\x03\x86"
        b"q\x08K\x03K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."
    )
    assert storages(written) == {"0": Told("w", "F32", (2, 3), 24)}
    assert storages(written) == told({"w": tensor(FLOATS, (2, 3))})


@pytest.mark.parametrize(
    ("kind", "width", "dtype"),
    [
        ("FloatStorage", 4, "F32"),
        ("DoubleStorage", 8, "F64"),
        ("HalfStorage", 2, "F16"),
        ("BFloat16Storage", 2, "BF16"),
        ("LongStorage", 8, "I64"),
        ("IntStorage", 4, "I32"),
        ("ShortStorage", 2, "I16"),
        ("CharStorage", 1, "I8"),
        ("ByteStorage", 1, "U8"),
        ("BoolStorage", 1, "BOOL"),
        ("ComplexFloatStorage", 8, "C64"),
    ],
)
def test_every_kind_of_storage_has_its_type(kind: str, width: int, dtype: str) -> None:
    storage = Storage(kind, "0", b"", 6)
    assert told([tensor(storage, (6,))]) == {"0": Told("0", dtype, (6,), 6 * width)}


@pytest.mark.parametrize(
    ("dtype", "word", "width"), [("float8_e4m3fn", "F8_E4M3", 1), ("uint16", "U16", 2), ("uint64", "U64", 8)]
)
def test_types_without_a_storage_of_their_own_are_said_by_the_tensor(dtype: str, word: str, width: int) -> None:
    storage = Storage("storage.UntypedStorage", "0", b"", 6 * width)
    assert told({"w": tensor(storage, (2, 3), dtype=dtype)}) == {"0": Told("w", word, (2, 3), 6 * width)}


def test_an_untyped_storage_has_no_type() -> None:
    storage = Storage("storage.UntypedStorage", "0", b"", 24)
    assert told({"w": tensor(storage, (2, 3))}) == {"0": Told("w", "", (), 24)}


def test_names_are_the_keys_that_lead_to_a_tensor() -> None:
    kept = [Storage("FloatStorage", str(n), b"", 1) for n in range(6)]
    one = [tensor(storage, ()) for storage in kept]
    checkpoint = {
        "model": ordered({"w": one[0]}),
        "optimizer": {"state": {7: {"exp_avg": one[1]}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "list": [one[2], (3, one[3])],
        "parameter": Call("torch._utils._rebuild_parameter", (one[4], True, ordered({}))),
        "odd": {(1, 2): one[5]},
    }
    assert [told(checkpoint)[str(n)].name for n in range(6)] == [
        "model/w",
        "optimizer/state/7/exp_avg",
        "list/0",
        "list/1/1",
        "parameter",
        "",
    ]


def test_a_whole_module_names_its_parameters() -> None:
    inner = Call("my.Linear", state={"_parameters": ordered({"weight": tensor(FLOATS, (6,))})})
    model = Call("my.Model", state={"_modules": ordered({"fc": inner}), "training": True})
    assert told(model)["0"] == Told("_modules/fc/_parameters/weight", "F32", (6,), 24)


def test_a_subclass_of_tensor_is_a_tensor() -> None:
    plain = tensor(FLOATS, (2, 3))
    arguments = (Global(plain.function), Global("my.Tensor"), plain.arguments, {"note": 1})
    assert told({"w": Call("torch._tensor._rebuild_from_type_v2", arguments)})["0"] == Told("w", "F32", (2, 3), 24)


def test_tied_weights_are_one_storage_with_the_first_name() -> None:
    data = torch_zip({"embed": tensor(FLOATS, (2, 3)), "head": tensor(FLOATS, (2, 3))}, [FLOATS])
    assert [(t.name, t.shape) for t in found(data)] == [("embed", (2, 3))]


@pytest.mark.parametrize(
    "view",
    [
        tensor(FLOATS, (2, 2)),
        tensor(FLOATS, (5,), offset=1),
        tensor(FLOATS, (3, 2), (1, 3)),
        tensor(FLOATS, (6,), (0,)),
        tensor(FLOATS, (2, 3), (3,)),
        tensor(FLOATS, (-2, -3)),
    ],
    ids=["part", "end", "transposed", "expanded", "strides of another rank", "negative"],
)
def test_a_view_of_a_storage_gives_it_no_shape(view: Call) -> None:
    """Its rows are not the storage's."""
    assert told({"w": view})["0"] == Told("w", "F32", (), 24)


def test_axes_of_length_one_may_have_any_stride() -> None:
    assert told({"w": tensor(FLOATS, (2, 1, 3, 1), (3, 77, 1, 5))})["0"].shape == (2, 1, 3, 1)


def test_a_storage_of_another_size_has_no_type() -> None:
    """The zip tells where it lies; items of the wrong width would be shuffled."""
    data = torch_zip({"w": tensor(FLOATS, (2, 3))}, [Storage("FloatStorage", "0", bytes(28), 6)])
    assert [(t.name, t.dtype, t.shape, t.size) for t in found(data)] == [("w", "", (), 28)]


def test_storages_that_the_pickle_does_not_know_are_cut_all_the_same() -> None:
    data = torch_zip({"w": tensor(FLOATS, (2, 3))}, [FLOATS, HALVES])
    assert [(t.name, t.dtype) for t in found(data)] == [("w", "F32"), ("data/1", "")]


def test_names_are_unique_whatever_the_keys_are() -> None:
    many = [Storage("FloatStorage", str(n), bytes(4), 1) for n in range(4)]
    one = [tensor(storage, ()) for storage in many]
    value = {"a": {"b": one[0]}, "a/b": one[1], "data": {"3": one[2]}, 5: one[3]}
    assert list(named(torch_zip(value, many))) == ["a/b", "data/1", "data/2", "5"]


@pytest.mark.parametrize("key", ["k" * 2000, "\ud800"])
def test_a_key_that_is_no_name_leaves_the_storage_its_own(key: str) -> None:
    assert [(t.name, t.dtype) for t in found(torch_zip({key: tensor(FLOATS, (2, 3))}, [FLOATS]))] == [("data/0", "F32")]


def test_what_was_said_before_a_pickle_broke_counts() -> None:
    whole = pickled([tensor(FLOATS, (2, 3)), tensor(HALVES, (6,))])
    assert storages(whole[: whole.index(b"BFloat16")]) == {"0": Told("", "F32", (2, 3), 24)}


def test_a_pickle_is_never_run() -> None:
    """It may call anything there is."""
    state = {"bomb": Call("os.abort"), "w": tensor(FLOATS, (2, 3))}
    assert [t.name for t in found(torch_zip(state, [FLOATS]))] == ["w"]


def memoized(count: int) -> bytes:
    """A tuple of ten of a tuple of ten... `count` times over."""
    return (
        b"\x80\x04)\x94"
        + b"".join(b"(" + (b"j" + n.to_bytes(4, "little")) * 10 + b"t\x94" for n in range(count))
        + b"."
    )


HARM = {
    "nothing": b"",
    "no end": b"\x80\x02}",
    "no opcode": b"\x80\x02\xff.",
    "an empty stack": b"\x80\x02R.",
    "a mark that is not there": b"\x80\x02t.",
    "a memo that is not there": b"\x80\x02h\x07.",
    "a name that does not end": b"\x80\x02ctorch",
    "a name of half": b"\x80\x02ctorch\n",
    "a text of exabytes": b"\x80\x04\x8d" + b"\xff" * 8 + b"x.",
    "bytes of gigabytes": b"\x80\x04B\xff\xff\xff\xffx.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a long number": b"\x80\x02\x8b\x40\x42\x0f\x00" + b"\x7f" * 1_000_000 + b".",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "nested tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "nested lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "nested dicts": b"\x80\x02" + b"}K\x01" * 50_000 + b"}" + b"s" * 50_000 + b".",
    "nested calls": b"\x80\x02)" + b"cos\nabort\n)R" * 1000 + b"\x85R" * 1000 + b".",
    "a billion laughs": memoized(100),
    "a list in itself": b"\x80\x04]\x94(h\x00h\x00e.",
    "a dict in itself": b"\x80\x04}\x94X\x01\x00\x00\x00ah\x00s.",
    "a dict as a key": b"\x80\x04}\x94h\x00h\x00s.",
    "an object built of itself": b"\x80\x04cos\nabort\n)R\x94h\x00b.",
    "a tensor of itself": b"\x80\x04ctorch._utils\n_rebuild_tensor_v2\n(" + b")" * 6 + b"tR.",
    "half a storage": b"\x80\x02(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ.",
    "items for a number": b"\x80\x02K\x01(K\x01K\x01u(K\x01eK\x01aK\x01K\x01sK\x01b.",
    "text that is no Unicode": b"\x80\x02X\x02\x00\x00\x00\xff\xff.",
    "marks": b"(" * 100_000 + b"t" * 100_000 + b".",
    "old opcodes": b"(I1\nL2L\nF1.5\nS'\\x'\nV\\u12\n(lp0\ng0\n(dp1\n(ios\nabort\nP7\n(cos\nabort\no.",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_pickle_made_to_do_harm_says_nothing(harm: str) -> None:
    assert storages(HARM[harm]) == {}


@pytest.mark.parametrize("harm", HARM)
def test_a_pickle_made_to_do_harm_costs_names_only(harm: str) -> None:
    assert [(t.name, t.dtype, t.size) for t in found(torch_zip(HARM[harm], [FLOATS]))] == [("data/0", "", 24)]


def test_a_shape_of_too_many_lengths_is_not_looked_at() -> None:
    """A thousand tensors with one shape of a million lengths are a thousand million."""
    assert told([tensor(FLOATS, (6, *(1,) * 64))])["0"].shape == ()


def test_paths_do_not_grow_without_end() -> None:
    """A long key over a hundred thousand tensors is gigabytes of names."""
    value: Any = tensor(FLOATS, (2, 3))
    for _ in range(20):
        value = {"k" * 100: value}
    assert told(value)["0"] == Told("", "F32", (2, 3), 24)


def test_a_pickle_is_given_up_after_so_many_opcodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_OPCODES", 100)
    value = [tensor(FLOATS, (2, 3)), *range(100), tensor(HALVES, (6,))]
    assert told(value) == {"0": Told("", "F32", (2, 3), 24)}


def test_a_pickle_of_gigabytes_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_SIZE", 10)
    assert [t.name for t in found(torch_zip({"w": tensor(FLOATS, (2, 3))}, [FLOATS]))] == ["data/0"]


@pytest.mark.parametrize("unit", [b"}", b"]", b"(", b"K\x07", b"h\x00", b"2", b"}\x94", b"cos\nabort\n)R"])
def test_memory_is_bounded_by_the_number_of_opcodes(unit: bytes) -> None:
    count = 10_000
    data = b"\x80\x04)\x94" + unit * count + b"."
    tracemalloc.start()
    storages(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count * len(unit) * 250

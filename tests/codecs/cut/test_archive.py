"""Zips: the directory, and whether what it says agrees with the file."""

import io
import struct
import zipfile

import pytest

from mvs.codecs.cut import Tensor, tensors_of
from tests.codecs.cut.samples import Storage, Zeros, everything, found, named, pickled, tensor, torch_zip, zipped

FLOATS = Storage("FloatStorage", "0", bytes(range(24)), 6)
PICKLE = pickled({"w": tensor(FLOATS, (2, 3))})
MEMBERS = [("m/data.pkl", PICKLE), ("m/data/0", FLOATS.data)]


def test_storages_are_found_where_they_lie() -> None:
    data = zipped(MEMBERS)
    assert found(data) == (Tensor("w", "F32", (2, 3), data.index(FLOATS.data), 24),)


@pytest.mark.parametrize("root", ["", "archive/", "a/b/c/", "données/"])
def test_any_folder_may_be_the_root(root: str) -> None:
    assert named(torch_zip({"w": tensor(FLOATS, (2, 3))}, [FLOATS], root=root)).keys() == {"w"}


def test_a_comment_is_no_directory() -> None:
    end = zipped([])
    assert [t.name for t in found(zipped(MEMBERS, comment=b"PK\5\6 " + end + b" trained on a Tuesday"))] == ["w"]


class Pipe(io.RawIOBase):
    """What cannot seek: zipfile then writes sizes behind the members."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.written += data
        return len(data)


def test_sizes_may_follow_the_members() -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as file:
        for name, data in MEMBERS:
            file.writestr(name, data)
    assert [t.name for t in found(bytes(pipe.written))] == ["w"]


def test_sizes_of_64_bits_are_read() -> None:
    """So torch writes every file over 4 GiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in MEMBERS:
            with file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    assert [t.name for t in found(buffer.getvalue())] == ["w"]


def wide(data: bytes, *, offset: int | None = None, missing: bool = False) -> bytes:
    """The same zip with the last member's place, and all of the directory's, in 64 bits."""
    at, end = data.rindex(b"PK\1\2"), data.rindex(b"PK\5\6")
    count, size, first = struct.unpack_from("<HII", data, end + 10)
    entry = bytearray(data[at:end])
    sizes, header = struct.unpack_from("<II", entry, 20), struct.unpack_from("<I", entry, 42)[0]
    field = b"" if missing else struct.pack("<HH3Q", 1, 24, *sizes[::-1], header if offset is None else offset)
    field = struct.pack("<HH3s", 0x4246, 3, b"ZZZ") + field
    struct.pack_into("<II", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(field))
    body = data[:at] + entry + field
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size + len(field), first)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(body), 1)
    return body + record + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


def test_a_directory_of_64_bits_is_read() -> None:
    assert [t.name for t in found(wide(zipped(MEMBERS)))] == ["w"]


@pytest.mark.parametrize("offset", [1, 2**32, 2**63, 2**64 - 1])
def test_a_member_far_away_leaves_the_file_opaque(offset: int) -> None:
    assert found(wide(zipped(MEMBERS), offset=offset)) == ()


def test_a_size_of_64_bits_that_is_missing_leaves_the_file_opaque() -> None:
    assert found(wide(zipped(MEMBERS), missing=True)) == ()


def test_compressed_and_encrypted_members_have_no_tensors() -> None:
    """Their bytes are not those of the tensor."""
    other = Storage("FloatStorage", "1", bytes(24), 6)
    mixed = io.BytesIO()
    with zipfile.ZipFile(mixed, "w") as file:
        file.writestr("m/data.pkl", PICKLE)
        file.writestr("m/data/0", FLOATS.data)
        file.writestr("m/data/1", other.data, compress_type=zipfile.ZIP_DEFLATED)
    assert [t.name for t in found(mixed.getvalue())] == ["w"]
    assert found(zipped(MEMBERS, method=zipfile.ZIP_DEFLATED)) == ()

    secret = bytearray(zipped(MEMBERS))
    local, central = secret.rindex(b"PK\3\4"), secret.rindex(b"PK\1\2")
    secret[local + 6] |= 1
    secret[central + 8] |= 1
    assert found(bytes(secret)) == ()


def test_a_compressed_pickle_leaves_storages_without_names() -> None:
    """It is not inflated: a bomb of gigabytes would be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("m/data.pkl", PICKLE, compress_type=zipfile.ZIP_DEFLATED)
        file.writestr("m/data/0", FLOATS.data)
    assert [(t.name, t.dtype, t.shape, t.size) for t in found(buffer.getvalue())] == [("data/0", "", (), 24)]


def test_weights_from_a_big_endian_machine_have_no_type() -> None:
    data = zipped([*MEMBERS, ("m/byteorder", b"big")])
    assert [(t.name, t.dtype, t.shape) for t in found(data)] == [("data/0", "", ())]


def test_other_zips_are_opaque() -> None:
    assert found(zipped([("a.txt", b"text"), ("b/c.npy.txt", b"text")])) == ()
    assert found(zipped([])) == ()
    assert found(zipped([*MEMBERS, ("n/data.pkl", PICKLE)])) == ()


def patched(data: bytes, signature: bytes, at: int, value: bytes, *, first: bool = False) -> bytes:
    start = (data.index(signature) if first else data.rindex(signature)) + at
    return data[:start] + value + data[start + len(value) :]


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
ZIP = zipped(MEMBERS)
LIES = {
    "another size in the member": patched(ZIP, LOCAL, 22, b"\1"),
    "another size in the directory": patched(ZIP, CENTRAL, 24, b"\1"),
    "both sizes larger": patched(patched(ZIP, CENTRAL, 20, b"\xf0\0\0\0\xf0"), LOCAL, 18, b"\xf0\0\0\0\xf0"),
    "sizes of gigabytes": patched(patched(ZIP, CENTRAL, 20, b"\0\0\0\xf0" * 2), LOCAL, 18, b"\0\0\0\xf0" * 2),
    "another name in the member": patched(ZIP, LOCAL, 30, b"n"),
    "another method in the member": patched(ZIP, LOCAL, 8, b"\x08"),
    "two members that are one": patched(ZIP, CENTRAL, 42, b"\0\0\0\0"),
    "a member in the middle of nothing": patched(ZIP, CENTRAL, 42, b"\7"),
    "a member behind the file": patched(ZIP, CENTRAL, 42, b"\xff\xff\xff\x7f"),
    "a member on another disk": patched(ZIP, CENTRAL, 34, b"\1"),
    "an extra field that reaches into the next": patched(ZIP, LOCAL, 28, b"\xff\xff", first=True),
    "an entry without end": patched(ZIP, CENTRAL, 32, b"\xff\xff"),
    "no entry": patched(ZIP, CENTRAL, 0, b"KP"),
    "more entries than there are": patched(ZIP, END, 8, b"\3\0\3\0"),
    "fewer entries than there are": patched(ZIP, END, 8, b"\1\0\1\0"),
    "a directory elsewhere": patched(ZIP, END, 16, b"\1\0\0\0"),
    "a directory behind the file": patched(ZIP, END, 16, b"\xff\xff\xff\xff"),
    "a directory of gigabytes": patched(ZIP, END, 12, b"\xff\xff\xff\xff"),
    "several disks": patched(ZIP, END, 4, b"\1"),
    "no end": patched(ZIP, END, 0, b"KP"),
    "bytes behind the end": ZIP + b"\0",
    "a name that is no Unicode": zipped([*MEMBERS, ("é", b"")]).replace("é".encode(), b"\xff\xff"),
}


def test_the_zip_that_the_lies_are_made_from_is_none() -> None:
    assert len(found(ZIP)) == 1


@pytest.mark.parametrize("lie", LIES)
def test_a_zip_that_lies_leaves_the_file_opaque(lie: str) -> None:
    assert LIES[lie] != ZIP
    assert found(LIES[lie]) == ()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_leaves_the_file_opaque() -> None:
    assert found(zipped([*MEMBERS, ("m/data/0", FLOATS.data)])) == ()


def test_members_that_overlap_leave_the_file_opaque() -> None:
    """The zip bomb of our days: one stretch of bytes under a thousand names."""
    inner = zipped([("m/data/1", b"x" * 30)])
    local = inner[: inner.index(CENTRAL)]
    outer = zipped([("m/data.pkl", PICKLE), ("m/data/0", local), ("m/data/1", b"x" * 30)])
    at = outer.index(local)
    # The directory's last entry now shows to the copy of its header within the other member.
    assert len(found(outer)) == 2
    assert found(patched(outer, CENTRAL, 42, struct.pack("<I", at))) == ()


def test_every_truncation_leaves_the_file_opaque() -> None:
    data = everything()["torch"]
    assert len(found(data)) == 2
    assert [length for length in range(len(data)) if found(data[:length]) != ()] == []


def test_a_file_of_zeros_behind_the_magic_is_given_up_soon() -> None:
    source = Zeros(LOCAL, 2**50)
    assert tensors_of(source) == ()
    assert source.asked < 1 << 18


def test_a_directory_of_gigabytes_is_not_read() -> None:
    end = struct.pack("<4s4H2IH", END, 0, 0, 9, 9, 1 << 31, 0, 0)

    class Large(Zeros):
        def read(self, offset: int, count: int) -> bytes:
            data = super().read(offset, count)
            return data[: -len(end)] + end if offset + len(data) == self.size else data

    source = Large(LOCAL, 1 << 33)
    assert tensors_of(source) == ()
    assert source.asked < 1 << 18

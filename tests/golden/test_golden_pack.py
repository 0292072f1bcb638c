"""Packs that earlier releases wrote are read, bit for bit, and name themselves as they always did."""

import shutil
from pathlib import Path

import pytest
from blake3 import blake3

from mvs.format.ids import ObjectId
from mvs.format.layout import pack_path
from mvs.format.pack import PACK_LINE, TRAILER_SIZE, Index, decode_index, encode_end, index_place
from mvs.store.store import Store
from tests.golden.make_pack import contents

GOLDEN = Path(__file__).parent / "packs-1"
NAME = "86f9c1e9d92d5f80953a94754bf7278fe4a110113d9ced526a8204dc7ca676fb"
IDS = {
    "loose": "1a556ea6986eb137bc1b969ec1a7812b103d304f153331202a53681e26d75c28",
    "noise": "03d9a600a98a9dcd0dab7b829e2432ea0828201cd226db4c8973765bfa510837",
    "zeros": "c4741d9e480a3e1cfd772ff9da9e851606f5c9b81f4bbbe182694fc5ffac29df",
    "text": "a3f13eb90e8ea8d91a92f79c71bd33d061fe745aed3ad7a154d0778e5e824dff",
    "empty": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    "base": "99405c3a716bf33300310e83efe19636cb48a11d2d5f0b0a31218c124f090d0f",
    "guided": "86c4f281b64b2f6c14cc17dabffd5f8ab9e756914db5b65edeb5068b620b67f1",
    "tuned": "b7f90df487d6cb97823330546c132f687955c85b4c213aa38629242866ef5673",
    "merged": "5fa8f0696ce3aeebf1aa481df8dbfc538a30ac1b812fc9f81cdb666d8264d8bd",
    "wide": "501b9a391dde4b33a14799d8bbef3a148cb3afa7f6d4bdfce97ffeb67bf63b78",
    "tensor": "bab3112b0cb8257baeb2244e791e9a07f3bdddda2dbaa123a8994694395c41c6",
    "file": "5630593b6d80a96b1ffafbf85b29d983634d98b856cabc968a995539ad6a57ac",
}
# Encoding, depth and number of refs of each record.
RECORDS = {
    "noise": ("raw", 0, 0),
    "zeros": ("fill", 0, 0),
    "text": ("zstd", 0, 0),
    "empty": ("raw", 0, 0),
    "base": ("planes", 0, 0),
    "guided": ("planes", 1, 1),
    "tuned": ("delta", 1, 1),
    "merged": ("delta", 2, 2),
    "wide": ("derive", 1, 1),
    "tensor": ("concat", 1, 2),
    "file": ("concat", 1, 4),
}
PACK = GOLDEN / pack_path(ObjectId.from_hex(NAME))


@pytest.fixture
def golden(tmp_path: Path) -> Store:
    """A copy, so that the tables of a reader do not come into the repository."""
    shutil.copytree(GOLDEN, tmp_path / "golden", copy_function=shutil.copyfile)
    return Store(tmp_path / "golden")


def index() -> Index:
    data = PACK.read_bytes()
    offset, length, digest = index_place(data[-TRAILER_SIZE:], len(data))
    return decode_index(data[offset : offset + length], offset, digest)


def test_the_bytes_of_the_pack_are_those_that_were_written() -> None:
    assert [path.relative_to(GOLDEN).parts[0] for path in sorted(GOLDEN.glob("*/*/*"))] == ["objects", "packs"]
    assert blake3(PACK.read_bytes()).hexdigest() == NAME
    assert PACK.read_bytes().startswith(PACK_LINE)
    assert (GOLDEN / "format").read_bytes() == b"mvs-store 1\nneeds-read packs\n"


def test_the_contents_are_those_that_were_packed() -> None:
    assert {name: str(ObjectId.of(data)) for name, data in contents().items()} == IDS


@pytest.mark.parametrize("name", IDS)
def test_every_object_is_read_bit_for_bit(golden: Store, name: str) -> None:
    """A model saved ten years ago is worth nothing when it cannot be read."""
    id, data = ObjectId.from_hex(IDS[name]), contents()[name]
    assert golden.objects.read(id) == data
    with golden.objects.open(id) as file:
        assert file.read() == data


def test_every_encoding_is_among_the_records() -> None:
    names = {ObjectId.from_hex(id): name for name, id in IDS.items()}
    found = {names[id]: (r.encoding, r.depth, len(r.refs)) for id, r in index().records.items()}
    assert found == RECORDS
    assert {encoding for encoding, _, _ in found.values()} == {
        "raw", "fill", "zstd", "planes", "delta", "derive", "concat",
    }  # fmt: skip
    assert [names[id] for id in index().outside] == ["loose"]


def test_the_index_is_written_the_same_again() -> None:
    data = PACK.read_bytes()
    offset, _, _ = index_place(data[-TRAILER_SIZE:], len(data))
    assert encode_end(index().records.values(), offset) == data[offset:]

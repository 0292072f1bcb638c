"""Payloads that earlier releases wrote are decoded; how new ones are encoded may change."""

import pytest
from blake3 import blake3

from mvs.codecs import blocks
from tests.golden.make_encodings import BLOCKS, HERE, payload

# Of the payloads, so that none is made anew by accident.
FROZEN = {
    "raw": "4a495ba42461748e",
    "raw-empty": "af1349b9f5f9a1a6",
    "fill-1": "2d3adedff11b61f1",
    "fill-16": "a6a492965517a830",
    "zstd": "8b807810845ba0d0",
    "zstd-plain": "f4d7686a97015f77",
    "planes-bf16": "00949db2e31e4a10",
    "planes-f16": "08e133627ff4c2c4",
    "planes-f32": "78d2f643f3f6e91b",
    "planes-f64": "fb5387f0a04d2c12",
    "planes-i8": "c64b16a8bb1b135c",
    "planes-f32-guided": "8d087c22f3ab8cdc",
    "delta-bf16": "25d42b1d4883e891",
    "delta-bf16-columns": "2b0c7733c5d41d64",
    "delta-bf16-two": "2052fb21b4d91b88",
    "delta-bf16-few": "53cde43c8c67fc43",
    "delta-bf16-rare": "b00587969e44062e",
    "delta-bf16-sparse": "ba4fc87bafd4d556",
    "delta-bf16-unlike": "410f928e3fcf3674",
    "delta-f16": "37df0f1b82ba8faa",
    "delta-f16-two": "37a99d11e25a28cc",
    "delta-f32": "753d578d081518bd",
    "delta-f32-two": "36f5c9bf4b34c5d3",
    "delta-f32-unlike": "b8c2591863ae1f72",
    "delta-f64": "444dcc8dc4f4e227",
    "delta-i8": "3f38fd82f2199b54",
    "derive": "34efc3c959e00cc5",
}


def test_every_golden_payload_is_there() -> None:
    assert sorted(path.name for path in HERE.iterdir()) == sorted(BLOCKS) == sorted(FROZEN)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_golden_payload_still_gives_the_plain_bytes(name: str, way: str) -> None:
    """A store outlives the release that wrote it."""
    encoding, plain, refs = BLOCKS[name]
    stored = (HERE / name).read_bytes()
    assert blake3(stored).hexdigest()[:16] == FROZEN[name]
    assert bytes(blocks.decode(encoding, stored, len(plain), refs)) == plain


@pytest.mark.parametrize("name", BLOCKS)
def test_what_is_encoded_now_gives_the_plain_bytes(name: str) -> None:
    encoding, plain, refs = BLOCKS[name]
    assert bytes(blocks.decode(encoding, payload(name), len(plain), refs)) == plain

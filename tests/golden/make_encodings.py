"""Make the golden payloads of the encodings: `python -m tests.golden.make_encodings`.

Run once, when the format was released. What is there is never written again: encoding may
change, decoding what earlier releases wrote may not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mvs.codecs import blocks
from mvs.codecs.blocks import DELTA, FILL, PLANES, ZSTD
from mvs.codecs.derive import Recipe, derive
from mvs.codecs.numbers import KINDS, Kind, encode_delta, encode_planes
from mvs.codecs.streams import squeeze
from tests.codecs.numbers_made import noise, tuned, weights

HERE = Path(__file__).parent / "encodings-1"
COUNT = 12_001
BF16, F16, F32 = KINDS["BF16"], KINDS["F16"], KINDS["F32"]
TEXT = "".join(f"{line} bottles on the wall, größe {line * line}\n" for line in range(300)).encode()
GUIDED = tuned(weights("v", COUNT, F32), "m", F32)


class Golden(NamedTuple):
    """A block: how it is stored, the plain bytes, and those of its refs."""

    encoding: str
    plain: bytes
    refs: tuple[bytes, ...] = ()


def _of(kind: Kind, count: int = COUNT, **how: bool) -> tuple[bytes, bytes, bytes]:
    half = kind == F16
    base = weights("base", count, kind, half=half)
    return tuned(base, "tuned", kind, **how), base, tuned(base, "other", kind)


def _delta(kind: Kind, bases: int = 1, count: int = COUNT, **how: bool) -> Golden:
    data, *refs = _of(kind, count, **how)
    return Golden(DELTA, data, tuple(refs[:bases]))


def _sparse(often: int) -> Golden:
    """So many of 256 numbers changed: symbols of 1 or 2 bits."""
    base = weights("base", COUNT, BF16)
    changed = (noise("sparse", COUNT) < often) * (noise("steps", COUNT) % 3)
    return Golden(DELTA, (np.frombuffer(base, "<u2") + changed).astype("<u2").tobytes(), (base,))


SOURCE = weights("source", 96 * 64, F32)
RECIPE = Recipe("q8_0", "F32", 32, 64)

BLOCKS = {
    "raw": Golden(blocks.RAW, bytes(range(256))),
    "raw-empty": Golden(blocks.RAW, b""),
    "fill-1": Golden(FILL, bytes(1 << 20)),
    "fill-16": Golden(FILL, bytes(range(16)) * 5),
    "zstd": Golden(ZSTD, TEXT),
    "zstd-plain": Golden(ZSTD, b"short"),
    "planes-bf16": Golden(PLANES, _of(BF16)[0]),
    "planes-f16": Golden(PLANES, _of(F16)[0]),
    "planes-f32": Golden(PLANES, _of(F32)[0]),
    "planes-f64": Golden(PLANES, _of(KINDS["F64"], 3000)[0]),
    "planes-i8": Golden(PLANES, weights("bytes", 3000, Kind(1))),
    "planes-f32-guided": Golden(PLANES, GUIDED, (weights("v", COUNT, F32),)),
    "delta-bf16": _delta(BF16),
    "delta-bf16-columns": _delta(BF16, by_column=True),
    "delta-bf16-two": _delta(BF16, 2),
    "delta-bf16-few": _delta(BF16, count=300),
    "delta-bf16-rare": _sparse(4),
    "delta-bf16-sparse": _sparse(40),
    "delta-bf16-unlike": Golden(DELTA, _of(BF16)[0], (weights("unlike", COUNT, BF16),)),
    "delta-f16": _delta(F16),
    "delta-f16-two": _delta(F16, 2),
    "delta-f32": _delta(F32, by_column=True),
    "delta-f32-two": _delta(F32, 2),
    "delta-f32-unlike": Golden(DELTA, _of(F32)[0], (weights("unlike", COUNT, F32),)),
    "delta-f64": _delta(KINDS["F64"], count=3000),
    "delta-i8": _delta(Kind(1), count=3000),
    "derive": Golden(blocks.DERIVE, derive(RECIPE, SOURCE, 0, 96 * 68), (SOURCE,)),
}
# What rows and columns there are, and where the first element lies.
ROWS = {"columns": 96, "at": 40}


def payload(name: str) -> bytes:
    """Return the payload that this release makes of a block."""
    encoding, plain, refs = BLOCKS[name]
    kind = KINDS.get(name.split("-")[1].upper(), Kind(1)) if "-" in name else None
    if encoding == FILL:
        return plain[: int(name.split("-")[1])]
    if encoding == ZSTD:
        return squeeze(plain, matches=True)
    if encoding == PLANES and kind:
        return encode_planes(plain, kind, *refs)
    if encoding == DELTA and kind:
        return encode_delta(plain, refs, kind, **ROWS)
    return blocks.pack_recipe(RECIPE, 0, len(plain)) if encoding == blocks.DERIVE else plain


def make(names: Sequence[str]) -> None:
    """Write what is not there yet."""
    HERE.mkdir(exist_ok=True)
    for name in names:
        if not (HERE / name).exists():
            (HERE / name).write_bytes(payload(name))


if __name__ == "__main__":
    make(list(BLOCKS))

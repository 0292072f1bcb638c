"""Make the golden pack of format 1: `python tests/golden/make_pack.py`.

Run once, when the format was released; the file it wrote is what is kept.
"""

import shutil
from pathlib import Path

from blake3 import blake3

from mvs.codecs import blocks, derive, numbers
from mvs.codecs.numbers import KINDS
from mvs.errors import MvsError
from mvs.format.ids import ObjectId
from mvs.format.pack import Span
from mvs.store.packs.writing import PackWriter
from mvs.store.store import Store

HERE = Path(__file__).parent / "packs-1"
BF16 = KINDS["BF16"]


def noise(seed: str, length: int) -> bytes:
    """Return bytes that nothing makes smaller, the same ones for ever."""
    return blake3(seed.encode()).digest(length)


def numbers_of(seed: str, count: int) -> bytes:
    """Return bf16 numbers of about 0.02."""
    return b"".join(bytes([low, 0x3C]) for low in noise(seed, count))


def moved(data: bytes, seed: str) -> bytes:
    """Return 16-bit numbers each of which has moved by at most 4 bit patterns."""
    steps = noise(seed, len(data) // 2)
    values = [int.from_bytes(data[2 * at : 2 * at + 2], "little") + step % 9 - 4 for at, step in enumerate(steps)]
    return b"".join(value.to_bytes(2, "little") for value in values)


def widened(data: bytes) -> bytes:
    """Return bf16 numbers as f32."""
    return b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))


def contents() -> dict[str, bytes]:
    """Return the plain bytes of every object of the pack, and of `loose`, which it needs."""
    base = numbers_of("base", 300)
    tuned = moved(base, "tuned")
    plain = {
        "loose": noise("loose", 50),
        "noise": noise("noise", 64),
        "zeros": bytes(300),
        "text": b'{"model": "bert"}\n' * 20,
        "empty": b"",
        "base": base,
        "guided": moved(base, "guided"),
        "tuned": tuned,
        "merged": moved(base, "merged"),
        "wide": widened(base),
    }
    plain["tensor"] = base[:100] + tuned[100:]
    plain["file"] = plain["text"] + plain["tensor"][50:] + plain["zeros"][:7] + plain["loose"][10:40]
    return plain


def write(writer: PackWriter) -> ObjectId:
    """Fill a pack with a record of every encoding; return its name."""
    plain = contents()
    ids = {name: ObjectId.of(data) for name, data in plain.items()}

    def span(name: str, start: int = 0, stop: int | None = None) -> Span:
        return Span(ids[name], start, (len(plain[name]) if stop is None else stop) - start)

    def add(name: str, encoding: str, stored: bytes, *refs: Span, depth: int = 0) -> None:
        writer.add(ids[name], len(plain[name]), encoding, stored, refs, depth=depth)

    add("noise", blocks.RAW, plain["noise"])
    add("empty", blocks.RAW, b"")
    add("zeros", blocks.FILL, b"\0")
    text = blocks.encode(plain["text"], None)
    add("text", text.encoding, text.payload)
    base = plain["base"]
    add("base", blocks.PLANES, numbers.encode_planes(base, BF16))
    add("guided", blocks.PLANES, numbers.encode_planes(plain["guided"], BF16, base), span("base"), depth=1)
    add("tuned", blocks.DELTA, numbers.encode_delta(plain["tuned"], [base], BF16), span("base"), depth=1)
    mean = numbers.encode_delta(plain["merged"], [base, plain["tuned"]], BF16)
    add("merged", blocks.DELTA, mean, span("base"), span("tuned"), depth=2)
    recipe = blocks.pack_recipe(derive.Recipe("f32", "BF16"), 0, len(plain["wide"]))
    add("wide", blocks.DERIVE, recipe, span("base"), depth=1)
    add("tensor", "concat", b"", span("base", 0, 100), span("tuned", 100), depth=1)
    file = [span("text"), span("tensor", 50), span("zeros", 0, 7), span("loose", 10, 40)]
    add("file", "concat", b"", *file, depth=1)
    return writer.finish()


def make(root: Path) -> ObjectId:
    """Make a store at `root` with the pack and what it needs; return the name of the pack."""
    Store.make(root)
    store = Store(root)
    with store.session() as session, store.exclusive(), store.adding() as adding:
        adding.put(contents()["loose"])
        adding.sync()
        writer = store.pack_writer(f"{session.path}/pack")
        name = write(writer)
        store.publisher().publish(writer, name)
    return name


if __name__ == "__main__":
    if HERE.exists():
        raise MvsError(f"'{HERE}' is there, and is never made again")
    print(make(HERE))  # noqa: T201 - the name, for the test
    for derived in ("cache", "staging", "rescued", "lock"):
        path = HERE / derived
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

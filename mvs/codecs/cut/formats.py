"""Which parser a file goes to, and what becomes of a file that none can read."""

from collections.abc import Callable

from mvs.codecs.cut import archive, gguf, npy, onnx, safetensors
from mvs.codecs.cut.source import Opaque, Source, Tensor, settled


def tensors_of(source: Source) -> tuple[Tensor, ...]:
    """Return where the tensors of a model file lie, found by what the file holds, not by its name.

    They are sorted by offset, do not overlap, lie within the file and have a size. There may
    be gaps between them. None are found in a file that is opaque, lies or is truncated.
    safetensors, GGUF (v2 and v3, little-endian), `.npy`, and zips of torch and numpy are read.
    """
    parse = _parser(source.read(0, 16))
    if parse is None:
        return ()
    try:
        return settled(parse(source), source.size)
    except Opaque:
        return ()


def external_tensors(model: Source) -> dict[str, tuple[Tensor, ...]]:
    """Return, by relative file name, the tensors that an ONNX model keeps in files beside it.

    Nothing is known of these files but what the model says: offsets may lie past their ends.
    Empty when there are none or the model does not parse.
    """
    try:
        return onnx.external(model)
    except Opaque:
        return {}


def _parser(head: bytes) -> Callable[[Source], list[Tensor]] | None:
    if head.startswith(gguf.MAGIC):
        return gguf.tensors
    if head.startswith(archive.MAGIC):
        return archive.tensors
    if head.startswith(npy.MAGIC):
        return npy.tensors
    if head[8:9] == b"{":
        return safetensors.tensors
    return None

"""Zips of torch (`.pt`, `.bin`) and numpy (`.npz`): what is stored in them as it is.

The directory is read here, not by `zipfile`, which believes it and reads all of it. Nothing is
inflated: a member that is compressed or encrypted has no tensors.
Source of the format: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import NamedTuple

from mvs.codecs.cut import npy, pickled
from mvs.codecs.cut.source import Opaque, Source, Tensor

MAGIC = b"PK\x03\x04"
_LOCAL = Struct("<4s5H3I2H")
_CENTRAL = Struct("<4s6H3I5H2I")
_END = Struct("<4s4H2IH")
_END64 = Struct("<4sQ2H2I4Q")
_LOCATOR64 = Struct("<4sIQI")
_CENTRAL_SIGNATURE, _END_SIGNATURE = b"PK\x01\x02", b"PK\x05\x06"
_LOCATOR64_SIGNATURE, _END64_SIGNATURE = b"PK\x06\x07", b"PK\x06\x06"

_ZIP64_FIELD = 1
_FULL = 0xFFFFFFFF
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_SIZES_FOLLOW = 1 << 3
_UTF8 = 1 << 11
_STORED = 0

# 100,000 storages make a directory of 12 MB.
_MAX_DIRECTORY = 32 << 20
_MAX_MEMBERS = 1 << 17


class Member(NamedTuple):
    """A file in a zip; `plain` when its bytes stand in the zip as they are."""

    name: str
    offset: int
    size: int
    plain: bool

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


def tensors(source: Source) -> list[Tensor]:
    """Return the storages of a torch file, or the arrays of numpy's.

    The zip tells where they lie; torch's pickle only names them, and where it does not
    agree with the zip they have no type.

    Raises:
        Opaque: it does not parse or contradicts itself.
    """
    members = _members(source)
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) == 1:
        return list(_storages(source, members, pickles[0].removesuffix("data.pkl")))
    arrays = (
        npy.array(source, member.offset, member.end, member.name.removesuffix(".npy"))
        for member in members.values()
        if member.plain and member.name.endswith(".npy")
    )
    return [array for array in arrays if array]


def _storages(source: Source, members: Mapping[str, Member], root: str) -> Iterator[Tensor]:
    folder = root + "data/"
    told = _told(source, members, root)
    # The name that a storage has without the pickle is nobody else's.
    taken = {name.removeprefix(root) for name in members if name.startswith(folder)}
    for name, member in members.items():
        if not (member.plain and name.startswith(folder) and len(name) > len(folder)):
            continue
        key = name.removeprefix(folder)
        said = told.get(key, pickled.UNTOLD)
        if not said.name or said.name in taken:
            said = said._replace(name=f"data/{key}")
        taken.add(said.name)
        if said.size != member.size:
            said = said._replace(dtype="", shape=())
        yield Tensor(said.name, said.dtype, said.shape, member.offset, member.size)


def _told(source: Source, members: Mapping[str, Member], root: str) -> dict[str, pickled.Told]:
    pickle = members[root + "data.pkl"]
    order = members.get(root + "byteorder")
    swapped = order is not None and order.size < 16 and source.read(order.offset, order.size) == b"big"
    if swapped or not pickle.plain or pickle.size > pickled.MAX_SIZE:
        return {}
    return pickled.storages(source.read(pickle.offset, pickle.size))


def _members(source: Source) -> dict[str, Member]:
    """Return the members by name, checked: local headers agree, and nothing overlaps."""
    count, offset, size = _directory(source)
    directory = source.read(offset, size)
    if len(directory) != size:
        raise Opaque("the file became shorter")
    entries = []
    at = 0
    for _ in range(count):
        entry, at = _entry(directory, at)
        entries.append(entry)
    if at != size:
        raise Opaque("the directory has another length than it says")
    entries.sort(key=lambda entry: entry.header)
    members: dict[str, Member] = {}
    free = 0
    for entry in entries:
        if entry.header < free:
            raise Opaque("two members overlap")
        member = _located(source, entry)
        free = member.end
        if member.name in members:
            raise Opaque("a name occurs twice")
        members[member.name] = member
    if free > offset:
        raise Opaque("a member overlaps the directory")
    return members


def _directory(source: Source) -> tuple[int, int, int]:
    """Return how many members the directory has, where it lies, and its size."""
    tail = source.read(max(0, source.size - _END.size - 0xFFFF), _END.size + 0xFFFF)
    at = len(tail)
    while True:
        at = tail.rfind(_END_SIGNATURE, 0, at)
        if at < 0:
            raise Opaque("there is no directory")
        # What looks like an end may stand in the comment that follows the end.
        if at + _END.size <= len(tail):
            _, disk, first, here, count, size, offset, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                break
    end = source.size - len(tail) + at
    locator = source.read(max(0, end - _LOCATOR64.size), _LOCATOR64.size)
    if locator.startswith(_LOCATOR64_SIGNATURE) and len(locator) == _LOCATOR64.size:
        _, _, end, _ = _LOCATOR64.unpack(locator)
        record = source.read(min(end, source.size), _END64.size)
        if len(record) < _END64.size or not record.startswith(_END64_SIGNATURE):
            raise Opaque("the zip64 end is not where it is said to be")
        _, _, _, _, disk, first, here, count, size, offset = _END64.unpack(record)
    if disk or first or here != count:
        raise Opaque("the zip is in several pieces")
    if offset + size > end or size > _MAX_DIRECTORY or count > _MAX_MEMBERS:
        raise Opaque("the directory is not where it is said to be, or too large")
    return count, offset, size


class _Entry(NamedTuple):
    """What the directory says of a member."""

    name: bytes
    flags: int
    method: int
    stored: int
    size: int
    header: int


def _entry(directory: bytes, at: int) -> tuple[_Entry, int]:
    if at + _CENTRAL.size > len(directory):
        raise Opaque("the directory is cut off")
    fields = _CENTRAL.unpack_from(directory, at)
    signature, _, _, flags, method, _, _, _, stored, size, named, extra, comment, disk, _, _, header = fields
    start = at + _CENTRAL.size
    end = start + named + extra + comment
    if signature != _CENTRAL_SIGNATURE or end > len(directory) or disk not in (0, 0xFFFF):
        raise Opaque("the directory is cut off or in several pieces")
    if _FULL in (size, stored, header):
        wide = _wide(directory[start + named : start + named + extra])
        size, stored, header = (next(wide) if value == _FULL else value for value in (size, stored, header))
    return _Entry(directory[start : start + named], flags, method, stored, size, header), end


def _wide(extra: bytes) -> Iterator[int]:
    """Yield the numbers of 64 bits that an extra field has for those that do not fit 32."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
        at += 4
        if kind == _ZIP64_FIELD:
            field = extra[at : at + length]
            yield from (int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) // 8 * 8, 8))
            break
        at += length
    raise Opaque("a size of 64 bits is missing")


def _located(source: Source, entry: _Entry) -> Member:
    """Return where a member's bytes lie, which only its local header tells."""
    local = source.read(min(entry.header, source.size), _LOCAL.size + len(entry.name))
    if len(local) != _LOCAL.size + len(entry.name):
        raise Opaque("a member lies behind the file")
    signature, _, flags, method, _, _, _, stored, size, named, extra = _LOCAL.unpack_from(local)
    if (signature, flags, method, local[_LOCAL.size :]) != (MAGIC, entry.flags, entry.method, entry.name):
        raise Opaque("a member is another than the directory says")
    if named != len(entry.name) or not (_agree(stored, entry.stored, flags) and _agree(size, entry.size, flags)):
        raise Opaque("a member has another size than the directory says")
    plain = method == _STORED and not flags & _ENCRYPTED
    if plain and entry.size != entry.stored:
        raise Opaque("a stored member has two sizes")
    return Member(_text(entry), entry.header + len(local) + extra, entry.stored, plain)


def _agree(local: int, central: int, flags: int) -> bool:
    # The field of 64 bits that a full one stands for is not looked up: the directory has it.
    return local in (central, _FULL) or bool(flags & _SIZES_FOLLOW and local == 0)


def _text(entry: _Entry) -> str:
    try:
        return entry.name.decode("utf-8" if entry.flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise Opaque("a name is not UTF-8") from None

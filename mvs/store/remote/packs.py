"""The packs of a remote: what is in them, and runs of their bytes."""

import contextlib
from collections.abc import Iterable

from mvs.backends.buckets import Bucket
from mvs.backends.directory import Directory
from mvs.errors import CorruptPack, CorruptRemote
from mvs.format.ids import ObjectId
from mvs.format.layout import CACHE
from mvs.format.pack import TRAILER_SIZE, Index, Record, decode_index, index_place
from mvs.format.remote import PackPlace, index_key
from mvs.running.parallel import ahead

# Indexes are small, and each is a request.
_REQUESTS = 8


class RemotePacks:
    """Packs that a remote has. Indexes never change, so what was read once is kept in the cache of the store."""

    def __init__(self, bucket: Bucket, disk: Directory, key: str) -> None:
        self._bucket = bucket
        self._disk = disk
        self._folder = f"{CACHE}/remotes/{key}"
        self._known: dict[ObjectId, Index] = {}

    def index(self, place: PackPlace) -> Index:
        """Return what is in a pack.

        Raises:
            CorruptRemote: it is gone, or damaged.
        """
        found = self._known.get(place.name)
        if found is None:
            found = self._known[place.name] = self._read(place)
        return found

    def indexes(self, places: Iterable[PackPlace]) -> dict[ObjectId, Index]:
        """Return what is in some packs, by name; what is not known is read, several at once."""
        wanted = list(places)
        unknown = [place for place in wanted if place.name not in self._known]
        for place, index in ahead(lambda place: (place, self._read(place)), unknown, _REQUESTS):
            self._known[place.name] = index
        return {place.name: self._known[place.name] for place in wanted}

    def stored(self, place: PackPlace, records: list[Record]) -> bytes:
        """Return the bytes from the first to the last of some records, in order of where they lie.

        Raises:
            CorruptRemote: the pack is gone, or too short.
        """
        start, end = records[0].offset, max(record.offset + record.length for record in records)
        try:
            data = self._bucket.read_range(place.key, start, end - start)
        except FileNotFoundError:
            raise CorruptRemote(f"pack {place.name} of the remote is gone") from None
        if len(data) != end - start:
            raise CorruptRemote(f"pack {place.name} of the remote is cut off")
        return data

    def _read(self, place: PackPlace) -> Index:
        cached = f"{self._folder}/{index_key(place.name)}"
        with contextlib.suppress(OSError, CorruptPack):
            return _index(self._disk.read(cached), place)
        data = None
        with contextlib.suppress(FileNotFoundError, CorruptPack):
            data = self._bucket.read(index_key(place.name))
            _index(data, place)
        try:
            if data is None:
                data = self._from_pack(place)
            found = _index(data, place)
        except FileNotFoundError:
            raise CorruptRemote(f"pack {place.name} of the remote is gone") from None
        except CorruptPack as error:
            raise CorruptRemote(f"pack {place.name} of the remote is damaged: {error.message}") from error
        self._disk.cache(cached, data)
        return found

    def _from_pack(self, place: PackPlace) -> bytes:
        trailer = self._bucket.read_range(place.key, max(0, place.size - TRAILER_SIZE), TRAILER_SIZE)
        offset, length, _ = index_place(trailer, place.size)
        return self._bucket.read_range(place.key, offset, length + TRAILER_SIZE)


def _index(data: bytes, place: PackPlace) -> Index:
    trailer = data[-TRAILER_SIZE:]
    offset, length, digest = index_place(trailer, place.size)
    if len(data) != length + TRAILER_SIZE:
        raise CorruptPack("its index is cut off")
    return decode_index(data[:length], offset, digest)

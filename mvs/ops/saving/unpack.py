"""Unpacking an archive into the staging folder of a save, and nowhere else."""

import os
import shutil

from mvs.backends import archives
from mvs.backends.archives import Member
from mvs.backends.failures import storage
from mvs.errors import InvalidPath, StorageFull, command
from mvs.format.paths import check_path
from mvs.ops.saving.walk import MAX_DEPTH
from mvs.running.parallel import Advance
from mvs.running.progress import Progress


def unpack(source: str, folder: str, *, progress: Progress) -> None:
    """Unpack a tar or zip file into a new folder; `walk` has the last word on what is in it.

    Raises:
        SourceNotFound: there is no such file.
        InvalidPath: a path leads out of the folder, or is taken; something is neither a file nor a folder.
        CorruptArchive: it is no archive, cut off, damaged or encrypted, or holds more files than a model has.
        StorageFull: it says that it holds more than there is room for.
    """
    with storage(folder):
        os.mkdir(folder)
    # How much there is in all, a compressed tar file tells at its end.
    progress.start("unpacking", 0)
    try:
        for member in archives.members(source):
            path = member.path.removeprefix("./")
            if member.is_folder and path in ("", "."):
                continue
            _check(path, source)
            try:
                if member.is_folder:
                    os.makedirs(os.path.join(folder, path), exist_ok=True)
                else:
                    _write(folder, path, member, source, progress.advance)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise InvalidPath(f"'{path}' is in '{source}' more than once") from None
    finally:
        progress.finish()


def _check(path: str, source: str) -> None:
    try:
        check_path(path)
    except InvalidPath as error:
        raise InvalidPath(f"'{source}' cannot be unpacked: {error.message}") from error
    if path.count("/") > MAX_DEPTH:
        raise InvalidPath(f"'{source}' cannot be unpacked: '{path}' lies deeper than {MAX_DEPTH} folders")


def _write(folder: str, path: str, member: Member, source: str, advance: Advance) -> None:
    place = os.path.join(folder, path)
    # Before a byte of it: what lies about its size would fill the disk.
    if member.size > shutil.disk_usage(folder).free:
        raise StorageFull(
            f"'{path}' in '{source}' has {member.size} bytes, it says, and there is no room for it",
            hint=command("df", "-h", folder),
        )
    with storage(place):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb") as file:
            for block in member.blocks():
                file.write(block)
                advance(len(block))
            if member.executable:
                os.fchmod(file.fileno(), 0o755)

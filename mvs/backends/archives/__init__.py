"""Tar and zip files, for people who have no mvs: written the same each time, and read without trust."""

from mvs.backends.archives.reading import Member, members
from mvs.backends.archives.writing import SUFFIXES, Archive, create, is_archive

__all__ = ["SUFFIXES", "Archive", "Member", "create", "is_archive", "members"]

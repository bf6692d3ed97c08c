"""
One segment file of the spool: records one after the other, each found again whatever happened to those before it.

A record is a header and the bytes that were given. The header has its own checksum, so that its length can be trusted
even where the bytes after it are damaged. Checksums are seeded with a salt that is in the name of the file: what a
packet brings can't pass for a record.
"""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, Self

from xxhash import xxh3_64_intdigest

MAGIC: Final = b"\xffEvSpl1\n"
"""Starts every record; its digit is the version of the format."""
_HEADER: Final = Struct("<8sIIQQ")
_SUM: Final = Struct("<Q")
HEADER_BYTES: Final = _HEADER.size + _SUM.size
MAX_RECORD_BYTES: Final = 1 << 30
_LOOK_BYTES: Final = 1 << 20
_LOST: Final = frozenset({errno.EIO, errno.ENOENT, errno.ENODATA, errno.EUCLEAN})
"""What a disk says that will not give these bytes any more; anything else may pass."""
_NAME: Final = re.compile(r"(\d{12})-([0-9a-f]{16})\.spool")


@dataclass(frozen=True, slots=True)
class Record:
    """
    Where a record is, by its header.

    Attributes:
        offset: Of its header in the file.
        length: Of the bytes that were given.
        checksum: Of these.
        appended_us: When they were given, UTC epoch microseconds.
    """

    offset: int
    length: int
    checksum: int
    appended_us: int

    @property
    def end(self) -> int:
        """Where the next record starts."""
        return self.offset + HEADER_BYTES + self.length


@dataclass(slots=True)
class Segment:
    """
    A segment file, by its name.

    Attributes:
        size: Bytes of it that hold records; what lies behind is not looked at.
        records: How many of its records have not been delivered.
    """

    directory: Path
    number: int
    salt: int
    size: int = 0
    records: int = 0
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.directory / f"{self.number:012d}-{self.salt:016x}.spool"

    @classmethod
    def new(cls, directory: Path, number: int) -> Self:
        """A segment that no file exists of yet."""
        return cls(directory, number, secrets.randbits(64))

    @classmethod
    def found(cls, path: Path) -> Self | None:
        """The segment of that file; none if it is something else."""
        name = _NAME.fullmatch(path.name)
        return cls(path.parent, int(name[1]), int(name[2], 16), path.stat().st_size) if name else None

    def header(self, record: bytes, *, appended_us: int) -> bytes:
        """What stands before a record."""
        checksum = xxh3_64_intdigest(record, self.salt)
        head = _HEADER.pack(MAGIC, len(record), 0, checksum, appended_us)
        return head + _SUM.pack(xxh3_64_intdigest(head, self.salt))

    def read(self, record: Record) -> bytes | None:
        """
        The bytes of a record; none if they are damaged.

        Raises:
            OSError: The file can't be read now.
        """
        try:
            with self._opened() as file:
                found = file.at(record.offset + HEADER_BYTES, record.length)
        except OSError as error:
            if error.errno in _LOST:
                return None
            raise
        is_whole = len(found) == record.length and xxh3_64_intdigest(found, self.salt) == record.checksum
        return found if is_whole else None

    def next_record(self, offset: int) -> Record | None:
        """
        The first record at an offset or behind it, by headers alone; none if there is no more.

        If it starts behind the offset, what lies between is damaged.

        Raises:
            OSError: The file can't be read now.
        """
        try:
            with self._opened() as file:
                return self._at(file, offset) or self._search(file, offset + 1)
        except OSError as error:
            if error.errno in _LOST:
                return None
            raise

    def walk(self) -> Iterator[Record]:
        """
        All records, by headers alone.

        Raises:
            OSError: The file can't be read now.
        """
        offset = 0
        while record := self.next_record(offset):
            yield record
            offset = record.end

    def _at(self, file: "_File", offset: int) -> Record | None:
        found = file.at(offset, HEADER_BYTES)
        if len(found) < HEADER_BYTES or not found.startswith(MAGIC):
            return None
        head = found[: _HEADER.size]
        if _SUM.unpack_from(found, _HEADER.size)[0] != xxh3_64_intdigest(head, self.salt):
            return None
        _, length, _, checksum, appended_us = _HEADER.unpack(head)
        record = Record(offset, length, checksum, appended_us)
        return record if record.end <= self.size else None

    def _search(self, file: "_File", offset: int) -> Record | None:
        """The next place that holds a header. Each step goes on, so it ends."""
        while offset + HEADER_BYTES <= self.size:
            chunk = file.at(offset, _LOOK_BYTES)
            if not chunk:  # Somebody else has cut the file.
                return None
            place = chunk.find(MAGIC)
            while place >= 0:
                if record := self._at(file, offset + place):
                    return record
                place = chunk.find(MAGIC, place + 1)
            # The magic may lie across two chunks.
            offset += max(1, len(chunk) - len(MAGIC) + 1)
        return None

    def _opened(self) -> "_File":
        return _File(self.path, self.size)


class _File:
    """A file that is read in places, up to a size."""

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = size

    def at(self, offset: int, length: int) -> bytes:
        """So many bytes from there; fewer at the end."""
        return os.pread(self._descriptor, max(0, min(length, self._size - offset)), offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

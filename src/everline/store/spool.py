"""What an ingest node keeps while the store can't: records in bounded segment files, durable once they are taken."""

import errno
import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import IO, Final, NamedTuple, Self

from everline.store.errors import StoreClosedError, StoreError, StoreLockedError, StoreUnwritableError
from everline.store.segment import HEADER_BYTES, MAX_RECORD_BYTES, Record, Segment

SEGMENT_BYTES: Final = 16 << 20
"""Of a segment at most, unless one record alone has more. What is delivered is removed by segment."""
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolFullError(StoreError):
    """There is no room for a record. Nothing that was taken is lost; the record may be given again."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the spool {path} is full ({why}): bring ClickHouse back, or raise store.spool_bytes")
        self.path = path


class Position(NamedTuple):
    """Where a record is: the number of its segment, and how far into it."""

    segment: int
    offset: int


@dataclass(slots=True)
class _Append:
    """A record that some thread waits for."""

    record: bytes
    is_over: bool = False
    is_kept: bool = False
    fault: StoreError | None = None


class Spool:
    """
    Records in the order they were given. For any number of threads; blocks while the disk works.

    What one process wrote, the next one finds, also after kill -9 in the middle of a write: a torn piece at the end is
    cut off, a damaged record is skipped, and both are counted. After a restart the segment that was being delivered is
    delivered again from its start, which is harmless since a batch may be inserted any number of times.

    Attributes:
        damaged: Places in which something that had been taken can't be read any more; it is lost.
        torn: Pieces at the end that were being written when the process ended; nobody was told that they are kept.
    """

    def __init__(self, path: Path, lock: IO[str], *, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.damaged = 0
        self.torn = 0
        self._lock = lock
        self._segment_bytes = max(1, min(SEGMENT_BYTES, max_bytes // 8))
        self._segments: deque[Segment] = deque()
        self._offset = 0  # In the first segment: everything before is delivered.
        self._head: Record | None = None  # The record there, once it was looked at.
        self._writing: int | None = None  # Descriptor of the last segment, when it is ours.
        self._next_number = 1
        self._changed = Condition()
        self._waiting: list[_Append] = []
        self._is_led = False
        self._is_closed = False
        self._load()

    @classmethod
    def open(cls, path: Path, *, max_bytes: int) -> Self:
        """
        Open a directory, and make it if it is not there.

        Raises:
            StoreLockedError: Another process has it.
            StoreUnwritableError: It can't be made, read or written.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            lock = os.fdopen(os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnwritableError(path, error.strerror or str(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, lock, max_bytes=max_bytes)
        except BlockingIOError as error:
            lock.close()
            raise StoreLockedError(path) from error
        except OSError as error:
            lock.close()
            raise StoreUnwritableError(path, error.strerror or str(error)) from error

    @property
    def size_bytes(self) -> int:
        """What the segment files take."""
        return sum(one.size for one in tuple(self._segments))

    @property
    def records(self) -> int:
        """How many records are waiting."""
        return sum(one.records for one in tuple(self._segments))

    @property
    def oldest_at(self) -> float | None:
        """When the oldest record was given, UTC epoch seconds; none when nothing waits."""
        head = self._head
        return head.appended_us / 1e6 if head else None

    def append(self, record: bytes) -> None:
        """
        Keep a record; it is on the disk when this returns. Several threads that wait share one write.

        Raises:
            SpoolFullError: There is no room, by `max_bytes` or on the disk.
            StoreUnwritableError: The disk does not work.
        """
        mine = _Append(record)
        with self._changed:
            if self._is_closed:
                raise StoreClosedError
            self._waiting.append(mine)
            while self._is_led and not mine.is_over:
                self._changed.wait()
            group = [] if mine.is_over else self._waiting
            if group:
                self._waiting, self._is_led = [], True
        if group:
            self._lead(group)
        if not mine.is_kept:
            raise mine.fault or StoreError(f"the spool {self.path} could not be written: give the batch again")

    def peek(self) -> tuple[Position, bytes] | None:
        """
        The oldest record; none when nothing waits. What is damaged is skipped and counted.

        Raises:
            StoreUnwritableError: It can't be read now.
        """
        found = self.peek_some(1)
        return found[0] if found else None

    def peek_some(self, most: int) -> list[tuple[Position, bytes]]:
        """
        The oldest records, oldest first: at least one if any waits, and of those behind it in its file at most so many.

        Raises:
            StoreUnwritableError: They can't be read now.
        """
        with self._changed:
            if self._is_closed:
                raise StoreClosedError
            try:
                while head := self._find_head():
                    record = self._segments[0].read(head)
                    if record is not None:
                        first = Position(self._segments[0].number, head.offset), record
                        return [first, *self._behind(head, most - 1)]
                    self.damaged += 1
                    self._pass(head)
            except OSError as error:
                raise self._fault(error) from error
            return []

    def done(self, position: Position) -> None:
        """The record at that position, and those before it, were delivered. Anything else changes nothing."""
        with self._changed:
            head = self._head
            if head and not self._is_closed and position == (self._segments[0].number, head.offset):
                self._pass(head)
                with suppress(OSError):  # `peek` tells of it.
                    self._find_head()

    def close(self) -> None:
        """Give the directory back."""
        with self._changed:
            self._is_closed = True
            while self._is_led or self._waiting:
                self._changed.wait()
            self._stop_writing()
        self._lock.close()

    def _load(self) -> None:
        for path in sorted(self.path.iterdir()):
            if segment := Segment.found(path):
                self._segments.append(segment)
        if self._segments:
            self._next_number = self._segments[-1].number + 1
            self._cut_torn(self._segments[-1])
        for segment in self._segments:
            segment.records = sum(1 for _ in segment.walk())
        self._find_head()

    def _cut_torn(self, segment: Segment) -> None:
        """Only the last segment can end in the middle of a write."""
        whole = max((one.end for one in segment.walk() if segment.read(one) is not None), default=0)
        if whole < segment.size:
            os.truncate(segment.path, whole)
            segment.size = whole
            self.torn += 1

    # What follows is called with `_changed` held.

    def _behind(self, head: Record, most: int) -> Iterator[tuple[Position, bytes]]:
        """Whole records that follow one without a gap; damage is left until it is the oldest."""
        segment, offset = self._segments[0], head.end
        for _ in range(most):
            found = segment.next_record(offset)
            record = segment.read(found) if found and found.offset == offset else None
            if found is None or record is None:
                return
            yield Position(segment.number, found.offset), record
            offset = found.end

    def _find_head(self) -> Record | None:
        """The oldest record by its header; removes segments that have none left."""
        while self._head is None and self._segments:
            first = self._segments[0]
            found = first.next_record(self._offset)
            if (found.offset if found else first.size) > self._offset:
                self.damaged += 1
            if found:
                self._head, self._offset = found, found.offset
            elif len(self._segments) == 1 and self._is_led:
                return None  # It is being written.
            else:
                self._remove_first()
        return self._head

    def _pass(self, head: Record) -> None:
        self._segments[0].records -= 1
        self._offset = head.end
        self._head = None

    def _remove_first(self) -> None:
        if len(self._segments) == 1:
            self._stop_writing()
        with suppress(OSError):  # Then it is delivered once more after a restart.
            self._segments[0].path.unlink(missing_ok=True)
        self._segments.popleft()
        self._offset = 0

    def _stop_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    # What follows is done by one thread at a time, the leader, without holding `_changed` while the disk works.

    def _lead(self, group: list[_Append]) -> None:
        try:
            admitted = self._admitted(group)
            if admitted:
                self._write(admitted)
        finally:
            with self._changed:
                self._is_led = False
                for one in group:
                    one.is_over = True
                self._changed.notify_all()

    def _admitted(self, group: list[_Append]) -> list[_Append]:
        admitted = []
        with self._changed:
            room = self.max_bytes - self.size_bytes
        for one in group:
            needed = HEADER_BYTES + len(one.record)
            if needed > room or len(one.record) > MAX_RECORD_BYTES:
                one.fault = SpoolFullError(self.path, f"{self.max_bytes} bytes may be used")
                continue
            room -= needed
            admitted.append(one)
        return admitted

    def _write(self, group: list[_Append]) -> None:
        """All or none of them; what was written of none is taken away again."""
        try:
            with self._changed:
                segment, descriptor = self._segment_to_write()
            now_us = time.time_ns() // 1000
            size = segment.size
            for one in group:
                for piece in (segment.header(one.record, appended_us=now_us), one.record):
                    _write_all(descriptor, piece)
                    size += len(piece)
            os.fdatasync(descriptor)
        except OSError as error:
            fault = self._fault(error)
            for one in group:
                one.fault = fault
            self._take_back()
        else:
            with self._changed:
                segment.size = size
                segment.records += len(group)
                for one in group:
                    one.is_kept = True
                with suppress(OSError):  # `peek` tells of it.
                    self._find_head()

    def _segment_to_write(self) -> tuple[Segment, int]:
        if self._writing is not None and self._segments[-1].size >= self._segment_bytes:
            self._stop_writing()
        if self._writing is None:
            segment = Segment.new(self.path, self._next_number)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(segment.path, flags, 0o600)
            try:
                _sync_directory(self.path)
            except OSError:
                os.close(descriptor)
                segment.path.unlink(missing_ok=True)
                raise
            self._writing = descriptor
            self._next_number += 1
            self._segments.append(segment)
        return self._segments[-1], self._writing

    def _take_back(self) -> None:
        with self._changed:
            if self._writing is None:
                return
            try:
                os.ftruncate(self._writing, self._segments[-1].size)
            except OSError:
                self._stop_writing()  # What follows goes to a new segment; of this one, no more is read than holds.

    def _fault(self, error: OSError) -> StoreError:
        if error.errno in _NO_ROOM:
            return SpoolFullError(self.path, error.strerror or "no room on the disk")
        return StoreUnwritableError(self.path, error.strerror or str(error))


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

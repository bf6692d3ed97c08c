"""
The failover log: each entry goes to a file of this node first, then to the store, until that has acknowledged it.

The file is bounded: two generations of `GENERATION_BYTES`. An entry that the store could not take for so long that its
generation went is counted as lost, and the log says so.
"""

import asyncio
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from everline.cluster.entry import Entry, parse_entry
from everline.errors import EverlineError

log = logging.getLogger(__name__)

GENERATION_BYTES: Final = 4 << 20
BATCH: Final = 500
DELIVER_S: Final = 10.0
LAST_DELIVERY_S: Final = 1.0
_FILE: Final = "failovers.jsonl"
_OLD_FILE: Final = "failovers.old.jsonl"
_DELIVERED_FILE: Final = "failovers.delivered"
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0


class JournalError(EverlineError):
    """The journal can't be kept."""

    def __init__(self, path: Path, why: OSError) -> None:
        super().__init__(
            f"cannot keep the failover log in {path}: {why.strerror or why}; give the directory to this user, or free "
            "some space"
        )


class LogSink(Protocol):
    """Where entries go. Implemented on ClickHouse and, for one process and for tests, in memory."""

    async def insert_entries(self, entries: Sequence[Entry]) -> None:
        """Take them; taking one twice changes nothing. Raises EverlineError when it can't now."""
        ...

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """The latest since a time, newest last. Raises EverlineError when it can't now."""
        ...


class MemoryLog:
    """Of one process."""

    def __init__(self, most: int = 10_000) -> None:
        self._kept: dict[str, Entry] = {}
        self._most = most

    async def insert_entries(self, entries: Sequence[Entry]) -> None:
        """Keep them, and forget the oldest beyond the bound."""
        self._kept |= {one.entry_id: one for one in entries}
        for surplus in self.kept()[: max(0, len(self._kept) - self._most)]:
            del self._kept[surplus.entry_id]

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """The latest since a time, newest last."""
        return [one for one in self.kept() if one.at_us >= since_us][-limit:]

    def kept(self) -> list[Entry]:
        """All, newest last."""
        return sorted(self._kept.values(), key=_order)


class Journal:
    """
    Entries of one node on their way to the store. Made by `open`.

    `add` may be called anywhere in the loop; `run` writes and delivers.
    """

    def __init__(self, directory: Path, sink: LogSink, *, generation_bytes: int) -> None:
        self._directory = directory
        self._sink = sink
        self._generation_bytes = generation_bytes
        self._unwritten: deque[Entry] = deque()
        self._waiting: deque[tuple[int, Entry]] = deque()
        self._next = 1
        self._oldest_kept = 1
        self._first_of_file = 1
        self._some = asyncio.Event()
        self._to_deliver = asyncio.Event()
        self.lost = 0
        self.added: list[Callable[[Entry], None]] = []
        """Called with each new entry."""

    @classmethod
    def open(cls, directory: Path, sink: LogSink, *, generation_bytes: int = GENERATION_BYTES) -> "Journal":
        """
        The journal in a directory, with what waits there since the last run.

        Raises:
            JournalError: It can't be read or written.
        """
        journal = cls(directory, sink, generation_bytes=generation_bytes)
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            journal._load()
        except OSError as fault:
            raise JournalError(directory, fault) from fault
        return journal

    @property
    def waiting(self) -> int:
        """Entries that the store has not acknowledged."""
        return len(self._unwritten) + len(self._waiting)

    def add(self, entry: Entry) -> None:
        """Note something; it is on the disk and in the store as soon as these can be had."""
        log.info("failover_log.entry", extra={"kind": str(entry.kind), "node": entry.node, "reason": entry.reason})
        self._unwritten.append(entry)
        self._some.set()
        for listener in self.added:
            listener(entry)

    def undelivered(self) -> list[Entry]:
        """What only this node knows so far."""
        return [*(entry for _, entry in self._waiting), *self._unwritten]

    async def history(self, since_us: int, limit: int) -> list[Entry]:
        """The latest entries of all nodes as far as the store has them, and those of this one, newest last."""
        found = {one.entry_id: one for one in await self._sink.entries(since_us, limit)}
        found |= {one.entry_id: one for one in self.undelivered() if one.at_us >= since_us}
        return sorted(found.values(), key=_order)[-limit:]

    async def run(self) -> None:
        """Write and deliver, for ever. Cancelled, it writes what it has to the disk, and tries once to deliver it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_for_ever(), name="failover log to disk")
                tasks.create_task(self._deliver_for_ever(), name="failover log to store")
        finally:
            last = self._numbered()
            self._append_or_say(last)
            self._written(last)
            await self._deliver_last()

    async def _write_for_ever(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            fresh = self._numbered()
            writing = asyncio.ensure_future(asyncio.to_thread(self._append_or_say, fresh))
            try:
                await asyncio.shield(writing)
            finally:  # Cancelled or not, a write that was begun ends before another one begins.
                await writing
                self._written(fresh)

    def _numbered(self) -> list[tuple[int, Entry]]:
        return list(enumerate(self._unwritten, start=self._next))

    def _written(self, fresh: Sequence[tuple[int, Entry]]) -> None:
        for _ in fresh:
            self._unwritten.popleft()
        self._next += len(fresh)
        self._waiting.extend(fresh)
        self._drop_unkept()
        self._to_deliver.set()

    def _append_or_say(self, fresh: Sequence[tuple[int, Entry]]) -> None:
        """Put what is new on the disk. A disk that refuses does not keep the store from having it."""
        if not fresh:
            return
        try:
            self._append(fresh)
        except OSError as fault:
            log.error("failover_log.disk_refuses", extra={"path": str(self._directory), "why": fault.strerror})

    def _append(self, fresh: Sequence[tuple[int, Entry]]) -> None:
        path = self._directory / _FILE
        if path.exists() and path.stat().st_size > self._generation_bytes:
            path.replace(self._directory / _OLD_FILE)
            self._oldest_kept, self._first_of_file = self._first_of_file, fresh[0][0]
        lines = "".join(json.dumps({"number": number} | one.as_json()) + "\n" for number, one in fresh)
        is_new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_directory(self._directory)

    def _drop_unkept(self) -> None:
        """What left the file and was not delivered is given up: the bound holds for memory too."""
        before = self.lost
        while self._waiting and self._waiting[0][0] < self._oldest_kept:
            self._waiting.popleft()
            self.lost += 1
        if self.lost > before:
            log.error("failover_log.entries_lost", extra={"entries": self.lost - before})

    async def _deliver_for_ever(self) -> None:
        pause_s, refusing = _FIRST_PAUSE_S, ""
        while True:
            if not self._waiting:
                self._to_deliver.clear()
                await self._to_deliver.wait()
                continue
            batch = list(self._waiting)[:BATCH]
            try:
                async with asyncio.timeout(DELIVER_S):
                    await self._sink.insert_entries([entry for _, entry in batch])
            except (EverlineError, TimeoutError) as fault:
                if not refusing:
                    log.warning("failover_log.store_refuses", extra={"why": str(fault) or "no answer in time"})
                refusing = str(fault) or "no answer in time"
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            pause_s, refusing = _FIRST_PAUSE_S, ""
            await asyncio.to_thread(self._note_delivered, self._delivered(batch))

    async def _deliver_last(self) -> None:
        """At the stop: why it stops should not have to wait for its next start. What fails is delivered then."""
        batch = list(self._waiting)[:BATCH]
        if not batch:
            return
        try:
            async with asyncio.timeout(LAST_DELIVERY_S):
                await self._sink.insert_entries([entry for _, entry in batch])
        except (EverlineError, TimeoutError):
            log.info("failover_log.left_for_the_next_start", extra={"entries": len(batch)})
            return
        self._note_delivered(self._delivered(batch))

    def _delivered(self, batch: Sequence[tuple[int, Entry]]) -> int:
        """Forget what the store has; the number of the last."""
        number = batch[-1][0]
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()
        return number

    def _note_delivered(self, number: int) -> None:
        fresh = self._directory / f"{_DELIVERED_FILE}.new"
        try:
            fresh.write_text(f"{number}\n", encoding="ascii")
            fresh.replace(self._directory / _DELIVERED_FILE)
        except OSError as fault:  # It is delivered once more after a restart.
            log.warning("failover_log.disk_refuses", extra={"path": str(self._directory), "why": fault.strerror})

    def _load(self) -> None:
        """What a former run left: a torn last line, as of a power loss, is cut off."""
        kept = self._directory / _DELIVERED_FILE
        text = kept.read_text(encoding="ascii", errors="replace").strip() if kept.exists() else ""
        delivered = int(text) if text.isdecimal() else 0
        old, new = (_read(self._directory / name) for name in (_OLD_FILE, _FILE))
        self._waiting.extend(one for one in [*old, *new] if one[0] > delivered)
        last = [*old, *new][-1][0] if old or new else 0
        self._next = max(last, delivered) + 1
        self._first_of_file = new[0][0] if new else self._next
        self._oldest_kept = old[0][0] if old else self._first_of_file
        if self._waiting:
            self._to_deliver.set()


def _read(path: Path) -> list[tuple[int, Entry]]:
    """The whole entries of a file; its end is made the end of a line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    found = []
    for line in data[:whole].splitlines():
        try:
            read = json.loads(line)
            number = int(read["number"])
        except (ValueError, KeyError, TypeError):
            continue
        if entry := parse_entry(read):
            found.append((number, entry))
    return found


def _sync_directory(path: Path) -> None:
    """A new file is only there after a power loss if its directory was written too."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _order(entry: Entry) -> tuple[int, str]:
    return entry.at_us, entry.entry_id

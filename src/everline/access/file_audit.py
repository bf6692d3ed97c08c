"""The audit log of a node that is alone: a file of JSON lines that is only added to."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from everline.access.audit import AuditEntry, in_order
from everline.access.errors import AuditUnavailableError


class FileAudit:
    """One line an entry; a line that a crash cut off is followed by whole ones, and its entry is written again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """
        Keep entries, on the disk when this returns.

        Raises:
            AuditUnavailableError: The disk does not take them.
        """
        async with self._turn:
            try:
                await asyncio.to_thread(self._append, entries)
            except OSError as fault:
                raise AuditUnavailableError(f"The audit log can't be written now: {fault.strerror}.") from fault

    async def entries(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """
        The latest with numbers below one, by number.

        Raises:
            AuditUnavailableError: The file can't be read.
        """
        try:
            return in_order(await asyncio.to_thread(self._read, before, limit))
        except OSError as fault:
            raise AuditUnavailableError(f"The audit log can't be read now: {fault.strerror}.") from fault

    def _append(self, entries: Sequence[AuditEntry]) -> None:
        lines = "".join(f"{one.encode()}\n" for one in entries)
        with os.fdopen(
            os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
        ) as file:
            # A line of its own, whatever an interrupted write has left.
            file.write(lines if file.tell() == 0 else f"\n{lines}")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, before: int | None, limit: int) -> list[AuditEntry]:
        latest: deque[AuditEntry] = deque(maxlen=2 * limit)  # An entry may stand there twice.
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    entry = _entry(line)
                    if entry and (before is None or entry.seq < before):
                        latest.append(entry)
        except FileNotFoundError:
            return []
        return in_order(latest)[-limit:]


def _entry(line: str) -> AuditEntry | None:
    try:
        return AuditEntry.parse(line)
    except ValueError:
        return None

"""Acts: carried out and written down in one transaction, once for each Idempotency-Key."""

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import Final, Protocol

from everline.access.audit import Act, AuditEntry, Head, Verdict, check_chain, in_order, next_entry
from everline.access.book import ENDED, HEAD, KEYS, PENDING, Book, Change
from everline.access.errors import AccessError, BookConflictError
from everline.access.sessions import SESSION_S

log = logging.getLogger(__name__)

TRIES: Final = 20
"""Other nodes write entries too: one of those who do so in the same moment succeeds, the others try again."""
JITTER_S: Final = 0.05
FLUSH_EVERY_S: Final = 2.0
AT_ONCE: Final = 100
SWEEP_EVERY_S: Final = 600.0
KEY_S: Final = 24 * 3600
"""So long a repeated request is known by its key."""


class AuditLog(Protocol):
    """Where entries stay: a file of one node, or ClickHouse."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Keep entries; those kept already are kept once. Raises AccessError when they are not kept."""
        ...

    async def entries(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """The latest with numbers below one, by number. Raises AuditUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Repeat:
    """
    What makes two requests one: who sends them, and the key.

    Attributes:
        request: Hash of what is asked for; a key that comes with something else is refused.
    """

    key: str
    request: str

    @classmethod
    def of(cls, who: str, key: str, *asked: str) -> "Repeat":
        """For a request of somebody."""
        return cls(_hash(who, key), _hash(*asked))

    @property
    def path(self) -> str:
        """In the book."""
        return f"{KEYS}/{self.key}"


class KeyReusedError(AccessError):
    """One key for two different requests."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request before: take a new one for a new request.")


class Trail:
    """
    Carries acts out, and keeps the log of them.

    `run` must run: it brings entries from the book into the log.

    Args:
        clock: UTC epoch seconds.
    """

    def __init__(self, book: Book, audit_log: AuditLog, *, node: str, clock: Callable[[], float] = time) -> None:
        self._book = book
        self._log = audit_log
        self._node = node
        self._clock = clock
        self._poked = asyncio.Event()
        self._is_behind = False

    async def perform(
        self, act: Act, changes: Sequence[Change] = (), *, repeat: Repeat | None = None, answer: str = ""
    ) -> str:
        """
        Make changes and write the act down: both, or neither.

        Gives `answer`, or what the first request was answered if this one repeats it: then nothing is done.

        Raises:
            KeyReusedError: The key came with something else.
            BookConflictError: What is to be changed was changed by somebody else.
            BookUnavailableError: Not now; whether it was done a repetition with the same key will tell.
        """
        for _ in range(TRIES):
            done = await self.done_before(repeat) if repeat else None
            if done is not None:
                return done
            head = await self._book.read(HEAD)
            end = Head.parse(head.text) if head else Head()
            at_us = int(self._clock() * 1e6)
            entry = next_entry(end, act, at_us=at_us, node=self._node)
            written = [
                Change(HEAD, Head(entry.seq, entry.digest).encode(), head.version if head else None),
                Change(f"{PENDING}/{entry.seq:012d}", entry.encode()),
            ]
            if repeat:
                written.append(Change(repeat.path, json.dumps([at_us, repeat.request, answer])))
            try:
                await self._book.commit([*changes, *written])
            except BookConflictError as fault:
                if fault.path in {one.path for one in changes}:
                    raise
                await asyncio.sleep(random.uniform(0, JITTER_S))  # noqa: S311 - so that two do not meet again
                continue
            self._poked.set()
            return answer
        raise BookConflictError(HEAD)

    async def done_before(self, repeat: Repeat) -> str | None:
        """
        What a request with this key was answered; None if none came.

        Raises:
            KeyReusedError: The key came with something else.
        """
        kept = await self._book.read(repeat.path)
        if kept is None:
            return None
        _, request, answer = json.loads(kept.text)
        if request != repeat.request:
            raise KeyReusedError
        return str(answer)

    async def entries(self, *, before: int | None = None, limit: int = 200) -> list[AuditEntry]:
        """
        The latest with numbers below one, by number; those that are not in the log yet too.

        Raises:
            AuditUnavailableError: The log can't be read.
            BookUnavailableError: What is not in it yet can't be read.
        """
        pending = [one for one in await self._pending() if before is None or one.seq < before]
        return in_order([*await self._log.entries(before=before, limit=limit), *pending])[-limit:]

    async def check(self) -> Verdict:
        """
        Look at the whole log, entry by entry.

        Raises:
            AuditUnavailableError: The log can't be read.
            BookUnavailableError: Its end is not known.
        """
        head = await self._book.read(HEAD)
        end = Head.parse(head.text) if head else Head()
        found: list[AuditEntry] = []
        before: int | None = end.seq + 1  # What is written meanwhile is looked at the next time.
        while before is not None:
            page = await self.entries(before=before, limit=1_000)
            found = page + found
            before = page[0].seq if page and page[0].seq > 1 else None
        return check_chain(in_order(found), end)

    async def run(self) -> None:
        """Bring entries from the book into the log, and forget what has expired, for ever."""
        swept_at = float("-inf")
        while True:
            self._poked.clear()
            try:
                await self._flush()
                if self._clock() - swept_at > SWEEP_EVERY_S:
                    await self._sweep()
                    swept_at = self._clock()
                self._is_behind = False
            except AccessError as fault:
                log.log(
                    logging.DEBUG if self._is_behind else logging.WARNING, "audit.behind", extra={"why": str(fault)}
                )
                self._is_behind = True
            try:
                async with asyncio.timeout(FLUSH_EVERY_S):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _pending(self) -> list[AuditEntry]:
        found = await self._book.folder(PENDING)
        return [AuditEntry.parse(leaf.text) for leaf in found.values()]

    async def _flush(self) -> None:
        found = list((await self._book.folder(PENDING)).items())
        for start in range(0, len(found), AT_ONCE):
            some = found[start : start + AT_ONCE]
            await self._log.append([AuditEntry.parse(leaf.text) for _, leaf in some])
            for name, leaf in some:
                await self._forget(f"{PENDING}/{name}", leaf.version)

    async def _sweep(self) -> None:
        now_us = self._clock() * 1e6
        for folder, lives_s in ((KEYS, KEY_S), (ENDED, SESSION_S)):
            for name, leaf in (await self._book.folder(folder)).items():
                if json.loads(leaf.text)[0] < now_us - lives_s * 1e6:
                    await self._forget(f"{folder}/{name}", leaf.version)

    async def _forget(self, path: str, version: int) -> None:
        try:
            await self._book.commit([Change(path, None, version)])
        except BookConflictError:
            return  # Another node has forgotten it.


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

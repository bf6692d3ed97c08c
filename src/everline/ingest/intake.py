"""The bounded queue between the sockets and the decoder."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Final

from everline.calls.decode import Datagram
from everline.ingest.ledger import Drop, Ledger
from everline.ingest.limits import SourceLimiter

MEAN_MESSAGE_BYTES: Final = 2_048
"""Queues are bounded in messages, and in bytes at so many a message: some three times what SIP takes."""


class Intake:
    """
    Takes datagrams from any socket, gives them in batches, never blocks, never grows beyond `capacity` messages.
    Once they hold `MEAN_MESSAGE_BYTES` each on average there is no room either; what is offered then is the last.

    A socket that can wait (UDP with its kernel buffer, TCP with its window) asks `room` before it reads, and is
    called back when there is room again: what waits in the kernel costs nothing.
    """

    def __init__(self, ledger: Ledger, *, capacity: int, limiter: SourceLimiter | None = None) -> None:
        self._ledger = ledger
        self._capacity = capacity
        self._limiter = limiter
        self._waiting: deque[Datagram] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._on_room: list[Callable[[], None]] = []
        self._closed = False
        self._batch_size = capacity

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more datagrams fit."""
        if self._bytes >= self._capacity * MEAN_MESSAGE_BYTES:
            return 0
        return self._capacity - len(self._waiting)

    def offer(self, datagrams: list[Datagram]) -> None:
        """Take datagrams just received; those over a limit are counted as dropped."""
        self._ledger.received += len(datagrams)
        if self._limiter is not None:
            datagrams = self._within_limits(datagrams, self._limiter)
        room = self.room
        if len(datagrams) > room:
            self._ledger.dropped[Drop.QUEUE_FULL] += len(datagrams) - room
            datagrams = datagrams[:room]
        self._waiting.extend(datagrams)
        self._bytes += _bytes_of(datagrams)
        if self._waiting:
            self._some.set()
            if len(self._waiting) >= self._batch_size:
                self._full.set()

    async def take(self, batch_size: int, wait_s: float) -> list[Datagram]:
        """
        The next batch: as soon as it is full, or `wait_s` after its first datagram came.

        Returns:
            1 to `batch_size` datagrams; none once the intake is closed and empty.
        """
        self._batch_size = batch_size
        if not self._waiting and not self._closed:
            self._some.clear()
            await self._some.wait()
        if len(self._waiting) < batch_size and not self._closed:
            self._full.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._full.wait()
            except TimeoutError:
                pass  # A batch need not be full.
        batch = list(islice(self._waiting, batch_size))
        for _ in batch:
            self._waiting.popleft()
        self._bytes -= _bytes_of(batch)
        waiting, self._on_room = self._on_room, []
        for resume in waiting:
            resume()
        return batch

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when the next batch was taken; there may be no room again by then."""
        self._on_room.append(resume)

    async def has_room(self) -> None:
        """Return when there is room."""
        while self.room <= 0:
            taken = asyncio.Event()
            self.when_room(taken.set)
            await taken.wait()

    def close(self) -> None:
        """Nothing more will be offered: `take` gives what is left, then nothing."""
        self._closed = True
        self._some.set()
        self._full.set()

    def _within_limits(self, datagrams: list[Datagram], limiter: SourceLimiter) -> list[Datagram]:
        now_s = monotonic()
        per_source = Counter(datagram.peer_ip for datagram in datagrams)
        admitted = {source: limiter.admit(source, count, now_s) for source, count in per_source.items()}
        passed: list[Datagram] = []
        for datagram in datagrams:
            if admitted[datagram.peer_ip] > 0:
                admitted[datagram.peer_ip] -= 1
                passed.append(datagram)
        self._ledger.dropped[Drop.RATE_LIMITED] += len(datagrams) - len(passed)
        return passed


def _bytes_of(datagrams: list[Datagram]) -> int:
    return sum([len(datagram[0]) for datagram in datagrams])

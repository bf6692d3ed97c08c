"""A sink's own queue: one sink being slow or down stops neither the other nor the sockets."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

from everline.calls.event import EventBatch
from everline.errors import EverlineError
from everline.ingest.intake import MEAN_MESSAGE_BYTES

log = logging.getLogger(__name__)

LARGEST_BATCH: Final = 20_000
"""Events that go into one insert at most."""
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 5.0


class EventSink(Protocol):
    """Where batches go: the store, and the bus."""

    async def insert(self, batch: EventBatch) -> None:
        """Take a batch; taking it twice changes nothing. Raises EverlineError when it can't now."""
        ...


class Lane:
    """
    Brings batches to one sink in order, each until the sink has taken it.

    Args:
        name: What the log calls it.
        capacity: Most events that wait here, of `MEAN_MESSAGE_BYTES` each on average; a batch that does not fit is
            given to `lost`, unless nothing else waits.
        taken: Called with the number of events of a batch that the sink has taken.
        lost: Called with the number of events of a batch that was given up.
        every_s: Least time between two inserts, for a sink to which many small ones cost more than few large ones;
            a full batch does not wait for it.
    """

    def __init__(
        self,
        name: str,
        sink: EventSink,
        *,
        capacity: int,
        taken: Callable[[int], None],
        lost: Callable[[int], None],
        every_s: float = 0.0,
    ) -> None:
        self._name = name
        self._sink = sink
        self._capacity = capacity
        self._taken = taken
        self._lost = lost
        self._every_s = every_s
        self._next_s = 0.0
        self._batches: deque[EventBatch] = deque()
        self._events = 0
        self._bytes = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._closed = False
        self._trying_since_s = 0.0
        self.refusing = ""

    @property
    def late_s(self) -> float:
        """For how long the sink has not taken the batch that it was given; 0 when it has none."""
        return monotonic() - self._trying_since_s if self._trying_since_s else 0

    @property
    def waiting(self) -> int:
        """Events that wait here, those being inserted included."""
        return self._events

    def offer(self, batch: EventBatch) -> None:
        """Take a batch, or give it up when there is no room for it."""
        size = _payload_bytes(batch)
        too_many = self._events + len(batch) > self._capacity
        if self._events and (too_many or self._bytes + size > self._capacity * MEAN_MESSAGE_BYTES):
            self._lost(len(batch))
            return
        self._batches.append(batch)
        self._events += len(batch)
        self._bytes += size
        self._some.set()
        if self._events >= LARGEST_BATCH:
            self._enough.set()

    def close(self) -> None:
        """Nothing more will be offered: `run` ends when what waits has been taken."""
        self._closed = True
        self._some.set()
        self._enough.set()

    async def run(self) -> None:
        """Bring batches to the sink until the lane is closed and empty."""
        while True:
            if not self._batches:
                if self._closed:
                    return
                self._some.clear()
                await self._some.wait()
                continue
            await self._pace()
            batch = self._joined()
            self._trying_since_s = monotonic()
            is_taken = await self._bring(batch)
            self._trying_since_s = 0.0
            self._events -= len(batch)
            self._bytes -= _payload_bytes(batch)
            (self._taken if is_taken else self._lost)(len(batch))

    async def _pace(self) -> None:
        """Wait until it is time for the next insert, there is a full batch, or the lane is closed."""
        wait_s = self._next_s - monotonic()
        if wait_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._enough.wait()
        if not self._closed:
            self._enough.clear()
        self._next_s = monotonic() + self._every_s

    def _joined(self) -> EventBatch:
        """What waits, as one batch of a bounded size: a sink that fell behind catches up in larger steps."""
        batches = [self._batches.popleft()]
        size = len(batches[0])
        while self._batches and size + len(self._batches[0]) <= LARGEST_BATCH:
            batches.append(self._batches.popleft())
            size += len(batches[-1])
        return EventBatch.concat(batches)

    async def _bring(self, batch: EventBatch) -> bool:
        """Whether the sink has taken the batch."""
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                await self._sink.insert(batch)
            except EverlineError as fault:
                if not self.refusing:
                    log.error("ingest.sink_refuses", extra={"sink": self._name, "why": str(fault)})
                self.refusing = str(fault)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_RETRY_S)
                continue
            except Exception:
                # A defect of the sink: it must stop neither the other sink nor the sockets, and the same batch
                # would only meet it again.
                log.exception("ingest.sink_failed", extra={"sink": self._name, "events": len(batch)})
                return False
            if self.refusing:
                log.warning("ingest.sink_accepts_again", extra={"sink": self._name})
                self.refusing = ""
            return True


def _payload_bytes(batch: EventBatch) -> int:
    return sum(map(len, batch.column("payload")))

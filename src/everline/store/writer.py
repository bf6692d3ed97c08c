"""
The writer of a cluster: an event that it took is on two servers, or on one and in the spool, or in the spool.

It never relies on quorum inserts, which stop with one replica; and never on deduplicated blocks, which leave the views
without rows. The same batch may be given any number of times.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from everline.calls.event import EventBatch
from everline.store.batch_codec import BatchDecodeError, BatchEncodeError, decode_batch_bytes, encode_batch
from everline.store.circuit import CircuitState
from everline.store.delivery import Acks, Delivery, WriteTimes
from everline.store.errors import StoreClosedError, StoreError
from everline.store.fault_codes import reason_of
from everline.store.routing import Target, split
from everline.store.servers import Server
from everline.store.spool import Position, Spool

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_REFUSALS: Final = 200
"""Refused pieces of one batch after which what is refused is given up as it is: a search must end."""
DRAINED_AT_ONCE: Final = 64
DRAINED_EVENTS: Final = 5_000
"""Spooled batches that are delivered as one, and the events at which one is large enough."""
SPOOL_S: Final = 10.0
"""Longest wait for the spool's disk."""
_SPOOL_THREADS: Final = 4
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_LOOK_S: Final = 5.0
"""An empty spool is looked at this often: a batch may have come into it whose task was cancelled meanwhile."""


class SpoolLateError(StoreError):
    """The spool's disk does not answer."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(f"the spool {spool.path} gives no answer within {SPOOL_S:g} s: look at its disk")


class NotDeliveredError(StoreError):
    """No two servers take a batch that is in the spool; it stays there."""

    def __init__(self) -> None:
        super().__init__("no two servers take what is spooled: it waits")


@dataclass(slots=True)
class _Oldest:
    """The oldest records of the spool, as one batch; what it still lacks is remembered from try to try."""

    positions: Sequence[Position]
    parts: dict[int, EventBatch]
    acks: dict[int, dict[str, int]] = field(default_factory=dict)


class ClusterWriter:
    """
    Takes batches for a cluster. `drain` has to run beside it, as a task of whoever made it.

    Attributes:
        stored: Events that two servers acknowledged, at once or out of the spool.
        spooled: Events that were put into the spool.
        rejected: Rows that no server can ever store, by reason; they are gone.
        unreadable: Spooled batches that could not be read back; they are gone.
        refusing: Why the last batch was not taken; empty when it was.
        spool: For its `size_bytes`, `records`, `oldest_at`, `damaged`.
    """

    def __init__(
        self, servers: Iterable[tuple[Target, Server]], spool: Spool, *, times: WriteTimes | None = None
    ) -> None:
        self.stored = 0
        self.spooled = 0
        self.rejected: Counter[str] = Counter()
        self.unreadable = 0
        self.refusing = ""
        self.spool = spool
        self._delivery = Delivery(servers, times or WriteTimes())
        self._threads = ThreadPoolExecutor(_SPOOL_THREADS, thread_name_prefix="store-spool")
        self._splitter = ThreadPoolExecutor(1, thread_name_prefix="store-split")
        self._appends = asyncio.Semaphore(_SPOOL_THREADS - 1)  # One thread is for reading.
        self._has_spooled = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._oldest: _Oldest | None = None
        self._is_draining = False
        self._is_closed = False

    @property
    def retries(self) -> int:
        """Batches that were given to a server again after its connection broke."""
        return self._delivery.retries

    @property
    def hedges(self) -> int:
        """Calls that were late, so that another server was asked too."""
        return self._delivery.hedges

    def server_states(self) -> dict[str, CircuitState]:
        """Whether each server is given batches."""
        return self._delivery.states()

    def server_faults(self) -> dict[str, str]:
        """Why servers do not take batches; those that do are not in it."""
        return {name: one.fault for name, one in self._delivery.members.items() if one.fault}

    def acknowledged(self) -> dict[str, int]:
        """Events that each server has acknowledged; all copies are counted."""
        return {name: one.acknowledged for name, one in self._delivery.members.items()}

    def failures(self) -> dict[str, int]:
        """How often each server has failed."""
        return {name: one.circuit.failures for name, one in self._delivery.members.items()}

    def spool_age_s(self, now_s: float) -> float:
        """For how long the oldest spooled batch has waited; `now_s` is UTC epoch seconds."""
        oldest_at = self.spool.oldest_at
        return max(0.0, now_s - oldest_at) if oldest_at is not None else 0.0

    def unready(self) -> tuple[str, ...]:
        """Why nothing more should be sent to this node: neither servers nor spool take it."""
        return (self.refusing,) if self.refusing else ()

    async def insert(self, batch: EventBatch) -> None:
        """
        Keep a batch: on two servers, or in the spool. Giving it again changes nothing.

        Raises:
            StoreError: Neither has taken all of it; give it again.
        """
        if self._is_closed:
            raise StoreClosedError
        if not len(batch):
            return
        parts = await self._in(self._splitter, partial(split, batch, self._delivery.shards))
        kept = await asyncio.gather(
            *(self._keep(part, shard, self._to_spool) for shard, part in parts.items()), return_exceptions=True
        )
        for fault in kept:
            if isinstance(fault, BaseException):
                self.refusing = str(fault)
                raise fault
        self.refusing = ""

    async def drain(self) -> None:
        """Deliver what is spooled, oldest first, until the writer is closed."""
        pause_s = _FIRST_PAUSE_S
        self._is_draining = True
        try:
            while not self._is_closed:
                if await self._deliver_oldest():
                    pause_s = _FIRST_PAUSE_S
                elif self._is_empty.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_S):
                            await self._has_spooled.wait()
                else:
                    await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - spreads load
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            self._is_draining = False

    async def close(self, within_s: float = 0.0) -> None:
        """
        Deliver what is spooled if that takes no longer than `within_s`; the rest stays for the next process.

        The servers are not closed.
        """
        if self._is_closed:
            return
        last = None if self._is_draining or not within_s else asyncio.create_task(self.drain(), name="spool-last")
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._is_empty.wait()
        if self._is_closed:  # By another call, meanwhile.
            return
        self._is_closed = True
        self._has_spooled.set()
        await self._delivery.close()
        if last:
            await last
        if self.spool.records:
            log.warning("store.spool_left", extra={"batches": self.spool.records, "bytes": self.spool.size_bytes})
        await asyncio.get_running_loop().run_in_executor(self._threads, self.spool.close)
        self._threads.shutdown(wait=False)
        self._splitter.shutdown(wait=False)

    async def _keep(
        self,
        batch: EventBatch,
        shard: int,
        otherwise: Callable[[EventBatch], Awaitable[None]],
        acks: Acks | None = None,
    ) -> None:
        """Store a batch of a shard; what can't be stored now goes `otherwise`, what never can is rejected."""
        pieces = [batch]
        rejected: Counter[str] = Counter()
        refusals = 0
        while pieces:
            piece = pieces.pop()
            refusal = await self._keep_piece(piece, shard, otherwise, acks if piece is batch else None)
            if refusal is None:
                continue
            refusals += 1
            if len(piece) == 1 or refusals > MOST_REFUSALS:
                rejected[reason_of(refusal)] += len(piece)
                log.error("store.rows_rejected", extra={"rows": len(piece), "why": str(refusal)[:300]})
            else:
                pieces += _halves(piece)
        self.rejected += rejected

    async def _keep_piece(
        self, batch: EventBatch, shard: int, otherwise: Callable[[EventBatch], Awaitable[None]], acks: Acks | None
    ) -> Exception | None:
        """Why some row of it can never be stored; none when it is kept."""
        outcome = await self._delivery.bring(batch, shard, acks)
        if outcome.is_stored:
            self.stored += len(batch)
            return None
        if outcome.refusal is not None:
            return outcome.refusal
        try:
            await otherwise(batch)
        except BatchEncodeError as refusal:
            return refusal
        return None

    async def _to_spool(self, batch: EventBatch) -> None:
        """
        Put a batch into the spool.

        Raises:
            BatchEncodeError: Some row can never be stored.
            StoreError: The spool does not take it.
        """
        try:
            async with asyncio.timeout(SPOOL_S), self._appends:
                await self._in(self._threads, lambda: self.spool.append(encode_batch(batch)))
        except TimeoutError as error:
            raise SpoolLateError(self.spool) from error
        self.spooled += len(batch)
        if self._is_empty.is_set() or not self._has_spooled.is_set():
            log.warning("store.spooling", extra={"faults": self.server_faults()})
        self._is_empty.clear()
        self._has_spooled.set()

    async def _deliver_oldest(self) -> bool:
        """Whether the oldest spooled batch was delivered."""
        try:
            if self._oldest is None:
                self._oldest = await self._in(self._threads, self._read_oldest)
            oldest = self._oldest
            if oldest is None:
                self._note_empty()
                return False
            if not self._delivery.may_take():
                return False
            for shard, part in tuple(oldest.parts.items()):
                await self._keep(part, shard, _not_delivered, oldest.acks.setdefault(shard, {}))
                del oldest.parts[shard]
            self._oldest = None
            for position in oldest.positions:
                await self._in(self._threads, partial(self.spool.done, position))
        except StoreError as fault:
            if not isinstance(fault, NotDeliveredError | StoreClosedError):
                log.error("store.spool_unreadable", extra={"why": str(fault)})
            return False
        return True

    def _read_oldest(self) -> _Oldest | None:
        """Many small batches cost servers more than one large one, and after an outage there are many."""
        while found := self.spool.peek_some(DRAINED_AT_ONCE):
            batches = self._decoded([record for _, record in found])
            if batches:
                positions = [position for position, _ in found[: len(batches)]]
                return _Oldest(positions, dict(split(EventBatch.concat(batches), self._delivery.shards)))
            self.spool.done(found[0][0])
        return None

    def _decoded(self, records: Sequence[bytes]) -> list[EventBatch]:
        """The first of these records, up to `DRAINED_EVENTS` and to the first that can't be read."""
        batches: list[EventBatch] = []
        for record in records:
            try:
                batches.append(decode_batch_bytes(record))
            except BatchDecodeError as fault:
                if not batches:
                    self.unreadable += 1
                    log.error("store.spooled_batch_unreadable", extra={"bytes": len(record), "why": str(fault)})
                break
            if sum(map(len, batches)) >= DRAINED_EVENTS:
                break
        return batches

    def _note_empty(self) -> None:
        if not self.spool.records and not self._is_empty.is_set():
            if self._has_spooled.is_set():
                log.warning("store.spool_drained")
            self._is_empty.set()
            self._has_spooled.clear()

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise StoreClosedError
        return await asyncio.get_running_loop().run_in_executor(threads, work)


async def _not_delivered(_batch: EventBatch) -> None:
    raise NotDeliveredError


def _halves(batch: EventBatch) -> list[EventBatch]:
    middle = len(batch) // 2
    return [
        EventBatch(tuple(column[:middle] for column in batch.columns)),
        EventBatch(tuple(column[middle:] for column in batch.columns)),
    ]

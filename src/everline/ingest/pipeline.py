"""From the intake to the sinks: batch, decode, hand over; and the drain at the end."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from everline.calls.decode import Datagram, Decoded, DecodeRules, decode_batch
from everline.calls.event import EventBatch
from everline.ingest.intake import Intake
from everline.ingest.lane import EventSink, Lane
from everline.ingest.ledger import Drop, Ledger

log = logging.getLogger(__name__)

DECODE_SLICE: Final = 500
"""Datagrams decoded without a break (some 3 ms): sockets and pages get their turn in between."""
DEFECT: Final = "internal_error"
"""Reason of a reject that is our own fault."""


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """
    Bounds of a node's ingest.

    Attributes:
        batch_events: Most datagrams in one batch.
        batch_s: Longest wait for a batch to fill, seconds.
        lane_events: Most events that wait for one sink.
        store_every_s: Least time between two inserts into the store.
    """

    batch_events: int = 5_000
    batch_s: float = 0.1
    lane_events: int = 60_000
    store_every_s: float = 0.0


class Pipeline:
    """Decode what the intake gives and bring it to two independent sinks, the store and the bus."""

    def __init__(
        self,
        intake: Intake,
        ledger: Ledger,
        rules: DecodeRules,
        limits: PipelineLimits,
        *,
        store: EventSink,
        bus: EventSink,
    ) -> None:
        self._intake = intake
        self._ledger = ledger
        self._rules = rules
        self._limits = limits
        self.store_lane = Lane(
            "store",
            store,
            capacity=limits.lane_events,
            taken=self._stored,
            lost=self._lost_to_store,
            every_s=limits.store_every_s,
        )
        self.bus_lane = Lane("bus", bus, capacity=limits.lane_events, taken=_nothing, lost=self._lost_to_bus)

    async def run(self) -> None:
        """Work until the intake is closed and everything was handed over."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.store_lane.run(), name="store-lane")
            tasks.create_task(self.bus_lane.run(), name="bus-lane")
            while datagrams := await self._intake.take(self._limits.batch_events, self._limits.batch_s):
                await self._hand_over(datagrams)
            self.store_lane.close()
            self.bus_lane.close()

    def give_up(self) -> None:
        """After `run` ended or was cancelled because the drain took too long: count what is left as dropped."""
        left = self._ledger.pending
        if left:
            log.error("ingest.drain_gave_up", extra={"events": left})
            self._ledger.dropped[Drop.DRAIN_TIMEOUT] += left

    async def _hand_over(self, datagrams: Sequence[Datagram]) -> None:
        parts: list[EventBatch] = []
        for start in range(0, len(datagrams), DECODE_SLICE):
            decoded = self._decoded(datagrams[start : start + DECODE_SLICE])
            self._ledger.rejected.update(decoded.rejected)
            self._ledger.clamped += decoded.clamped
            parts.append(decoded.batch)
            await asyncio.sleep(0)
        batch = EventBatch.concat(parts)
        if len(batch):
            self.store_lane.offer(batch)
            self.bus_lane.offer(batch)

    def _decoded(self, datagrams: Sequence[Datagram]) -> Decoded:
        try:
            return decode_batch(datagrams, self._rules)
        except Exception:
            if len(datagrams) > 1:
                return _joined([self._decoded([one]) for one in datagrams])
            # A defect of the decoder: whoever can send a packet must not be able to stop the node with it.
            log.exception("ingest.decode_failed", extra={"bytes": len(datagrams[0].data)})
            return Decoded(EventBatch.of(()), Counter({DEFECT: 1}))

    def _stored(self, events: int) -> None:
        self._ledger.stored += events

    def _lost_to_store(self, events: int) -> None:
        reason = Drop.STORE_REFUSED if self.store_lane.refusing else Drop.STORE_BEHIND
        self._ledger.dropped[reason] += events

    def _lost_to_bus(self, events: int) -> None:
        self._ledger.bus_dropped += events


def _joined(parts: Sequence[Decoded]) -> Decoded:
    whole = Decoded(EventBatch.concat([one.batch for one in parts]))
    for one in parts:
        whole.rejected.update(one.rejected)
        whole.clamped += one.clamped
    return whole


def _nothing(_events: int) -> None:
    """What live state took is not counted: it is made of what the store has."""

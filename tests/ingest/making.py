"""Messages, sinks and a running pipeline for the tests of ingest."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from everline.calls.decode import Datagram, DecodeRules
from everline.calls.event import EventBatch
from everline.errors import EverlineError
from everline.ingest.intake import Intake
from everline.ingest.ledger import Ledger
from everline.ingest.limits import SourceLimiter
from everline.ingest.pipeline import Pipeline, PipelineLimits
from everline.wire.hep import encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

WITHIN_S = 10.0
NOW_US = 1_790_000_000_000_000
CALLER, CALLEE = ("192.0.2.1", 5060), ("198.51.100.2", 5060)


def sip(call_id: str, method: str = "OPTIONS", *, padding: int = 0) -> bytes:
    """A small SIP request."""
    return (
        f"{method} sip:b@example.com SIP/2.0\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nX-Padding: {'x' * padding}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def hep(call_id: str, method: str = "OPTIONS", *, auth_key: bytes = b"", padding: int = 0) -> bytes:
    """The same in a HEP3 packet."""
    packet = CapturedPacket(NOW_US, IPPROTO_UDP, *CALLER, *CALLEE, sip(call_id, method, padding=padding))
    return encode_hep3(packet, auth_key=auth_key)


def datagram(data: bytes, peer_ip: str = "192.0.2.9") -> Datagram:
    """As a socket would give it."""
    return Datagram(data, NOW_US, peer_ip, 9060)


def datagrams(count: int, name: str = "call") -> list[Datagram]:
    """Good ones."""
    return [datagram(hep(f"{name}-{index}")) for index in range(count)]


class RefusedError(EverlineError):
    """What a sink says that is down."""


class FakeSink:
    """A sink that does as it is told: takes, refuses, hangs, or is slow."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.entered = asyncio.Event()
        self.refusals = 0
        self.fault: Exception = RefusedError("not now")

    async def insert(self, batch: EventBatch) -> None:
        """Take a batch, or not."""
        self.entered.set()
        await self.may_take.wait()
        if self.refusals:
            self.refusals -= 1
            raise self.fault
        self.batches.append(batch)

    @property
    def call_ids(self) -> list[str]:
        """Call-IDs of the events taken, in order."""
        return [call_id for batch in self.batches for call_id in batch.column("call_id")]


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Return once a condition holds; fail when it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a condition of many parts has no one event
            await asyncio.sleep(0.001)


class Ingest:
    """An intake, a pipeline and its two sinks."""

    def __init__(
        self, *, capacity: int = 100, batch: int = 10, auth_key: bytes = b"", limiter: SourceLimiter | None = None
    ) -> None:
        self.ledger = Ledger()
        self.intake = Intake(self.ledger, capacity=capacity, limiter=limiter)
        self.store, self.bus = FakeSink(), FakeSink()
        self.pipeline = Pipeline(
            self.intake,
            self.ledger,
            DecodeRules("n1", auth_key=auth_key),
            PipelineLimits(batch_events=batch, batch_s=0.001, lane_events=capacity),
            store=self.store,
            bus=self.bus,
        )

    @property
    def queued(self) -> int:
        """Messages that wait, counted where they wait."""
        return len(self.intake) + self.pipeline.store_lane.waiting

    async def settled(self) -> None:
        """Return when nothing is on its way."""
        await until(lambda: self.ledger.pending == 0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work, and at the end drain."""
        task = asyncio.create_task(self.pipeline.run())
        try:
            yield
        finally:
            self.intake.close()
            async with asyncio.timeout(WITHIN_S):
                await task

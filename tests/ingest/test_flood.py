"""Ten times more than a node can take, over a real socket: every loss is counted, queues stay bounded, it recovers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.ingest.making import WITHIN_S, Ingest, hep, until
from tests.node.flood import flood, send_all

from everline.calls.event import EventBatch
from everline.ingest.limits import SourceLimiter
from everline.ingest.udp import UdpListener

STORE_PER_S = 2_000
CAPACITY = 2_000


class SlowSink:
    """A store that takes so many events a second."""

    def __init__(self) -> None:
        self.stored = 0

    async def insert(self, batch: EventBatch) -> None:
        """Take a batch, in its time."""
        await asyncio.sleep(len(batch) / STORE_PER_S)
        self.stored += len(batch)


class FloodedNode:
    """A socket, a pipeline and a slow store, watched all the time."""

    def __init__(self, *, auth_key: bytes = b"", limiter: SourceLimiter | None = None) -> None:
        self.ingest = Ingest(capacity=CAPACITY, batch=200, auth_key=auth_key, limiter=limiter)
        self.sink = SlowSink()
        self.ingest.pipeline.store_lane._sink = self.sink
        self.listener = UdpListener("127.0.0.1", 0, self.ingest.intake, self.ingest.ledger, buffer_bytes=256 * 1024)
        self.most_waiting = 0

    async def watch(self) -> None:
        """Note the longest queue, for ever."""
        lanes = self.ingest.pipeline.store_lane, self.ingest.pipeline.bus_lane
        while True:
            self.most_waiting = max(self.most_waiting, len(self.ingest.intake), *(one.waiting for one in lanes))
            assert self.ingest.ledger.pending >= 0
            await asyncio.sleep(0)

    @property
    def accounted(self) -> int:
        """Messages received or dropped by the kernel."""
        self.listener.count_kernel_drops()
        return self.ingest.ledger.received + self.ingest.ledger.kernel_drops


@asynccontextmanager
async def flooded(
    messages: list[bytes], *, auth_key: bytes = b"", limiter: SourceLimiter | None = None
) -> AsyncIterator[FloodedNode]:
    """A node that had a flood for a second, and has settled."""
    node = FloodedNode(auth_key=auth_key, limiter=limiter)
    async with node.ingest.running():
        watching = asyncio.create_task(node.watch())
        to = (node.listener.host, node.listener.port)
        sent = await asyncio.to_thread(flood, to, messages, seconds=1.0, per_s=10 * STORE_PER_S)
        await until(lambda: node.accounted == sent)
        await node.ingest.settled()
        assert node.most_waiting <= CAPACITY
        yield node
        watching.cancel()
        await asyncio.wait([watching])
        await node.listener.drain()


async def test_in_a_flood_every_loss_is_counted_and_then_all_is_well_again() -> None:
    """Sent = received + kernel drops; received = stored + rejected + dropped; afterwards nothing is lost."""
    async with flooded([hep(f"flood-{index}") for index in range(500)]) as node:
        ledger = node.ingest.ledger
        assert ledger.dropped["store_behind"] > 0
        assert ledger.received == ledger.stored + ledger.dropped.total()
        assert ledger.stored == node.sink.stored
        lost, stored = ledger.dropped.total() + ledger.kernel_drops, ledger.stored

        to = (node.listener.host, node.listener.port)
        await asyncio.to_thread(send_all, to, [hep(f"after-{index}") for index in range(500)], per_s=1_000)
        await until(lambda: ledger.stored == stored + 500, WITHIN_S)
        node.listener.count_kernel_drops()
        assert ledger.dropped.total() + ledger.kernel_drops == lost


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        pytest.param([hep("x", auth_key=b"guess"), hep("y")], {"wrong_auth_key"}, id="wrong-key"),
        pytest.param([hep("x", auth_key=b"s3cret")[:-30], b"HEP3\x00\x07x"], None, id="broken-hep"),
    ],
)
async def test_a_flood_of_what_is_no_message_costs_nobody_else(messages: list[bytes], reason: set[str] | None) -> None:
    """It is counted by reason, never reaches the store, and leaves no trace."""
    async with flooded(messages, auth_key=b"s3cret") as node:
        ledger = node.ingest.ledger
        assert ledger.received == ledger.rejected.total() > 0
        assert reason is None or set(ledger.rejected) == reason
        assert node.sink.stored == 0

        to = (node.listener.host, node.listener.port)
        await asyncio.to_thread(send_all, to, [hep("good", auth_key=b"s3cret")])
        await until(lambda: ledger.stored == 1)


async def test_a_flood_over_the_limit_of_its_source_never_reaches_the_decoder() -> None:
    """It is counted as that."""
    limiter = SourceLimiter(rate_per_s=100, burst=100)
    async with flooded([hep("x")], limiter=limiter) as node:
        ledger = node.ingest.ledger

        assert ledger.stored <= 100 + 100 * 2
        assert ledger.dropped["rate_limited"] == ledger.received - ledger.stored

"""Where packets come in: the sockets, the intake and the pipeline of a node, started and drained in order."""

import asyncio
import ssl
from collections.abc import Callable

from everline.app.services import PacketLedger
from everline.calls.decode import DecodeRules
from everline.config import Endpoint, IngestConfig
from everline.ingest.intake import Intake
from everline.ingest.keepalives import Keepalives
from everline.ingest.lane import EventSink
from everline.ingest.ledger import Ledger
from everline.ingest.limits import SourceLimiter
from everline.ingest.pipeline import Pipeline, PipelineLimits
from everline.ingest.proxies import KnownProxies
from everline.ingest.stream import LAST_READS_S, StreamListener
from everline.ingest.udp import UdpListener
from everline.metrics import IngestMeasured

KERNEL_DROPS_EVERY_S = 1.0
STORE_LATE_S = 20.0
"""A store that takes this long for one batch is no store to rely on."""


class Front:
    """
    Takes packets in and brings them to the two sinks, until it is drained.

    Args:
        node: Name of the node, in every event that it takes.
        store_every_s: Least time between two inserts into the store.
        keepalives: How balancers are answered; without a key unless given.

    Raises:
        ListenError: The UDP address can't be had.
    """

    def __init__(
        self,
        config: IngestConfig,
        *,
        node: str,
        store: EventSink,
        bus: EventSink,
        store_every_s: float = 0.0,
        keepalives: Keepalives | None = None,
    ) -> None:
        self._config = config
        self._node = node
        self._store_every_s = store_every_s
        self._ledger = Ledger()
        limiter = (
            SourceLimiter(rate_per_s=config.source_rate_per_s, burst=config.source_burst)
            if config.source_rate_per_s
            else None
        )
        self._intake = Intake(self._ledger, capacity=config.queue_events, limiter=limiter)
        self._keepalives = keepalives or Keepalives()
        self._udp = UdpListener(
            *config.hep, self._intake, self._ledger,
            buffer_bytes=config.receive_buffer_bytes, keepalives=self._keepalives,
        )  # fmt: skip
        proxies = KnownProxies(config.proxies)
        self._streams = [StreamListener(self._intake, self._ledger, proxies=proxies)]
        self._pipeline = Pipeline(self._intake, self._ledger, self._rules(), self._limits(), store=store, bus=bus)
        self.ingesting = asyncio.create_task(self._pipeline.run(), name="ingest")

    @property
    def hep(self) -> Endpoint:
        """Where HEP is taken, with the port that the system chose if it was to."""
        return Endpoint(self._udp.host, self._udp.port)

    @property
    def takes_tls(self) -> bool:
        """Whether it listens for TLS as well."""
        return len(self._streams) > 1

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Take packets over TCP, and over TLS if there is a certificate, as well."""
        await self._streams[0].listen(self.hep.host, self.hep.port)
        if tls:
            self._streams.append(StreamListener(self._intake, self._ledger))
            await self._streams[1].listen(*self._config.tls, tls=tls)

    async def watch_kernel_drops(self) -> None:
        """Bring the kernel's count into the ledger, for ever."""
        while True:
            self._udp.count_kernel_drops()
            await asyncio.sleep(KERNEL_DROPS_EVERY_S)

    async def drain(self) -> None:
        """Close the sockets and store what was taken, within the time configured for it; count what could not be."""
        within_s = self._config.drain_s
        try:
            async with asyncio.timeout(within_s):
                last_reads_s = min(LAST_READS_S, within_s / 4)
                await asyncio.gather(*(stream.close(last_reads_s) for stream in self._streams))
                await self._udp.drain()
                self._intake.close()
                await asyncio.wait([self.ingesting])
        except TimeoutError:
            self._udp.close()
        if not self.ingesting.done():
            self.ingesting.cancel()
            await asyncio.wait([self.ingesting])
        self._pipeline.give_up()

    def measured(self) -> IngestMeasured:
        """What it has to count."""
        return IngestMeasured(
            ledger=self._ledger,
            intake=self._intake,
            pipeline=self._pipeline,
            connections=self._sum(lambda stream: stream.connections),
            refused=self._sum(lambda stream: stream.refused),
            receive_buffer_bytes=self._udp.buffer_bytes,
            keepalives=self._keepalives,
        )

    def packet_ledger(self) -> PacketLedger:
        """What became of every message received."""
        ledger = self._ledger
        return PacketLedger(
            received=ledger.received,
            stored=ledger.stored,
            rejected=ledger.rejected.total(),
            dropped=ledger.dropped.total(),
            pending=ledger.pending,
            kernel_drops=ledger.kernel_drops,
        )

    def unready(self) -> list[str]:
        """Why it should be sent nothing now."""
        lane = self._pipeline.store_lane
        if lane.refusing:
            return [f"the store takes nothing: {lane.refusing}"]
        if lane.late_s > STORE_LATE_S:
            return [f"the store has not answered for {lane.late_s:.0f} s"]
        return []

    def _sum(self, count: Callable[[StreamListener], int]) -> Callable[[], int]:
        return lambda: sum(map(count, self._streams))

    def _rules(self) -> DecodeRules:
        config = self._config
        return DecodeRules(
            node=self._node,
            local_ip=self.hep.host,
            local_port=self.hep.port,
            auth_key=config.hep_key(),
            max_age_us=config.max_capture_age_s * 1_000_000,
            max_ahead_us=config.max_capture_ahead_s * 1_000_000,
        )

    def _limits(self) -> PipelineLimits:
        config = self._config
        return PipelineLimits(
            batch_events=config.batch_events,
            batch_s=config.batch_ms / 1000,
            lane_events=config.queue_events,
            store_every_s=self._store_every_s,
        )

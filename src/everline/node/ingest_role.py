"""An ingest node: sockets in, two servers or the spool out."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from time import time, time_ns
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.app.vitals import create_vitals_app
from everline.balance.health import PROBE_EVERY_S
from everline.cluster.beat import Health, StoreHealth
from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.leader import Duty
from everline.cluster.wiring import ingest_config, keepalive_key
from everline.ingest.keepalives import Keepalives
from everline.ingest.tls import server_context
from everline.metrics import Measured, NodeCollector, by_reason, counter
from everline.node.common import Common, Vitals
from everline.node.front import Front
from everline.store.circuit import CircuitState
from everline.store.delivery import WriteTimes
from everline.store.routing import targets_of
from everline.store.spool import Spool
from everline.store.writer import ClusterWriter

log = logging.getLogger(__name__)

SPOOL_DIR: Final = "spool"
SPOOL_LOOK_S: Final = 1.0
ASKED_S: Final = 2.0
BALANCERS_LEAVE_S: Final = 3 * PROBE_EVERY_S
"""Balancers that have asked lately hear within one round that the node stops, and send their packets to others."""
LAST_DELIVERY_S: Final = 2.0
"""How long a node that stops tries to deliver what is spooled; the rest waits for its next start."""


class IngestRole:
    """
    Takes packets in. It stands for no election: what it does must go on whoever leads.

    Raises:
        ListenError: An address can't be had.
        StoreLockedError: Another process has the spool.
    """

    duties: Sequence[Duty] = ()

    def __init__(self, common: Common, note: Callable[[Entry], None]) -> None:
        topology, node, timers = common.topology, common.node, common.topology.timers
        self._common = common
        self._note = note
        self._config = ingest_config(topology, node, common.secrets)
        targets = {target.name: target for target in targets_of(topology, node)}
        self._spool = Spool.open(common.data / SPOOL_DIR, max_bytes=topology.store.spool_bytes)
        self._writer = ClusterWriter(
            [(targets[server.name], server) for server in common.servers],
            self._spool,
            times=WriteTimes(hedge_s=timers.hedge_ms / 1000, insert_s=timers.insert_ms / 1000),
        )
        self._vitals: Vitals | None = None
        self._keepalives = Keepalives(keepalive_key(common.secrets), is_draining=self._is_draining)
        self._front = Front(
            self._config,
            node=node.name,
            store=self._writer,
            bus=common.bus,
            store_every_s=topology.store.insert_every_ms / 1000,
            keepalives=self._keepalives,
        )
        self._spooling_since_us = 0
        self._spooled_bytes = 0
        self._is_alarmed = False

    def collectors(self) -> Sequence[Collector]:
        """What it counts."""
        measured = Measured(node=self._common.node.name, ingest=self._front.measured(), bus=self._common.bus)
        return [NodeCollector(measured), WriterCollector(self._writer)]

    def application(self, vitals: Vitals) -> ASGIApp:
        """What machines ask."""
        self._vitals = vitals
        return create_vitals_app(vitals.unready, vitals.metrics)

    def health(self, token: int) -> Health:
        """What its heartbeats say."""
        ledger = self._front.packet_ledger()
        return Health(
            store=self._store_health(),
            bus_ok=not self._common.primary.trouble,
            spool_bytes=self._spool.size_bytes,
            spool_age_s=self._writer.spool_age_s(time()),
            leader_token=token,
            received=ledger.received,
            stored=ledger.stored,
        )

    def unfit(self) -> str:
        """It never leads."""
        return ""

    def unready(self) -> list[str]:
        """Why it should be sent nothing now."""
        return [*self._writer.unready(), *self._front.unready()]

    async def start(self) -> None:
        """Listen."""
        await self._front.start(self._tls())

    async def run(self) -> None:
        """Take packets in, deliver what is spooled, count, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._front.watch_kernel_drops(), name="kernel-drops")
            tasks.create_task(self._writer.drain(), name="spool-drain")
            tasks.create_task(self._watch_spool(), name="spool-watch")
            await self._front.ingesting

    async def stop(self) -> None:
        """Let the balancers go, close the sockets, keep what was taken, deliver what of it is soon delivered."""
        if self._keepalives.asked_within(ASKED_S):
            await asyncio.sleep(BALANCERS_LEAVE_S)
        await self._front.drain()
        await self._writer.close(LAST_DELIVERY_S)

    def _is_draining(self) -> bool:
        """Whatever makes it not ready makes balancers send to others, drained or stopping among it."""
        return bool(self._vitals and self._vitals.unready())

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self._config.tls_certificate, self._config.tls_key
        return server_context(certificate, key) if certificate and key else None

    def _store_health(self) -> StoreHealth:
        if self._writer.unready():
            return StoreHealth.DOWN
        return StoreHealth.SPOOLING if self._spool.records else StoreHealth.OK

    async def _watch_spool(self) -> None:
        """Tell the failover log when spooling begins and ends; raise the alarm when it lasts."""
        while True:
            has_records = self._spool.records > 0
            if has_records and not self._spooling_since_us:
                self._spooling_since_us = time_ns() // 1000
                self._tell(Kind.SPOOL_STARTED, "; ".join(sorted(self._writer.server_faults().values()))[:300])
            if has_records:
                self._spooled_bytes = max(self._spooled_bytes, self._spool.size_bytes)
            if not has_records and self._spooling_since_us:
                self._tell(Kind.SPOOL_DRAINED, "", spooled_bytes=self._spooled_bytes)
                self._spooling_since_us = self._spooled_bytes = 0
            self._alarm()
            await asyncio.sleep(SPOOL_LOOK_S)

    def _alarm(self) -> None:
        age_s = self._writer.spool_age_s(time())
        is_old = age_s > self._common.topology.store.spool_alarm_s
        if is_old and not self._is_alarmed:
            log.error("store.spool_old", extra={"age_s": round(age_s), "bytes": self._spool.size_bytes})
        self._is_alarmed = is_old

    def _tell(self, kind: Kind, reason: str, **details: int) -> None:
        node, now_us = self._common.node, time_ns() // 1000
        self._note(
            make_entry(kind, now_us, node=node.name, by=node.name, region=node.region, reason=reason, details=details)
        )


class WriterCollector(Collector):
    """The writer and its spool; described in docs/metrics.md."""

    def __init__(self, writer: ClusterWriter) -> None:
        self._writer = writer

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        writer, spool = self._writer, self._writer.spool
        yield counter("everline_store_acknowledged", "Events that two servers have acknowledged.", writer.stored)
        yield counter("everline_store_spooled", "Events that were put into the spool.", writer.spooled)
        yield by_reason("everline_store_rows_rejected", "Events no server can ever store.", dict(writer.rejected))
        yield counter("everline_store_retries", "Batches given again after a broken connection.", writer.retries)
        yield counter("everline_store_hedges", "Calls so late that another server was asked too.", writer.hedges)
        yield GaugeMetricFamily("everline_spool_bytes", "What waits in the spool.", spool.size_bytes)
        yield GaugeMetricFamily("everline_spool_records", "Batches that wait in the spool.", spool.records)
        age_s = writer.spool_age_s(time())
        yield GaugeMetricFamily("everline_spool_age_seconds", "For how long the oldest batch has waited.", age_s)
        damaged = spool.damaged + writer.unreadable
        yield counter("everline_spool_damaged", "Places of the spool that could not be read back.", damaged)
        up = GaugeMetricFamily("everline_store_server_up", "1 while a server is given batches.", labels=["server"])
        for name, state in writer.server_states().items():
            up.add_metric([name], state is CircuitState.CLOSED)
        yield up

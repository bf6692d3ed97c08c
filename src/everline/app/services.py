"""What the web application stands on: handed in once, so that a test can hand in its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Protocol

from starlette.requests import Request

from everline.access.desk import Desk
from everline.access.gate import Gate
from everline.app.cluster_view import Glance, Sighting
from everline.bus.live import LiveBus
from everline.calls.event import Event
from everline.calls.kpi import KpiBucket, Kpis
from everline.calls.record import CallRecord
from everline.cluster.entry import Entry
from everline.store.filters import CallFilter, CallPage, FailedTarget, PageKey
from everline.store.reports import Reports
from everline.topology.model import Topology


class CallStore(Protocol):
    """Where calls are looked up: the embedded engine in one process, the replicated cluster elsewhere."""

    @property
    def partial_since(self) -> float | None:
        """Since when a part of the store can't be asked, epoch seconds; None while answers are whole."""
        ...

    async def search(self, wanted: CallFilter, *, limit: int, after: PageKey | None = None) -> CallPage:
        """One page of calls, newest first."""
        ...

    async def call(self, call_id: str) -> CallRecord | None:
        """The record of one call; None for a Call-ID that has no INVITE."""
        ...

    async def records(self, call_ids: Sequence[str]) -> list[CallRecord]:
        """The records of some calls."""
        ...

    async def messages(self, call_id: str) -> list[Event]:
        """Its messages by capture time, each once."""
        ...

    async def reports(self, since_us: int, until_us: int) -> Reports:
        """The newest RTCP of a range over all calls."""
        ...

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """The figures of the calls that began in a range."""
        ...

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """The same, step by step."""
        ...

    async def top_failures(self, since_us: int, until_us: int, *, limit: int) -> list[FailedTarget]:
        """Destinations that calls of a range failed to reach, most often first."""
        ...


class ClusterSight(Protocol):
    """How an app node sees its cluster."""

    @property
    def topology(self) -> Topology:
        """What cluster.yaml says."""
        ...

    def glance(self) -> Sequence[Glance]:
        """The line of the status strip, at once."""
        ...

    async def look(self) -> Sighting:
        """Every program, asked now or a moment ago."""
        ...

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """The latest entries of the failover log since a time, newest last."""
        ...

    async def drain(self, node: str, *, who: str, reason: str) -> None:
        """Take a node out of service; again: nothing more. Raises EverlineError while Keeper can't note it."""
        ...

    async def undrain(self, node: str) -> None:
        """Take it back; the same."""
        ...


@dataclass(frozen=True, slots=True)
class PacketLedger:
    """
    What became of every message received: `received = stored + rejected + dropped + pending`.

    Attributes:
        kernel_drops: Datagrams that never reached us, because the socket's buffer was full.
    """

    received: int = 0
    stored: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0
    kernel_drops: int = 0

    @property
    def lost(self) -> int:
        """Messages that will never be stored."""
        return self.dropped + self.kernel_drops

    @property
    def missing(self) -> int:
        """Messages that the other figures do not account for; 0 when the ledger balances."""
        return self.received - self.stored - self.rejected - self.dropped - self.pending


@dataclass(frozen=True, slots=True)
class Services:
    """
    Everything that `create_app` needs.

    Attributes:
        metrics: Gives the Prometheus text.
        ledger: Gives the packet ledger of this node.
        readiness: Gives the reasons why this node must get no requests now; none when it is ready.
        node: The name of this node.
        gate: Who may come in.
        cluster: What this node sees of its cluster; None if it is alone.
        clock: UTC epoch seconds.
        closing: Set once this node takes no more requests: streams end, and go on elsewhere.
    """

    store: CallStore
    bus: LiveBus
    metrics: Callable[[], str]
    ledger: Callable[[], PacketLedger]
    readiness: Callable[[], Sequence[str]]
    node: str
    gate: Gate
    cluster: ClusterSight | None = None
    clock: Callable[[], float] = time
    closing: asyncio.Event = field(default_factory=asyncio.Event)


def raw_services_of(request: Request) -> Services:
    """What `create_app` was given, numbers as they are: for what is written down, or shows none."""
    services: Services = request.app.state.services
    return services


def gate_of(request: Request) -> Gate:
    """Who may come in."""
    return raw_services_of(request).gate


def desk_of(request: Request) -> Desk:
    """What is done with users and tokens."""
    return Desk(gate_of(request))

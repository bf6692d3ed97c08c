"""What the web application stands on: handed in once, so that a test can hand in its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import Protocol

from everline.bus.live import LiveBus
from everline.calls.event import Event
from everline.calls.kpi import KpiBucket, Kpis
from everline.calls.record import CallRecord
from everline.store.filters import CallFilter, CallPage, PageKey


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

    async def messages(self, call_id: str) -> list[Event]:
        """Its messages by capture time, each once."""
        ...

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """The figures of the calls that began in a range."""
        ...

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """The same, step by step."""
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
        admin_token: Lets its bearer in; at least 16 characters.
        session_key: Signs session cookies; the same on every node, so that any of them may answer.
        clock: UTC epoch seconds.
    """

    store: CallStore
    bus: LiveBus
    metrics: Callable[[], str]
    ledger: Callable[[], PacketLedger]
    readiness: Callable[[], Sequence[str]]
    node: str
    admin_token: str
    session_key: bytes
    clock: Callable[[], float] = time

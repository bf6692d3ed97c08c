"""What became of every message: the equation that an ingest node is held to."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Drop(StrEnum):
    """Why a message that was received was given up: a closed set, it labels a counter."""

    QUEUE_FULL = "queue_full"
    RATE_LIMITED = "rate_limited"
    STORE_BEHIND = "store_behind"
    STORE_REFUSED = "store_refused"
    DRAIN_TIMEOUT = "drain_timeout"


@dataclass(slots=True)
class Ledger:
    """
    Counts of messages: `received = stored + rejected + dropped + pending`, at every moment.

    A message is received when it was read from a socket. What the kernel threw away before that is `kernel_drops`.

    Attributes:
        stored: Acknowledged by the store.
        rejected: Gave no event, by reason.
        dropped: Given up for lack of room, or over the limit of its source, by reason.
        clamped: Events whose capture time was replaced by the receive time; they are stored.
        kernel_drops: Datagrams that the kernel dropped because the socket's buffer was full.
        stream_lost_bytes: Bytes of TCP and TLS streams that no message could be made of, by reason.
        bus_dropped: Events that live state missed; the store has them.
    """

    received: int = 0
    stored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    clamped: int = 0
    kernel_drops: int = 0
    stream_lost_bytes: Counter[str] = field(default_factory=Counter)
    bus_dropped: int = 0

    @property
    def pending(self) -> int:
        """Messages that are on their way to the store."""
        return self.received - self.stored - self.rejected.total() - self.dropped.total()

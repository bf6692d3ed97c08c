"""What a drill has sent: every event with its key, its time, and the nodes it was given to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.event import Event
from everline.errors import EverlineError

_RULES = DecodeRules("drill")


class LedgerError(EverlineError):
    """The ledger holds what no node could store: the generator is at fault, not the cluster."""


@dataclass(slots=True)
class Sent:
    """
    One event that was sent.

    Attributes:
        sent_us: Its capture time, which is when it was sent, UTC epoch microseconds.
        to: Names of the nodes that it was given to and that did not refuse it.
    """

    call_id: str
    event_key: int
    sent_us: int
    datagram: bytes
    to: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outage:
    """A node took nothing from one time to another, epoch microseconds: what was sent there then never arrived."""

    node: str
    since_us: int
    until_us: int

    def covers(self, node: str, sent_us: int) -> bool:
        """Whether an event sent to a node at a time fell into it."""
        return node == self.node and self.since_us <= sent_us <= self.until_us


@dataclass(slots=True)
class SendLedger:
    """
    Everything that one run sent.

    Attributes:
        refused: By (node, reason) how many sends failed: `refused` where the peer's host said that nobody listens
            (ICMP), else the name of the error. Hosts limit how many ICMP errors they send, so silence proves nothing.
    """

    run: str
    sent: list[Sent] = field(default_factory=list)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def refuse(self, node: str, reason: str, event: Sent | None) -> None:
        """A node did not take an event (None where it is not known which)."""
        self.refused[node, reason] += 1
        if event is not None and node in event.to:
            event.to.remove(node)

    def delivered(self, outages: Sequence[Outage]) -> Iterator[Sent]:
        """The events that at least one node which was up was given."""
        for one in self.sent:
            if any(not any(outage.covers(node, one.sent_us) for outage in outages) for node in one.to):
                yield one

    def per_s(self, node: str, since_us: int, until_us: int) -> float:
        """How many events a second a node was given in a time."""
        given = sum(since_us <= one.sent_us < until_us and node in one.to for one in self.sent)
        return given / (until_us - since_us) * 1e6


def events_of(sent: Iterable[Sent]) -> list[Event]:
    """
    The events as an ingest node decodes them, in order.

    Raises:
        LedgerError: A datagram gives no event, or one with another key than the ledger's.
    """
    listed = list(sent)
    decoded = decode_batch([Datagram(one.datagram, one.sent_us, "", 0) for one in listed], _RULES)
    events = list(decoded.batch.events())
    if decoded.rejected or [one.event_key for one in events] != [one.event_key for one in listed]:
        raise LedgerError(f"the ledger's datagrams do not decode to its keys (rejected: {dict(decoded.rejected)})")
    return events

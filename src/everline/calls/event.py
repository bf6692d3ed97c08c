"""One captured message as an immutable event, and batches of them as columns."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

SIP = 1
RTCP = 5
SYNTHETIC = 0
TIMEOUT_METHOD = "TIMEOUT"

# The SIP methods that can never be part of an INVITE dialog (RFC 3261 section 10.2, RFC 3903 section 4):
# their messages are kept, and no call facts are made of them.
NEVER_IN_A_CALL = frozenset({"REGISTER", "PUBLISH"})


class Event(NamedTuple):
    """
    One captured message. A tuple, because a batch of rows turns into columns with one `zip`.

    Two events with one `call_id` and one `event_key` are the same event, however often it arrives.

    Attributes:
        call_id: Call-ID as sent (RFC 3261 section 20.8); for RTCP the correlation id of the capture agent.
        captured_us: Capture time, UTC epoch microseconds, clamped to what the clock of the receiver allows.
        event_key: 64-bit hash of unclamped capture time, both addresses and payload.
        received_us: When the node that took it received it, UTC epoch microseconds. Not call data.
        protocol: `SIP`, `RTCP` (HEP protocol types), or `SYNTHETIC` for an event that Everline made.
        ip_proto: Transport, IANA number.
        src_ip: Sender's address.
        src_port: Sender's port.
        dst_ip: Receiver's address.
        dst_port: Receiver's port.
        method: Request method; for a response the method of its CSeq.
        status: Response status; 0 for a request.
        cseq: CSeq number.
        from_user: User part of the From URI.
        from_host: Host part of the From URI.
        from_tag: From tag.
        to_user: User part of the To URI.
        to_host: Host part of the To URI.
        to_tag: To tag; empty outside a dialog.
        user_agent: User-Agent of a request, Server (or User-Agent) of a response.
        codecs: Codecs of the SDP body, comma separated, in the order offered; empty without SDP.
        cause: Q.850 cause of the Reason header (RFC 3326); 0 without one.
        agent: The capture agent: its node name, else its number, else empty for mirrored SIP.
        correlation_id: HEP chunk 0x11 as sent.
        node: The ingest node that took it. Not call data.
        payload: The message, byte for byte.
    """

    call_id: str
    captured_us: int
    event_key: int
    received_us: int
    protocol: int
    ip_proto: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    method: str
    status: int
    cseq: int
    from_user: str
    from_host: str
    from_tag: str
    to_user: str
    to_host: str
    to_tag: str
    user_agent: str
    codecs: str
    cause: int
    agent: str
    correlation_id: str
    node: str
    payload: bytes


class EventBatch:
    """
    Events as columns: what the decoder gives, and what the store and the bus take.

    Column `i` holds field `Event._fields[i]`; all columns have one length.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:  # a column's type is its field's
        self.columns = columns

    @classmethod
    def of(cls, rows: Iterable[tuple[Any, ...]]) -> Self:  # rows are Events, or plain tuples in their order
        """Turn rows in `Event` order into columns."""
        columns = tuple(zip(*rows, strict=True))
        return cls(columns or tuple(() for _ in Event._fields))

    @classmethod
    def concat(cls, batches: Sequence[Self]) -> Self:
        """Several batches as one, in order."""
        if len(batches) == 1:
            return batches[0]
        return cls(tuple(tuple(chain(*parts)) for parts in zip(*(one.columns for one in batches), strict=True)))

    def column(self, name: str) -> Sequence[Any]:  # see the class
        """The column of one `Event` field."""
        return self.columns[Event._fields.index(name)]

    def events(self) -> Iterator[Event]:
        """The rows, one by one."""
        return map(Event._make, zip(*self.columns, strict=True))

    def __len__(self) -> int:
        return len(self.columns[0])

"""When a call that nobody ended is given up, and the event that says so."""

from dataclasses import dataclass

from everline.calls.decode import event_key
from everline.calls.event import SYNTHETIC, TIMEOUT_METHOD, Event
from everline.calls.record import CallRecord, State


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a call may be silent before it is given up, microseconds.

    Attributes:
        ringing_us: Without an answer. Proxies give up after more than three minutes (RFC 3261 s.16.6, timer C).
        answered_us: With one: calls are long, and session timers (RFC 4028) are optional.
    """

    ringing_us: int
    answered_us: int

    def deadline_us(self, record: CallRecord) -> int:
        """When this call is given up if nothing more is heard of it."""
        return record.last_us + (self.answered_us if record.state is State.ANSWERED else self.ringing_us)


def timeout_event(record: CallRecord, patience: Patience, *, now_us: int, node: str) -> Event | None:
    """
    The event that closes a silent call, or None while it may go on.

    Whoever makes it makes the same one: its time and key follow from the record, so it merges with itself.
    """
    at_us = patience.deadline_us(record)
    if record.state is State.ENDED or at_us > now_us:
        return None
    key = event_key(at_us, "", 0, "", 0, record.call_id.encode())
    return Event(
        call_id=record.call_id, captured_us=at_us, event_key=key, received_us=now_us, protocol=SYNTHETIC, ip_proto=0,
        src_ip="", src_port=0, dst_ip="", dst_port=0, method=TIMEOUT_METHOD, status=0, cseq=0,
        from_user="", from_host="", from_tag="", to_user="", to_host="", to_tag="", user_agent="", codecs="", cause=0,
        agent="", correlation_id="", node=node, payload=b"",
    )  # fmt: skip

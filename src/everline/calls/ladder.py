"""The ladder of a call: its messages as arrows between addresses, with repeats joined."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from everline.calls.event import SIP, SYNTHETIC, Event
from everline.wire.sdp import parse_sdp

SAME_MESSAGE_US: Final = 1_000_000
"""Two capture points that see one message within this time saw one transmission (their clocks may differ)."""

TRANSPORTS: Final[Mapping[int, str]] = {6: "TCP", 17: "UDP", 22: "TLS", 132: "SCTP"}
"""IANA protocol numbers; 22 is what Kamailio and sofia send for TLS."""

PHRASES: Final[Mapping[int, str]] = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK", 202: "Accepted", 204: "No Notification",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    410: "Gone", 412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority",
    420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief",
    424: "Bad Location Information", 425: "Bad Alert Message", 428: "Use Identity Header",
    429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed", 436: "Bad Identity Info",
    437: "Unsupported Credential", 438: "Invalid Identity Header", 439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded", 469: "Bad Info Package", 470: "Consent Needed",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    555: "Push Notification Service Not Supported", 580: "Precondition Failure",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted",
    608: "Rejected",
}  # fmt: skip
"""RFC 3261 section 21 and the IANA registry of SIP response codes."""

_CLASSES: Final = ("", "Provisional", "Success", "Redirection", "Client Error", "Server Error", "Global Failure")

Address: TypeAlias = tuple[str, int]


class Role(StrEnum):
    """What an address did with the first request: sent it, passed it on, or took it."""

    CALLER = "caller"
    PROXY = "proxy"
    CALLEE = "callee"
    OTHER = ""


class Phase(StrEnum):
    """What a message belongs to beside the plain call."""

    PLAIN = ""
    REINVITE = "re-INVITE"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Column:
    """One address of the ladder; `alias` is the user agent that was seen sending from it, or empty."""

    address: str
    role: Role
    alias: str


@dataclass(frozen=True, slots=True)
class Row:
    """
    One arrow.

    Attributes:
        number: 1 for the first row.
        source: Index of the sending column.
        target: Index of the receiving column.
        label: The method, or the status with its phrase.
        at_us: When it was first seen, UTC epoch microseconds.
        since_ms: The same, since the first row.
        dialog: 0 outside any dialog, else 1, 2 … in order of appearance (RFC 3261 section 12).
        repeats: How many retransmissions followed.
        seen_by: At how many capture points it was seen.
        branch: For an INVITE that was forked the number of the branch, else 0.
        event: The first sighting.
    """

    number: int
    source: int
    target: int
    label: str
    at_us: int
    since_ms: float
    dialog: int
    repeats: int
    seen_by: int
    branch: int
    phase: Phase
    has_sdp: bool
    transport: str
    event: Event


@dataclass(frozen=True, slots=True)
class Ladder:
    """The messages of one call; RTCP reports are counted, not drawn."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    reports: int


@dataclass(slots=True)
class _Sent:
    """One message with all its sightings while they are gathered; see `_join` for how they are told apart."""

    event: Event
    starts: list[int] = field(default_factory=list)  # capture time of the first sighting of each transmission
    next_of: dict[str, int] = field(default_factory=dict)  # by agent: the first transmission it has not seen
    oldest: int = 0  # transmissions before this one are too long ago to be joined


def phrase(status: int) -> str:
    """The reason phrase of a status; for an unregistered one its class (RFC 3261 section 8.1.3.2)."""
    known = PHRASES.get(status)
    return known if known is not None else (_CLASSES[status // 100] if 100 <= status < 700 else "Unknown")


def ladder_of(events: Iterable[Event]) -> Ladder:
    """
    Draw up the ladder of one call, in time linear in the messages.

    Args:
        events: The messages of one call, sorted by capture time.
    """
    every = list(events)
    sip = [one for one in every if one.protocol in {SIP, SYNTHETIC}]
    sent = _joined(sip)
    messages = [one.event for one in sent]
    order = {address: index for index, address in enumerate(_path(messages))}
    dialogs, branches, phases = _dialogs(messages), _branches(messages), _phases(messages)
    start_us = messages[0].captured_us if messages else 0
    rows = tuple(
        Row(
            number=number,
            source=order[_source(one.event)],
            target=order[_target(one.event)],
            label=_label(one.event),
            at_us=one.event.captured_us,
            since_ms=(one.event.captured_us - start_us) / 1e3,
            dialog=dialogs.get(_tags(one.event), 0),
            repeats=len(one.starts) - 1,
            seen_by=len(one.next_of),
            branch=branches[number - 1],
            phase=phases[number - 1],
            has_sdp=bool(_sdp_of(one.event)),
            transport=TRANSPORTS.get(one.event.ip_proto, str(one.event.ip_proto)),
            event=one.event,
        )
        for number, one in enumerate(sent, start=1)
    )
    return Ladder(_columns(order, messages), rows, len(every) - len(sip))


def address_text(address: Address) -> str:
    """An address as people write it; an IPv6 host in brackets (RFC 3986 section 3.2.2)."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _joined(events: Sequence[Event]) -> list[_Sent]:
    """One entry a message, in order of first sighting: same addresses and same bytes are the same message."""
    known: dict[tuple[Address, Address, bytes], _Sent] = {}
    for event in events:
        key = (_source(event), _target(event), event.payload)
        if event.protocol == SYNTHETIC:  # An empty payload says nothing, so its time tells it apart.
            key = (_source(event), _target(event), str(event.captured_us).encode())
        _join(known.setdefault(key, _Sent(event)), event)
    return list(known.values())


def _join(sent: _Sent, event: Event) -> None:
    """
    Add a sighting: of a transmission that another capture point saw just now, else of a retransmission.

    Each agent sees transmissions in their order, so it can only join the first one that it has not seen.
    """
    while sent.oldest < len(sent.starts) and event.captured_us - sent.starts[sent.oldest] > SAME_MESSAGE_US:
        sent.oldest += 1
    index = max(sent.oldest, sent.next_of.get(event.agent, 0))
    if index == len(sent.starts):
        sent.starts.append(event.captured_us)
    sent.next_of[event.agent] = index + 1


def _path(messages: Sequence[Event]) -> list[Address]:
    """
    Every address, in the order in which the first request travelled.

    Capture clocks differ, so the first hop may be stamped after the second: who handed the request to whom
    counts, and time only orders the branches. Addresses off the path follow in order of appearance.
    """
    onward: dict[Address, dict[Address, None]] = {}
    reached: set[Address] = set()
    for event in messages:
        if _starts_something(event):
            onward.setdefault(_source(event), {})[_target(event)] = None
            reached.add(_target(event))
    order: dict[Address, None] = {}
    roots = [address for address in onward if address not in reached]
    everyone = [address for event in messages for address in _hop(event)]
    for start in (*roots, *everyone):
        waiting = [start]
        while waiting:
            address = waiting.pop()
            if address in order:
                continue
            order[address] = None
            waiting.extend(reversed(onward.get(address, {})))
    return list(order)


def _columns(order: Mapping[Address, int], messages: Sequence[Event]) -> tuple[Column, ...]:
    senders = {_source(event) for event in messages if _starts_something(event)}
    takers = {_target(event) for event in messages if _starts_something(event)}
    aliases: dict[Address, str] = {}
    for event in messages:
        if event.user_agent and not _relayed(event, takers, senders):
            aliases.setdefault(_source(event), event.user_agent)
    return tuple(Column(address_text(one), _role(one, senders, takers), aliases.get(one, "")) for one in order)


def _relayed(event: Event, takers: set[Address], senders: set[Address]) -> bool:
    """A proxy passes on the User-Agent of others: what it sends does not name it."""
    return _source(event) in takers and _source(event) in senders


def _role(address: Address, senders: set[Address], takers: set[Address]) -> Role:
    if address in senders:
        return Role.PROXY if address in takers else Role.CALLER
    return Role.CALLEE if address in takers else Role.OTHER


def _dialogs(messages: Sequence[Event]) -> dict[frozenset[str], int]:
    """Number the dialogs by their pair of tags. A failure makes none, and its ACK carries its tag."""
    numbers: dict[frozenset[str], int] = {}
    for event in messages:
        makes_one = 100 < event.status < 300 or (event.status == 0 and event.method != "ACK")
        if event.to_tag and makes_one:
            numbers.setdefault(_tags(event), len(numbers) + 1)
    return numbers


def _branches(messages: Sequence[Event]) -> list[int]:
    """For each message the number of its fork: one sender, one INVITE, several receivers."""
    receivers: dict[tuple[Address, int], dict[Address, int]] = {}
    for event in messages:
        if _is_first_invite(event):
            known = receivers.setdefault((_source(event), event.cseq), {})
            known.setdefault(_target(event), len(known) + 1)
    return [_branch(event, receivers.get((_source(event), event.cseq), {})) for event in messages]


def _branch(event: Event, receivers: Mapping[Address, int]) -> int:
    return receivers.get(_target(event), 0) if _is_first_invite(event) and len(receivers) > 1 else 0


def _phases(messages: Sequence[Event]) -> list[Phase]:
    """
    For each message whether it is part of a re-INVITE, or of a dialog that is on hold.

    A dialog is on hold from the offer that says so to the next that does not; a refused offer changes
    nothing (RFC 3261 section 14.1).
    """
    on_hold: dict[frozenset[str], bool] = {}
    before: dict[tuple[frozenset[str], str, int], bool] = {}
    phases: list[Phase] = []
    for event in messages:
        dialog, offer = _tags(event), (_tags(event), event.from_tag, event.cseq)
        if event.to_tag and event.status == 0 and event.method in {"INVITE", "UPDATE"} and offer not in before:
            before[offer] = on_hold.get(dialog, False)
            sdp = _sdp_of(event)
            if sdp:
                on_hold[dialog] = parse_sdp(sdp).is_hold
        elif event.status >= 300 and event.method in {"INVITE", "UPDATE"} and offer in before:
            on_hold[dialog] = before[offer]
        again = offer in before and event.method in {"INVITE", "ACK"}
        phases.append(Phase.HOLD if on_hold.get(dialog) else (Phase.REINVITE if again else Phase.PLAIN))
    return phases


def _starts_something(event: Event) -> bool:
    return event.status == 0 and not event.to_tag and event.method not in {"CANCEL", "ACK"} and event.protocol == SIP


def _is_first_invite(event: Event) -> bool:
    return event.method == "INVITE" and _starts_something(event)


def _label(event: Event) -> str:
    if event.protocol == SYNTHETIC:
        return f"{event.method} (closed by Everline)"
    return f"{event.status} {phrase(event.status)}" if event.status else event.method


def _sdp_of(event: Event) -> bytes:
    """The body, if it starts as a session description does (RFC 8866 section 5.1), else nothing."""
    start = event.payload.find(b"\nv=0")
    return event.payload[start + 1 :] if start >= 0 else b""


def _tags(event: Event) -> frozenset[str]:
    return frozenset((event.from_tag, event.to_tag)) if event.to_tag else frozenset()


def _hop(event: Event) -> tuple[Address, Address]:
    return _source(event), _target(event)


def _source(event: Event) -> Address:
    return event.src_ip, event.src_port


def _target(event: Event) -> Address:
    return event.dst_ip, event.dst_port

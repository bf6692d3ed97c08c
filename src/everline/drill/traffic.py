"""
Calls as capture agents see them: an endless, repeatable stream of SIP messages for a drill.

The order and the content follow from the seed alone. The capture time is given when a message is sent, because it is
then that it is captured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, pairwise
from random import Random
from typing import Final, NamedTuple

from everline.calls.decode import event_key
from everline.drill.flows import FLOWS, REPEAT_AFTER_S, REPEATED, Flow, Step
from everline.wire.hep import encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

CAPTURE_ID: Final = 7070
CAPTURE_AGENT: Final = b"drill"
DOMAIN: Final = "drill.everline.example"
HOP_S: Final = 0.001
_SLOWEST, _FASTEST = 2.0, 0.5
"""How much the pace of a call differs from that of its flow."""
_REASONS: Final = {
    "100": "Trying", "180": "Ringing", "200": "OK", "407": "Proxy Authentication Required", "480": "No Answer",
    "486": "Busy Here", "487": "Request Terminated", "603": "Decline",
}  # fmt: skip
_ROUTES: Final = "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE\r\nSupported: replaces, timer\r\n"
_CREDENTIALS: Final = (
    'Proxy-Authorization: Digest username="agent", realm="drill", nonce="4f1c", uri="sip:drill", response="00"\r\n'
)


class End(NamedTuple):
    """Where a message leaves from or goes to."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message between two ends, not yet captured."""

    call_id: str
    source: End
    target: End
    payload: bytes

    def datagram(self, captured_us: int) -> bytes:
        """The HEP3 packet of this message as captured at a time, epoch microseconds."""
        packet = CapturedPacket(captured_us, IPPROTO_UDP, *self.source, *self.target, self.payload)
        return encode_hep3(packet, capture_id=CAPTURE_ID, node_name=CAPTURE_AGENT)

    def key(self, captured_us: int) -> int:
        """The event key that every node gives it."""
        return event_key(captured_us, *self.source, *self.target, self.payload)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who, where, along which flow and how fast."""

    run: str
    number: int
    flow: Flow
    pace: float

    @property
    def call_id(self) -> str:
        """Begins with the run, so that all calls of a run stand together in the store."""
        return f"{self.run}-{self.number:07d}@{DOMAIN}"

    @property
    def ends(self) -> tuple[End, ...]:
        """Caller, callee, and the proxy between them where there is one."""
        caller = End(f"192.0.2.{1 + self.number % 250}", 5060)
        callee = End(f"198.51.100.{1 + self.number % 200}", 5060)
        return (caller, End("203.0.113.1", 5060), callee) if self.flow.is_relayed else (caller, callee)


def run_prefix(run: str) -> str:
    """What every Call-ID of a run begins with, and no other."""
    return f"{run}-"


def traffic(run: str, *, seed: int, calls_per_s: float) -> Iterator[Message]:
    """
    Every message of endlessly many calls, in the order in which they are due.

    Args:
        run: Names the run in its Call-IDs; must be new for each.
        seed: Same seed, same run: same messages.
        calls_per_s: How many calls begin in a second of the traffic's own time: it says how many are open at once.
    """
    random, order = Random(seed), count()  # noqa: S311 - repeatable, nothing to guess
    waiting: list[tuple[float, int, Message]] = []
    weights = [flow.weight for flow in FLOWS]
    for number in count():
        begins_s = number / calls_per_s
        while waiting and waiting[0][0] <= begins_s:
            yield heappop(waiting)[2]
        [flow] = random.choices(FLOWS, weights)
        call = Call(run, number, flow, random.uniform(_FASTEST, _SLOWEST))
        for after_s, message in _messages(call, random):
            heappush(waiting, (begins_s + after_s, next(order), message))


def _messages(call: Call, random: Random) -> Iterator[tuple[float, Message]]:
    """The messages of one call, with the seconds after its begin."""
    for index, step in enumerate(call.flow.steps):
        at_s = step.at_s * call.pace
        for hop, message in enumerate(_captured(call, index, step)):
            yield at_s + hop * HOP_S, message
            if random.random() < REPEATED:
                yield at_s + hop * HOP_S + REPEAT_AFTER_S, message


def _captured(call: Call, index: int, step: Step) -> Iterator[Message]:
    """A message on each hop of its way."""
    ends = call.ends if step.is_from_caller else call.ends[::-1]
    start, cseq = _start_line(call, step)
    for hop, (source, target) in enumerate(pairwise(ends)):
        via = f"Via: SIP/2.0/UDP {source.ip}:5060;rport;branch=z9hG4bK{call.run}{call.number}i{index}h{hop}\r\n"
        yield Message(call.call_id, source, target, f"{start}\r\n{via}{_rest(call, step, cseq)}".encode())


def _start_line(call: Call, step: Step) -> tuple[str, str]:
    """The first line, and the method of the CSeq."""
    status, _, method = step.what.partition(" ")
    if status.isdigit():
        return f"SIP/2.0 {status} {_REASONS[status]}", method or "INVITE"
    return f"{step.what} sip:+1202666{call.number % 10_000:04d}@{DOMAIN} SIP/2.0", step.what


def _rest(call: Call, step: Step, method: str) -> str:
    body = _sdp(call, step) if step.has_sdp else ""
    agent = "User-Agent: Handset/4.2.1" if step.is_from_caller else "Server: PBX 20.1"
    tag = f";tag=b{call.number}" if step.is_in_dialog else ""
    first = _CREDENTIALS if step.what == "INVITE" and step.cseq == 2 and not step.is_in_dialog else ""
    return (
        f'From: "Agent {call.number % 100}" <sip:+1202555{call.number % 10_000:04d}@{DOMAIN}>;tag=a{call.number}\r\n'
        f"To: <sip:+1202666{call.number % 10_000:04d}@{DOMAIN}>{tag}\r\n"
        f"Call-ID: {call.call_id}\r\n"
        f"CSeq: {step.cseq} {method}\r\n"
        f"Contact: <sip:+1202555{call.number % 10_000:04d}@{call.ends[0].ip}:5060;transport=udp>\r\n"
        f"Max-Forwards: 69\r\n{agent}\r\n{first}{_ROUTES}"
        f"{'Content-Type: application/sdp' if body else 'Subject: drill'}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )


def _sdp(call: Call, step: Step) -> str:
    ip = (call.ends[0] if step.is_from_caller else call.ends[-1]).ip
    return (
        f"v=0\r\no=- {call.number} {step.cseq} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
        f"m=audio {16_384 + call.number % 16_000 * 2} RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        "a=fmtp:101 0-16\r\na=sendrecv\r\n"
    )

"""
Traffic for measuring: calls as a proxy sees them, each message twice (in and out), from agents of two layouts.

The calls differ in Call-ID, tags and numbers, so that nothing is remembered that a real node could not remember.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from everline.wire.hep import encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

MARK: Final = b"00000000"
"""Stands in each template where the number of the call goes."""
CONCURRENT: Final = 256
"""Calls that are in progress at one time: their messages come in turn."""
_TIME: Final = Struct(">I6sI")
_TIME_CHUNK: Final = b"\x00\x00\x00\x09\x00\x0a"
_MICROSECONDS_CHUNK: Final = b"\x00\x00\x00\x0a\x00\x0a"

_CALLER: Final = ("192.0.2.10", 5060)
_PROXY: Final = ("192.0.2.1", 5060)
_CALLEE: Final = ("198.51.100.20", 5060)

_SDP: Final = (
    "v=0\r\no=- 3890 3890 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
    "m=audio 16384 RTP/AVP 8 0 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
)
_TAGGED_TO: Final = ";tag=b00000000"


@dataclass(frozen=True, slots=True)
class Template:
    """A datagram with a mark for the number of its call and a place for its time."""

    data: bytes
    time_at: int
    after_us: int

    def datagram(self, call: int, start_us: int) -> bytes:
        """The datagram of one call that began at a time."""
        sec, usec = divmod(start_us + self.after_us, 1_000_000)
        data = self.data.replace(MARK, b"%08d" % call)
        return data[: self.time_at] + _TIME.pack(sec, _MICROSECONDS_CHUNK, usec) + data[self.time_at + _TIME.size :]


def templates() -> list[Template]:
    """The messages of one answered call over two hops, and of an OPTIONS ping: 16 datagrams."""
    found: list[Template] = []
    for step, (start, cseq, to_tag, body, from_caller) in enumerate(_FLOW):
        text = _message(start, cseq, to_tag=to_tag, body=body)
        near, far = (_CALLER, _PROXY), (_PROXY, _CALLEE)
        hops = (near, far) if from_caller else (far[::-1], near[::-1])
        for hop, (source, target) in enumerate(hops):
            payload = (f"{start}\r\nVia: SIP/2.0/UDP {source[0]};branch=z9hG4bK{hop}{step}00000000\r\n" + text).encode()
            found.append(_template(payload, source, target, after_us=step * 40_000 + hop * 300, tail=step % 2))
    return found


def datagrams(calls: range, start_us: int) -> Iterator[bytes]:
    """All messages of many calls, as they interleave when calls begin one after another."""
    made = templates()
    for first in range(0, len(calls), CONCURRENT):
        block = calls[first : first + CONCURRENT]
        for template in made:
            for call in block:
                yield template.datagram(call, start_us)


def _template(
    payload: bytes, source: tuple[str, int], target: tuple[str, int], *, after_us: int, tail: int
) -> Template:
    packet = CapturedPacket(0, IPPROTO_UDP, *source, *target, payload)
    correlation_id = b"00000000-7f3a@192.0.2.10" if tail else b""
    data = encode_hep3(packet, capture_id=2001, correlation_id=correlation_id, node_name=b"sbc-1" if tail else b"")
    return Template(data, data.index(_TIME_CHUNK) + len(_TIME_CHUNK), after_us)


def _message(start: str, cseq: str, *, to_tag: str, body: str) -> str:
    agent = "Server: PBX 20.1" if start.startswith("SIP/2.0") else "User-Agent: Handset/4.2.1"
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        "Via: SIP/2.0/UDP 203.0.113.7:5060;rport=5060;branch=z9hG4bK-x00000000\r\n"
        'From: "Agent 12" <sip:+12025550112@voice.example.com>;tag=a00000000\r\n'
        f"To: <sip:+12025550199@voice.example.com>{to_tag}\r\n"
        "Call-ID: 00000000-7f3a@192.0.2.10\r\n"
        f"CSeq: {cseq}\r\n"
        "Contact: <sip:+12025550112@192.0.2.10:5060;transport=udp>\r\n"
        "Max-Forwards: 69\r\n"
        f"{agent}\r\n"
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE\r\nSupported: replaces, timer\r\n"
        f"{content}Content-Length: {len(body)}\r\n\r\n{body}"
    )


_FLOW: Final[Sequence[tuple[str, str, str, str, bool]]] = (
    ("INVITE sip:+12025550199@voice.example.com SIP/2.0", "1 INVITE", "", _SDP, True),
    ("SIP/2.0 100 Trying", "1 INVITE", "", "", False),
    ("SIP/2.0 180 Ringing", "1 INVITE", _TAGGED_TO, "", False),
    ("SIP/2.0 200 OK", "1 INVITE", _TAGGED_TO, _SDP, False),
    ("ACK sip:+12025550199@198.51.100.20 SIP/2.0", "1 ACK", _TAGGED_TO, "", True),
    ("OPTIONS sip:+12025550199@198.51.100.20 SIP/2.0", "2 OPTIONS", _TAGGED_TO, "", True),
    ("BYE sip:+12025550199@198.51.100.20 SIP/2.0", "3 BYE", _TAGGED_TO, "", True),
    ("SIP/2.0 200 OK", "3 BYE", _TAGGED_TO, "", False),
)

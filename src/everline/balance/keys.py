"""
What a datagram is routed by: the Call-ID, wherever it is.

In HEP it is read from the SIP payload; where there is none, as with RTCP, from the correlation id (chunk 0x11), which
agents set to the Call-ID. Raw SIP has it in its header. This must give the same for all messages of a call, and what
`calls.decode` makes of it; it need not say all that is wrong with a datagram, which the ingest node does.
"""

import re
from typing import Final

from everline.calls.decode import MAX_DATAGRAM
from everline.errors import EverlineError
from everline.wire.hep import HepDecodeError, HepPacket, decode_hep, encode_hep3, looks_like_hep
from everline.wire.inflate import InflateError, inflate
from everline.wire.packet import IPPROTO_UDP, CapturedPacket
from everline.wire.sip import SipDecodeError, SipFault, parse_sip, unwrap_json

_GZIP: Final = b"\x1f\x8b"
_PAYLOAD_HEAD: Final = b"\x00\x00\x00\x0f"
_USUAL_NAME: Final = b"\nCall-ID: "
_CALL_ID: Final = re.compile(rb"(?:\A|\n)(?:call-id|i)[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\s][^\r\n]*)", re.IGNORECASE)
_END_OF_HEADER: Final = re.compile(rb"\r\n\r\n|\n\n")


class UnroutableError(EverlineError):
    """A datagram that no ingest node could make anything of; `reason` labels a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: check what the capture agent sends; HEP version 3 is best")
        self.reason = reason


def key_of(data: bytes) -> bytes:
    """
    The Call-ID of a datagram; empty when it has none, and follows its sender instead.

    Raises:
        UnroutableError: It is neither HEP nor SIP, or broken.
    """
    if data[:4] == b"HEP3" and (found := _in_usual_hep3(data)):
        return found
    try:
        plain = inflate(data, MAX_DATAGRAM) if data[:2] == _GZIP else data
        return _in_packet(decode_hep(plain)) if looks_like_hep(plain) else _in_raw_sip(plain)
    except HepDecodeError as fault:
        raise UnroutableError(str(fault.reason)) from fault
    except InflateError as fault:
        raise UnroutableError("bad_gzip") from fault


def is_raw_sip(data: bytes) -> bool:
    """Whether a datagram that has a key has to be wrapped, so that its sender is not lost on the way."""
    return not looks_like_hep(data) and data[:2] != _GZIP


def wrapped(data: bytes, source: tuple[str, int], target: tuple[str, int], received_us: int) -> bytes:
    """
    Raw SIP as HEP3: captured when and as it was received.

    Args:
        data: The SIP message.
        received_us: UTC epoch microseconds.
        source: Its sender, address and port.
        target: Where it was received.

    Raises:
        UnroutableError: It is too long for that.
    """
    try:
        return encode_hep3(CapturedPacket(received_us, IPPROTO_UDP, *source, *target, data))
    except HepDecodeError as fault:
        raise UnroutableError(str(fault.reason)) from fault


def _in_usual_hep3(data: bytes) -> bytes:
    """As nearly all datagrams are: the payload is the last chunk, and its Call-ID is written in the usual way."""
    size, at = len(data), data.find(_PAYLOAD_HEAD, 6)
    if at < 0 or data[4:6] != size.to_bytes(2) or data[at + 4 : at + 6] != (size - at).to_bytes(2):
        return b""
    begin = data.find(_USUAL_NAME, at)
    if begin < 0 or data.find(b"\r\n\r\n", at, begin + 1) >= 0:
        return b""
    begin += len(_USUAL_NAME)
    return data[begin : data.find(b"\r", begin)].strip()


def _in_packet(packet: HepPacket) -> bytes:
    return _in_header(packet.payload) or packet.correlation_id.strip()


def _in_header(payload: bytes) -> bytes:
    """The Call-ID of a SIP message, also of one in JSON; empty if there is none."""
    if payload[:1] == b"{":
        payload = unwrap_json(payload) or b""
    payload = payload.lstrip(b"\r\n")
    end = _END_OF_HEADER.search(payload)
    found = _CALL_ID.search(payload, 0, end.start() if end else len(payload))
    return found[1].strip() if found else b""


def _in_raw_sip(data: bytes) -> bytes:
    if not data.strip(b"\r\n\x00 "):
        raise UnroutableError("keepalive")
    try:
        parse_sip(data)
    except SipDecodeError as fault:
        if fault.reason is SipFault.NOT_SIP:
            raise UnroutableError(str(fault.reason)) from fault
    return _in_header(data)

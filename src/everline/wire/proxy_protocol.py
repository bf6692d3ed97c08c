"""
The header that a proxy puts before a stream to tell whose stream it is: PROXY protocol, versions 1 and 2.

A header is decoded from the first bytes of a stream, whatever has arrived of it so far. Which peers may send one is
told elsewhere: the header itself proves nothing, so it must be read from known proxies only.

Source: The PROXY protocol, versions 1 & 2, Willy Tarreau, HAProxy Technologies, sections 2.1 and 2.2.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from everline.errors import EverlineError

V1_START: Final = b"PROXY "
V1_MOST_BYTES: Final = 107
"""The longest line of version 1, with its line end: a longer one is none (section 2.1)."""
V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
V2_MOST_BYTES: Final = 4_096
"""Version 2 could be 65,551 bytes long; extensions such as certificates take some hundred."""

_V1_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|(?P<family>TCP[46]) (?P<source>[0-9A-Fa-f:.]{2,45}) [0-9A-Fa-f:.]{2,45}"
    rb" (?P<port>0|[1-9][0-9]{0,4}) (?P<to>0|[1-9][0-9]{0,4}))\r\n"
)
_V2_FIXED_BYTES: Final = 16
_LOCAL, _PROXIED = 0x20, 0x21
_V2_ADDRESS_BYTES: Final = {0x1: 12, 0x2: 36, 0x3: 216}
"""Address family, the upper four bits: IPv4, IPv6, Unix. 0 tells no address."""
_UNIX: Final = 0x3
_MOST_PORT: Final = 65_535


class ProxyFault(StrEnum):
    """Why the first bytes of a stream are no header: a closed set."""

    NO_HEADER = "no-header"
    TOO_LONG = "too-long"
    BAD_LINE = "bad-line"
    BAD_COMMAND = "bad-command"
    BAD_ADDRESS = "bad-address"
    CUT_OFF = "cut-off"
    TOO_LATE = "too-late"


class ProxyHeaderError(EverlineError):
    """The peer is a proxy by configuration and sent no usable header, but `seen_bytes` of something else."""

    def __init__(self, reason: ProxyFault, *, seen_bytes: int) -> None:
        super().__init__(
            f"PROXY header: {reason}; a peer that is named in ingest.proxies must send one before anything else "
            "(HAProxy: send-proxy-v2)"
        )
        self.reason, self.seen_bytes = reason, seen_bytes


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    A whole header.

    Attributes:
        size: Its bytes; the stream itself begins after them.
        source: Address and port of whose stream it is. None when the proxy speaks for itself (a health check), or does
            not know: then the peer of the connection is the source.
    """

    size: int
    source: tuple[str, int] | None


def decode_proxy_header(data: bytes) -> ProxyHeader | None:
    """
    The header at the start of a stream.

    Args:
        data: The first bytes of the stream; more than the header may be there.

    Returns:
        The header; None while it is not complete. Never None once `V2_MOST_BYTES` are given.

    Raises:
        ProxyHeaderError: The stream begins with none, or with one that breaks the format.
    """
    if data.startswith(V2_START):
        return _decode_v2(data)
    if data.startswith(V1_START):
        return _decode_v1(data)
    if V2_START.startswith(data) or V1_START.startswith(data):
        return None
    raise ProxyHeaderError(ProxyFault.NO_HEADER, seen_bytes=len(data))


def _decode_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, V1_MOST_BYTES) + 1
    if not end:
        if len(data) >= V1_MOST_BYTES:
            raise ProxyHeaderError(ProxyFault.TOO_LONG, seen_bytes=len(data))
        return None
    found = _V1_LINE.fullmatch(data, 0, end)
    if found is None:
        raise ProxyHeaderError(ProxyFault.BAD_LINE, seen_bytes=len(data))
    if found["family"] is None:
        return ProxyHeader(end, None)
    port = int(found["port"])
    if max(port, int(found["to"])) > _MOST_PORT:
        raise ProxyHeaderError(ProxyFault.BAD_ADDRESS, seen_bytes=len(data))
    text = found["source"].decode("ascii")
    try:
        source = str(IPv4Address(text)) if found["family"] == b"TCP4" else _ipv6(IPv6Address(text))
        return ProxyHeader(end, (source, port))
    except AddressValueError as error:
        raise ProxyHeaderError(ProxyFault.BAD_ADDRESS, seen_bytes=len(data)) from error


def _decode_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_FIXED_BYTES:
        return None
    command, family, length = data[12], data[13] >> 4, int.from_bytes(data[14:16], "big")
    size = _V2_FIXED_BYTES + length
    if command not in {_LOCAL, _PROXIED}:
        raise ProxyHeaderError(ProxyFault.BAD_COMMAND, seen_bytes=len(data))
    if size > V2_MOST_BYTES:
        raise ProxyHeaderError(ProxyFault.TOO_LONG, seen_bytes=len(data))
    if command == _PROXIED and length < _V2_ADDRESS_BYTES.get(family, 0):
        raise ProxyHeaderError(ProxyFault.BAD_ADDRESS, seen_bytes=len(data))
    if len(data) < size:
        return None
    if command == _LOCAL or family == _UNIX or family not in _V2_ADDRESS_BYTES:
        return ProxyHeader(size, None)  # Section 2.2: what a receiver does not know of families, it passes over.
    return ProxyHeader(size, _v2_source(data, family))


def _v2_source(data: bytes, family: int) -> tuple[str, int]:
    width = 4 if family == 0x1 else 16
    address = bytes(data[16 : 16 + width])
    port = int.from_bytes(data[16 + 2 * width : 18 + 2 * width], "big")
    return str(IPv4Address(address)) if width == 4 else _ipv6(IPv6Address(address)), port


def _ipv6(address: IPv6Address) -> str:
    """A mapped IPv4 address as IPv4, as everywhere."""
    return str(address.ipv4_mapped or address)

"""From captured frames to whole IP payloads: IPv4, IPv6, fragments, and tunnels of one in the other."""

import struct
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from everline.wire.fragments import Fragment, Fragments
from everline.wire.frame import Frame
from everline.wire.link import LINK_TYPES, ip_of, ip_of_ethernet
from everline.wire.loss import Loss

_IPIP, _IPV6_IN_IP, _GRE = 4, 41, 47
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140})
"""IPv6 extension headers of the usual shape: next header, length in 8 bytes (RFC 8200 section 4, RFC 7045)."""
_MAX_EXTENSIONS: Final = 16
_MAX_TUNNELS: Final = 4
_ETHERNET_BRIDGING: Final = 0x6558
_GRE_PAYLOADS: Final = frozenset({0x0800, 0x86DD, _ETHERNET_BRIDGING})


@dataclass(frozen=True, slots=True)
class IpPayload:
    """
    What one IP packet carried, tunnels taken off and fragments put together.

    Attributes:
        captured_us: Capture time; of the latest fragment, if there were several.
        ip_proto: IANA protocol number of the payload.
        src: Sender's address, 4 or 16 bytes.
        dst: Receiver's address, of the same size.
        data: The payload without padding.
        cut_bytes: How much of the payload the snap length cut off.
    """

    captured_us: int
    ip_proto: int
    src: bytes
    dst: bytes
    data: bytes
    cut_bytes: int


class _Unusable(Exception):  # noqa: N818 -- never leaves this module: the frame is counted, the capture goes on.
    def __init__(self, reason: Loss) -> None:
        self.reason = reason


@lru_cache(maxsize=65_536)
def address_text(packed: bytes) -> str:
    """An address in its canonical text form."""
    return str(ip_address(packed))


class IpReader:
    """
    Feed frames, get IP payloads.

    Checksums are not looked at: where network cards compute them, a capture of sent packets holds wrong ones.

    Args:
        counts: Where what gives nothing is counted, by `Loss`.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._fragments = Fragments(counts)

    def feed(self, frame: Frame) -> IpPayload | None:
        """Take one frame; give the IP payload which it brings or completes."""
        try:
            if frame.link_type not in LINK_TYPES:
                raise _Unusable(Loss.UNKNOWN_LINK)
            return self._unwrap(frame.captured_us, ip_of(frame))
        except _Unusable as fault:
            self._counts[fault.reason] += 1
            return None

    def flush(self) -> None:
        """The capture is over: count the datagrams that stayed incomplete."""
        self._fragments.flush()

    def _unwrap(self, captured_us: int, data: bytes | None) -> IpPayload | None:
        """Take tunnels off until something else is carried."""
        for _ in range(_MAX_TUNNELS + 1):
            payload = self._parse(captured_us, data)
            if payload is None:
                return None
            captured_us = payload.captured_us
            if payload.ip_proto in {_IPIP, _IPV6_IN_IP}:
                data = payload.data
            elif payload.ip_proto == _GRE:
                data = _gre_payload(payload.data)
            else:
                return payload
        raise _Unusable(Loss.TUNNEL_TOO_DEEP)

    def _parse(self, captured_us: int, data: bytes | None) -> IpPayload | None:
        if not data:
            raise _Unusable(Loss.NOT_IP)
        version = data[0] >> 4
        if version == 4:
            return self._ipv4(captured_us, data)
        if version == 6:
            return self._ipv6(captured_us, data)
        raise _Unusable(Loss.BAD_IP)

    def _ipv4(self, captured_us: int, data: bytes) -> IpPayload | None:
        header = (data[0] & 15) * 4
        if len(data) < header or header < 20:
            raise _Unusable(Loss.BAD_IP)
        total, ident, frag, _, proto = struct.unpack_from("!HHHBB", data, 2)
        total = total or len(data)  # 0: the network card was to cut it up (TSO), and the capture came before.
        if total < header:
            raise _Unusable(Loss.BAD_IP)
        cut_bytes = max(0, total - len(data))
        payload = IpPayload(captured_us, proto, data[12:16], data[16:20], data[header:total], cut_bytes)
        if frag & 0x3FFF:
            return self._reassemble(payload, ident, offset=(frag & 0x1FFF) * 8, is_last=not frag & 0x2000)
        return payload

    def _ipv6(self, captured_us: int, data: bytes) -> IpPayload | None:
        if len(data) < 40:
            raise _Unusable(Loss.BAD_IP)
        length, proto = struct.unpack_from("!HB", data, 4)
        end = 40 + length if length else len(data)  # 0: a jumbogram (RFC 2675), or TSO as above.
        cut_bytes = max(0, end - len(data))
        payload = IpPayload(captured_us, proto, data[8:24], data[24:40], data[40:end], cut_bytes)
        return self._after_extensions(payload)

    def _after_extensions(self, payload: IpPayload) -> IpPayload | None:
        """Step over IPv6 extension headers, of the packet or of the datagram that its fragments make."""
        proto, data, at = payload.ip_proto, payload.data, 0
        for _ in range(_MAX_EXTENSIONS):
            if proto in _EXTENSIONS or proto == _AUTHENTICATION:
                if len(data) - at < 8:
                    raise _Unusable(Loss.BAD_IP)
                size = (data[at + 1] + 2) * 4 if proto == _AUTHENTICATION else (data[at + 1] + 1) * 8
                proto, at = data[at], at + size
            elif proto == _FRAGMENT:
                whole = self._ipv6_fragment(_carrying(payload, proto, data[at:]))
                if whole is None:
                    return None
                payload, proto, data, at = whole, whole.ip_proto, whole.data, 0
            else:
                return _carrying(payload, proto, data[at:])
        raise _Unusable(Loss.BAD_IP)

    def _ipv6_fragment(self, payload: IpPayload) -> IpPayload | None:
        if len(payload.data) < 8:
            raise _Unusable(Loss.BAD_IP)
        proto, frag, ident = struct.unpack_from("!BxHI", payload.data)
        rest = _carrying(payload, proto, payload.data[8:])
        if not frag & 0xFFF9:  # An atomic fragment is whole (RFC 6946).
            return rest
        return self._reassemble(rest, ident, offset=frag & 0xFFF8, is_last=not frag & 1)

    def _reassemble(self, payload: IpPayload, ident: int, *, offset: int, is_last: bool) -> IpPayload | None:
        if payload.cut_bytes:
            raise _Unusable(Loss.FRAGMENT_TRUNCATED)
        key = (payload.src, payload.dst, ident, payload.ip_proto)
        whole = self._fragments.add(key, Fragment(payload.captured_us, offset, is_last, payload.data))
        if whole is None:
            return None
        return IpPayload(whole[0], payload.ip_proto, payload.src, payload.dst, whole[1], cut_bytes=0)


def _carrying(payload: IpPayload, proto: int, data: bytes) -> IpPayload:
    return IpPayload(payload.captured_us, proto, payload.src, payload.dst, data, payload.cut_bytes)


def _gre_payload(data: bytes) -> bytes | None:
    """The IP packet in GRE version 0 (RFC 2784, RFC 2890); None for anything else in it."""
    if len(data) < 4:
        return None
    flags, kind = struct.unpack_from("!HH", data)
    if flags & 0x4007 or kind not in _GRE_PAYLOADS:  # Source routing, or PPTP's version 1.
        return None
    size = 4 + sum(4 for bit in (0x8000, 0x2000, 0x1000) if flags & bit)
    return ip_of_ethernet(data[size:]) if kind == _ETHERNET_BRIDGING else data[size:]

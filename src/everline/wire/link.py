"""From a link-layer frame to the IP packet in it (tcpdump.org, "Link-layer header types")."""

from typing import Final

from everline.wire.frame import Frame

_NULL, _ETHERNET, _LOOP, _SLL, _SLL2 = 0, 1, 108, 113, 276
_RAW: Final = frozenset({12, 14, 101, 228, 229})
"""LINKTYPE_RAW, the two numbers which DLT_RAW has had in files, LINKTYPE_IPV4 and LINKTYPE_IPV6."""

_IP: Final = frozenset({0x0800, 0x86DD})
_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
"""IEEE 802.1Q, 802.1ad, and what vendors used for stacked tags before it."""

LINK_TYPES: Final = _RAW | {_NULL, _ETHERNET, _LOOP, _SLL, _SLL2}


def ip_of(frame: Frame) -> bytes | None:
    """The IP packet in a frame, with any padding behind it; None if the frame holds none."""
    data = frame.data
    if frame.link_type == _ETHERNET:
        return ip_of_ethernet(data)
    if frame.link_type == _SLL:
        return _after_tags(data, _ethertype(data, 14), 16)
    if frame.link_type == _SLL2:
        return _after_tags(data, _ethertype(data, 0), 20)
    if frame.link_type in {_NULL, _LOOP}:
        # The address family in the byte order of the capturing host, IPv6 with a number for each system: look within.
        return data[4:]
    return data


def ip_of_ethernet(data: bytes) -> bytes | None:
    """The IP packet in an Ethernet frame, through VLAN tags."""
    return _after_tags(data, _ethertype(data, 12), 14)


def _after_tags(data: bytes, ethertype: int, offset: int) -> bytes | None:
    while ethertype in _VLAN_TAGS:
        ethertype = _ethertype(data, offset + 2)
        offset += 4
    return data[offset:] if ethertype in _IP else None


def _ethertype(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "big")

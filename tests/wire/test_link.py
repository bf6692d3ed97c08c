"""Link layers: where the IP packet begins in a frame."""

import struct

import pytest

from everline.wire.frame import Frame
from everline.wire.link import LINK_TYPES, ip_of

MACS = bytes(12)
IP = b"\x45 an IP packet"


@pytest.mark.parametrize(
    ("link_type", "data", "expected"),
    [
        pytest.param(1, MACS + b"\x08\x00" + IP, IP, id="ethernet"),
        pytest.param(1, MACS + b"\x86\xdd" + IP, IP, id="ethernet-ipv6"),
        pytest.param(1, MACS + b"\x81\x00\x00\x07\x08\x00" + IP, IP, id="vlan"),
        pytest.param(1, MACS + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00" + IP, IP, id="qinq"),
        pytest.param(1, MACS + b"\x08\x06" + IP, None, id="arp"),
        pytest.param(1, MACS + b"\x81\x00", None, id="cut-in-a-tag"),
        pytest.param(1, b"short", None, id="shorter-than-its-header"),
        pytest.param(113, bytes(14) + b"\x08\x00" + IP, IP, id="linux-cooked"),
        pytest.param(113, bytes(14) + b"\x81\x00\x00\x07\x86\xdd" + IP, IP, id="linux-cooked-vlan"),
        pytest.param(113, bytes(14) + b"\x00\x04" + IP, None, id="linux-cooked-no-ip"),
        pytest.param(276, b"\x08\x00" + bytes(18) + IP, IP, id="linux-cooked-2"),
        pytest.param(0, struct.pack("<I", 2) + IP, IP, id="bsd-loopback"),
        pytest.param(108, struct.pack(">I", 24) + IP, IP, id="openbsd-loopback"),
        *(pytest.param(kind, IP, IP, id=f"raw-{kind}") for kind in (12, 14, 101, 228, 229)),
    ],
)
def test_ip_packet_of_a_frame(link_type: int, data: bytes, expected: bytes | None) -> None:
    """Tags are stepped over; a frame of anything else holds no IP."""
    assert link_type in LINK_TYPES
    assert ip_of(Frame(0, link_type, data)) == expected

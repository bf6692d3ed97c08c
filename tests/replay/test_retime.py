"""Moving the time of a HEP datagram changes nothing else."""

import struct
from dataclasses import replace

import pytest

from everline.replay.retime import retimed
from everline.wire.hep import decode_hep, encode_hep3
from everline.wire.packet import CapturedPacket

PACKET = CapturedPacket(1_700_000_000_900_000, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, b"INVITE")
HEP2 = struct.pack(">BBBBHH8sIIHxx", 2, 28, 2, 17, 5060, 5062, b"\x01\x02\x03\x04\x05\x06\x07\x08", 0, 0, 0)


def test_hep3_keeps_every_other_byte() -> None:
    """Vendor chunks, keys and the payload stay as they were."""
    data = encode_hep3(PACKET, capture_id=7, auth_key=b"k", correlation_id=b"c", node_name=b"n")

    moved = retimed(data, 200_000)

    assert decode_hep(moved) == decode_hep(data)._replace(captured_us=1_700_000_001_100_000)
    assert sum(one != other for one, other in zip(data, moved, strict=True)) <= 8


def test_a_payload_that_looks_like_a_time_chunk_stays() -> None:
    """Chunks are found by their lengths, not by searching."""
    trap = replace(PACKET, payload=b"\x00\x00\x00\x09\x00\x0aAAAA")

    assert decode_hep(retimed(encode_hep3(trap), 1_000_000)).payload == trap.payload


def test_hep2_becomes_hep3_with_the_new_time() -> None:
    """Its agents write times in either byte order: ours is the one that cannot be misread."""
    data = HEP2[:16] + struct.pack("<IIHxx", 1_700_000_000, 5, 9) + b"INVITE"

    moved = decode_hep(retimed(data, 1_000_000))

    assert (moved.version, moved.captured_us, moved.capture_id) == (3, 1_700_000_001_000_005, 9)
    assert (moved.src_ip, moved.dst_port, moved.payload) == ("1.2.3.4", 5062, b"INVITE")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HEP3\x00\xff", id="broken"),
        pytest.param(b"", id="empty"),
        pytest.param(HEP2[:16] + bytes(12) + b"INVITE", id="no-time"),
    ],
)
def test_what_has_no_time_is_given_back(data: bytes) -> None:
    """The collector shall see what the agent sent."""
    assert retimed(data, 1_000_000) == data

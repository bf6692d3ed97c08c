"""Capture files: what is read of them, and where reading ends."""

from pathlib import Path

import pytest

from everline.replay.errors import CaptureInputError
from everline.replay.source import open_capture
from everline.wire.frame import CaptureFault, CaptureFileError
from everline.wire.hep import encode_hep3
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import write_pcap

SIP = b"OPTIONS sip:bob@example.com SIP/2.0\r\nCall-ID: a@b\r\nContent-Length: 0\r\n\r\n"


def packet(second: int, payload: bytes = SIP) -> CapturedPacket:
    """A datagram from Alice to Bob."""
    return CapturedPacket(second * 1_000_000, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, payload)


def hep_record(second: int) -> bytes:
    """A record of a .hep file."""
    datagram = encode_hep3(packet(second))
    return len(datagram).to_bytes(4, "big") + datagram


def test_sip_and_hep_are_found_in_a_pcap(tmp_path: Path) -> None:
    """A HEP datagram goes by the time that it carries, not by when it passed; what is neither is counted."""
    file = tmp_path / "mixed.pcap"
    file.write_bytes(b"".join(write_pcap([packet(5), packet(6, encode_hep3(packet(3))), packet(7, b"DNS or so")])))
    source = open_capture(file)

    found = list(source.messages())

    assert [(one.captured_us, source.is_hep_message(one)) for one in found] == [(5_000_000, False), (3_000_000, True)]
    assert source.skipped == {"not-sip": 1}
    assert source.damage is None


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        pytest.param(b"", None, id="whole"),
        pytest.param(b"\x00\x00", CaptureFault.TRUNCATED, id="half-a-length"),
        pytest.param(hep_record(9)[:-1], CaptureFault.TRUNCATED, id="half-a-record"),
        pytest.param(b"\x00\x00\x00\x00", CaptureFault.BAD_LENGTH, id="empty-record"),
        pytest.param(b"\xff\xff\xff\xffabc", CaptureFault.BAD_LENGTH, id="absurd-length"),
    ],
)
def test_what_stands_before_the_damage_is_read(tail: bytes, reason: CaptureFault | None, tmp_path: Path) -> None:
    """Damage ends the reading, it undoes nothing."""
    file = tmp_path / "agent.hep"
    file.write_bytes(hep_record(1) + hep_record(2) + tail)
    source = open_capture(file)

    assert [one.captured_us for one in source.messages()] == [1_000_000, 2_000_000]
    damage = source.damage
    assert reason is (damage.reason if isinstance(damage, CaptureFileError) else None)


def test_every_truncation_of_a_pcap_gives_the_frames_before_it(tmp_path: Path) -> None:
    """From an empty file to the whole."""
    whole = b"".join(write_pcap([packet(1), packet(2)]))
    file = tmp_path / "cut.pcap"
    for size in range(4, len(whole)):
        file.write_bytes(whole[:size])
        source = open_capture(file)
        found = list(source.messages())
        assert len(found) < 2
        assert source.damage is not None or size in {24, 24 + (len(whole) - 24) // 2}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"GIF89a", "is no capture", id="another-format"),
        pytest.param(b"\x1f\x8b\x08\x00 gzip", "unpack it", id="compressed"),
    ],
)
def test_a_file_that_is_no_capture_is_refused(content: bytes, fault: str, tmp_path: Path) -> None:
    """With what was needed instead."""
    file = tmp_path / "file.bin"
    file.write_bytes(content)

    with pytest.raises(CaptureInputError, match=fault):
        open_capture(file)


def test_a_hep_file_is_known_without_its_suffix(tmp_path: Path) -> None:
    """By the magic behind the first length."""
    file = tmp_path / "captured.bin"
    file.write_bytes(hep_record(1))

    assert len(list(open_capture(file).messages())) == 1

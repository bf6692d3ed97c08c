"""RTCP on the wire: each packet type, and that nothing but the own error comes out of damage."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.rtcp import (
    ApplicationPacket,
    ExtendedReport,
    Goodbye,
    OtherPacket,
    ReceiverReport,
    RtcpDecodeError,
    RtcpFault,
    RtcpReport,
    SenderInfo,
    SenderReport,
    SourceDescription,
    VoipMetrics,
    decode_rtcp,
)

REPORT = struct.pack("!IIIIII", 0xBEEF, 64 << 24 | 0xFFFFFE, 70_000, 160, 0x12345678, 98_304)
RECEIVED = RtcpReport(0xBEEF, 0.25, -2, 70_000, 160, 0x12345678, 1.5)


def rtcp(packet_type: int, body: bytes, *, count: int = 0, padding: int = 0) -> bytes:
    """One RTCP packet."""
    if padding:
        body += bytes(padding - 1) + bytes([padding])
    return struct.pack("!BBH", 0x80 | 0x20 * bool(padding) | count, packet_type, len(body) // 4) + body


SR = rtcp(200, struct.pack("!IIIIII", 7, 1, 2, 3, 4, 5) + REPORT, count=1)
RR = rtcp(201, struct.pack("!I", 7) + REPORT * 2, count=2)
SDES = rtcp(202, b"\0\0\0\7\1\3a@b\6\0" + b"\0" + b"\0\0\0\x08\0\0\0\0", count=2)
BYE = rtcp(203, struct.pack("!II", 7, 8) + b"\3bye", count=2)
APP = rtcp(204, struct.pack("!I", 7) + b"nameDATA", count=3)
VOIP = struct.pack("!BBHI", 7, 0, 8, 0xBEEF) + struct.pack(
    "!BBBBHHHHbbBBBBBBBxHHH", 64, 128, 0, 32, 120, 5000, 80, 40, -20, 127, 127, 16, 93, 127, 41, 127, 0, 40, 60, 200
)
XR = rtcp(207, struct.pack("!I", 7) + b"\4\0\0\2" + bytes(8) + VOIP)

METRICS = VoipMetrics(
    0xBEEF, 0.25, 0.5, 0.0, 0.125, 120, 5000, 80, 40, -20, None, None, 16, 93, None, 4.1, None, 40, 60, 200
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(SR, SenderReport(7, SenderInfo(1, 2, 3, 4, 5), (RECEIVED,)), id="sender-report"),
        pytest.param(RR, ReceiverReport(7, (RECEIVED, RECEIVED)), id="receiver-report"),
        pytest.param(rtcp(201, b"\0\0\0\7"), ReceiverReport(7, ()), id="empty-receiver-report"),
        pytest.param(SDES, SourceDescription(((7, ((1, "a@b"), (6, ""))), (8, ()))), id="source-description"),
        pytest.param(BYE, Goodbye((7, 8), "bye"), id="bye-with-reason"),
        pytest.param(rtcp(203, b""), Goodbye((), ""), id="bye-of-nobody"),
        pytest.param(APP, ApplicationPacket(7, 3, "name", b"DATA"), id="application"),
        pytest.param(XR, ExtendedReport(7, (METRICS,)), id="extended-report-with-voip-metrics-behind-another-block"),
        pytest.param(rtcp(205, b"\0\0\0\7", count=15), OtherPacket(205, b"\0\0\0\7"), id="feedback"),
        pytest.param(rtcp(201, b"\0\0\0\7", padding=4), ReceiverReport(7, ()), id="padding"),
    ],
)
def test_one_packet(data: bytes, expected: object) -> None:
    """Field by field (RFC 3550 section 6, RFC 3611 section 4.7)."""
    assert decode_rtcp(data) == (expected,)


def test_a_compound_packet_gives_its_packets_in_order() -> None:
    """A report, who it is from, and the rest."""
    kinds = [type(packet).__name__ for packet in decode_rtcp(SR + SDES + XR + BYE + APP)]

    assert kinds == ["SenderReport", "SourceDescription", "ExtendedReport", "Goodbye", "ApplicationPacket"]


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        pytest.param(b"", RtcpFault.TRUNCATED, 0, id="empty"),
        pytest.param(SR + b"\x80", RtcpFault.TRUNCATED, len(SR), id="cut-in-the-next-header"),
        pytest.param(SR[:-4], RtcpFault.TRUNCATED, 0, id="cut"),
        pytest.param(b"\x40" + SR[1:], RtcpFault.BAD_VERSION, 0, id="version-1"),
        pytest.param(b"\x82" + SR[1:], RtcpFault.BAD_LENGTH, 52, id="more-reports-than-bytes"),
        pytest.param(rtcp(201, b""), RtcpFault.BAD_LENGTH, 4, id="no-ssrc"),
        pytest.param(rtcp(201, b"\0\0\0\7", padding=4)[:-1] + b"\x09", RtcpFault.BAD_LENGTH, 0, id="padding-too-long"),
        pytest.param(b"\xa0\xcb\0\0", RtcpFault.BAD_LENGTH, 0, id="padding-without-body"),
        pytest.param(rtcp(202, b"\0\0\0\7\1\xff\0\0", count=1), RtcpFault.BAD_LENGTH, 8, id="item-over-its-packet"),
        pytest.param(rtcp(207, b"\0\0\0\7\7\0\0\x08"), RtcpFault.BAD_LENGTH, 8, id="block-over-its-packet"),
    ],
)
def test_a_broken_packet_is_refused_with_its_place(data: bytes, reason: RtcpFault, offset: int) -> None:
    """Nothing of a broken compound packet is used."""
    with pytest.raises(RtcpDecodeError) as caught:
        decode_rtcp(data)

    assert (caught.value.reason, caught.value.offset) == (reason, offset)


@given(at=st.integers(0, 500), value=st.integers(0, 255))
def test_any_damage_gives_packets_or_the_own_error(at: int, value: int) -> None:
    """Every truncation and every changed byte."""
    data = SR + RR + SDES + XR + BYE + APP
    at %= len(data)
    for damaged in (data[:at], data[:at] + bytes([value]) + data[at + 1 :]):
        try:
            assert decode_rtcp(damaged)
        except RtcpDecodeError:
            continue

"""Captures as a whole: the SIP and HEP in them, and that what we write is read again, by us and by others."""

import gzip
import json
import struct
import subprocess
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.builders import ALICE, BOB, ipv4, ipv6, ok, packet, sip, tcp, udp

from everline.wire.capture import SipExtractor, is_hep
from everline.wire.frame import Frame
from everline.wire.framing import FramingLoss
from everline.wire.loss import Loss
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import read_frames, write_pcap
from everline.wire.synth import Synthesizer

RAW = 101
HEP = b"HEP3" + struct.pack("!H", 12) + b"chunks"
SYN = tcp(seq=-1, flags=2)


def extract(*ip_packets: bytes) -> tuple[list[CapturedPacket], SipExtractor]:
    """Feed raw IP frames a millisecond apart."""
    extractor = SipExtractor()
    packets = [one for at, data in enumerate(ip_packets) for one in extractor.feed(Frame(at * 1000, RAW, data))]
    return packets + extractor.flush(), extractor


def read_back(packets: list[CapturedPacket]) -> list[CapturedPacket]:
    """Write a capture file, read it."""
    extractor = SipExtractor()
    frames = read_frames(b"".join(write_pcap(packets)))
    return [*chain.from_iterable(extractor.feed(frame) for frame in frames), *extractor.flush()]


def payloads(packets: list[CapturedPacket]) -> list[bytes]:
    """Only what was carried."""
    return [one.payload for one in packets]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(sip(), id="request"),
        pytest.param(ok(), id="response"),
        pytest.param(b"\r\n\r\n" + sip(), id="line-ends-before-it"),
        pytest.param(b"x-Vendor!1 tel:+49 SIP/2.0\r\n\r\n", id="method-of-a-vendor"),
        pytest.param(HEP, id="hep"),
    ],
)
def test_a_datagram_is_known_by_its_content_on_any_port(data: bytes) -> None:
    """One datagram is one message, byte-exact, with the addresses of its packet."""
    (got,), _ = extract(ipv4(udp(data, src_port=1, dst_port=65_535)))

    assert got == CapturedPacket(0, 17, ALICE, 1, BOB, 65_535, data)
    assert is_hep(got) == (data == HEP)


@pytest.mark.parametrize(
    ("ip_packet", "reason"),
    [
        pytest.param(ipv4(udp(b"\x80\x08rtp")), Loss.NOT_SIP, id="rtp"),
        pytest.param(ipv4(udp(b"GET / HTTP/1.1\r\n\r\n")), Loss.NOT_SIP, id="http"),
        pytest.param(ipv4(udp(b"\r\n\r\n")), Loss.NOT_SIP, id="keep-alive"),
        pytest.param(ipv4(udp(b"INVITE sip:x SIP/3.0\r\n")), Loss.NOT_SIP, id="another-version"),
        pytest.param(ipv4(b"\0\1\0\2\0\7\0\0"), Loss.BAD_UDP, id="udp-shorter-than-its-header"),
        pytest.param(ipv4(b"\0\1\0\2\1\0\0\0" + sip()), Loss.BAD_UDP, id="udp-longer-than-its-packet"),
        pytest.param(ipv4(b"\0\1\0\2"), Loss.BAD_UDP, id="udp-cut-in-its-header"),
        pytest.param(ipv4(sip(), 132), Loss.NOT_UDP_OR_TCP, id="sctp"),
        pytest.param(b"\x05", Loss.BAD_IP, id="no-ip"),
    ],
)
def test_what_is_no_sip_is_counted_by_reason(ip_packet: bytes, reason: Loss) -> None:
    """Frames in = packets out + counted."""
    packets, extractor = extract(ip_packet)

    assert packets == []
    assert extractor.losses == {reason: 1}


def test_a_message_cut_by_the_snap_length_is_given_and_counted() -> None:
    """Its headers are worth having."""
    packets, extractor = extract(ipv4(udp(sip(body=b"x" * 100)))[:-60])

    assert payloads(packets) == [sip(body=b"x" * 100)[:-60]]
    assert extractor.losses == {Loss.TRUNCATED: 1}


def test_messages_over_tcp_are_timed_by_the_segment_that_completes_them() -> None:
    """Segments know nothing of messages: one may end two, and two may make one."""
    stream = sip("1", body=b"x" * 50) + ok("1") + sip("2")
    packets, extractor = extract(
        ipv4(SYN, 6),
        ipv4(tcp(stream[:90]), 6),
        ipv4(tcp(stream[90:-1], seq=90), 6),
        ipv4(tcp(stream[-1:], seq=len(stream) - 1), 6),
    )

    assert [(one.captured_us, one.payload) for one in packets] == [
        (2000, sip("1", body=b"x" * 50)), (2000, ok("1")), (3000, sip("2")),
    ]  # fmt: skip
    assert {(one.ip_proto, one.src_ip, one.src_port, one.dst_ip, one.dst_port) for one in packets} == {
        (6, ALICE, 5060, BOB, 5062)
    }
    assert not extractor.losses


@given(order=st.permutations(range(8)), cuts=st.lists(st.integers(1, 300), min_size=7, max_size=7, unique=True))
def test_segments_in_any_order_give_the_same_messages_at_the_same_times(order: list[int], cuts: list[int]) -> None:
    """Each segment keeps its capture time; only the order in the file differs."""
    stream = sip("1") + ok("1") + sip("2", body=b"b" * 40) + ok("2") + sip("3")
    bounds = [0, *sorted(cuts), len(stream)]
    frames = [
        Frame(at * 1000, RAW, ipv4(tcp(stream[bounds[at] : bounds[at + 1]], seq=bounds[at]), 6)) for at in range(8)
    ]
    results = []
    for arrangement in (range(8), order):
        extractor = SipExtractor()
        extractor.feed(Frame(0, RAW, ipv4(SYN, 6)))
        got = [one for index in arrangement for one in extractor.feed(frames[index])]
        results.append(got + extractor.flush())

    assert payloads(results[0]) == [sip("1"), ok("1"), sip("2", body=b"b" * 40), ok("2"), sip("3")]
    assert results[0] == results[1]


def test_a_hole_in_a_stream_costs_its_message_and_no_other() -> None:
    """The rest of the cut message is garbage, then the next start line is found."""
    first, second = sip("1", body=b"x" * 3000 + b"\r\n"), sip("2")
    stream = first + second
    segments = [ipv4(tcp(stream[at : at + 500], seq=at), 6) for at in range(0, len(stream), 500)]
    packets, extractor = extract(segments[0], *segments[2:])

    assert payloads(packets) == [second]
    assert extractor.losses == {Loss.TCP_GAP: 1}
    assert extractor.lost_bytes == {FramingLoss.CUT_OFF: 500, FramingLoss.GARBAGE: len(first) - 1000}


@pytest.mark.parametrize(
    "stream",
    [pytest.param(HEP + HEP, id="plain"), pytest.param(gzip.compress(HEP + HEP), id="compressed")],
)
def test_hep_over_tcp_is_known_by_the_beginning_of_the_stream(stream: bytes) -> None:
    """Even when that comes byte by byte."""
    packets, _ = extract(*(ipv4(tcp(stream[at : at + 1], seq=at), 6) for at in range(len(stream))))

    assert payloads(packets) == [HEP, HEP]
    assert all(map(is_hep, packets))


def test_a_stream_that_ends_inside_a_message_is_counted() -> None:
    """Also when not even four bytes of it are known."""
    _, extractor = extract(ipv4(tcp(b"INV"), 6))
    assert extractor.lost_bytes == {FramingLoss.CUT_OFF: 3}

    _, extractor = extract(ipv4(tcp(sip()[:-1]), 6))
    assert extractor.lost_bytes == {FramingLoss.CUT_OFF: len(sip()) - 1}


def test_incomplete_messages_of_many_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest idle stream gives up its message; the others go on."""
    monkeypatch.setattr("everline.wire.capture._MAX_PENDING_BYTES", 299)
    extractor = SipExtractor()
    half, rest = sip(body=b"x" * 100)[:100], sip(body=b"x" * 100)[100:]
    for port in (1, 2, 3):
        extractor.feed(Frame(0, RAW, ipv4(port.to_bytes(2, "big") + tcp(half)[2:], 6)))
    got = [
        extractor.feed(Frame(0, RAW, ipv4(port.to_bytes(2, "big") + tcp(rest, seq=100)[2:], 6))) for port in (1, 2, 3)
    ]

    assert [len(one) for one in got] == [0, 1, 1]
    assert extractor.lost_bytes[FramingLoss.CUT_OFF] == 100


def test_fragments_of_a_message_are_put_together() -> None:
    """A long INVITE over UDP comes in fragments, IPv6 as well as IPv4."""
    datagram = udp(sip(body=b"x" * 2000))
    (four,), _ = extract(ipv4(datagram[:1480], frag=0x2000), ipv4(datagram[1480:], frag=185))
    (six,), _ = extract(
        ipv6(struct.pack("!BxHI", 17, 1, 7) + datagram[:1440], 44),
        ipv6(struct.pack("!BxHI", 17, 1440, 7) + datagram[1440:], 44),
    )

    assert four.payload == six.payload == sip(body=b"x" * 2000)


def test_a_capture_in_which_any_byte_is_changed_still_gives_its_other_messages() -> None:
    """Damage stays in its frame."""
    frame = ipv4(udp(sip("1")))
    for at in range(len(frame)):
        packets, _ = extract(frame[:at] + bytes([frame[at] ^ 0xFF]) + frame[at + 1 :], ipv4(udp(sip("2"))))
        assert payloads(packets)[-1] == sip("2")


ADDRESSES = st.sampled_from([("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")])


@st.composite
def captured(draw: st.DrawFn) -> list[CapturedPacket]:
    """Messages of a few conversations, over UDP and TCP, with bodies of any size, in order of time."""
    count = draw(st.integers(1, 8))
    packets = []
    for at in range(count):
        src, dst = draw(ADDRESSES)
        src, dst = draw(st.sampled_from([(src, dst), (dst, src)]))
        size = draw(st.sampled_from([0, 1, 1000, 1001, 65_000, 65_200]))
        message = draw(st.sampled_from([sip(str(at), body=b"\xff" * size), ok(str(at))]))
        proto = draw(st.sampled_from([6, 17]))
        packets.append(CapturedPacket(1_700_000_000_000_000 + at, proto, src, 5060, dst, 5060, message))
    return packets


@given(captured())
def test_what_is_written_is_read_back(packets: list[CapturedPacket]) -> None:
    """Byte-exact, with times, addresses and transports."""
    assert read_back(packets) == packets


def test_a_payload_beyond_udp_goes_over_tcp_and_stays_byte_exact() -> None:
    """A message which came in by HEP over TCP may be longer than any datagram."""
    for size, proto in ((65_507, 17), (65_508, 6)):
        frames = list(Synthesizer().frames(packet(b"z" * size)))
        assert {frame[9] for frame in frames} == {proto}
        assert b"".join(frame[40 if proto == 6 else 28 :] for frame in frames) == b"z" * size


@pytest.mark.parametrize(
    ("src", "dst", "version"),
    [
        pytest.param("", "192.0.2.1", 4, id="no-address"),
        pytest.param("192.0.2.1", "2001:db8::1", 6, id="mixed-families"),
        pytest.param("fe80::1%eth0", "fe80::2", 6, id="with-a-zone"),
    ],
)
def test_odd_addresses_still_make_a_frame(src: str, dst: str, version: int) -> None:
    """An agent that knows no address is no reason to lose the message on export."""
    (frame,) = Synthesizer().frames(CapturedPacket(0, 17, src, 1, dst, 2, sip()))

    assert frame[0] >> 4 == version
    assert frame.endswith(sip())


def test_forgotten_connections_start_anew_further_on() -> None:
    """Memory is bounded; sequence numbers from the clock never run backwards for the reader."""
    synthesizer = Synthesizer(max_connections=1)
    seqs = []
    for at, port in ((1, 5060), (2, 9), (1000, 5060)):
        one = CapturedPacket(at, 6, ALICE, port, BOB, 5062, ok())
        (frame,) = synthesizer.frames(one)
        seqs.append(int.from_bytes(frame[24:28], "big"))

    assert seqs == [1, 2, 1000]


def tshark(file: Path, *arguments: str) -> list[dict[str, list[str]]]:
    """The fields of each packet as tshark sees it, with every checksum verified."""
    checks = [f"{name}.check_checksum:TRUE" for name in ("ip", "udp", "tcp")]
    command = ["tshark", "-r", str(file), "-T", "json", *chain.from_iterable(("-o", one) for one in checks), *arguments]
    fields = [
        "sip.Method", "sip.Status-Code", "_ws.malformed", "_ws.expert.message",
        "ip.checksum.status", "udp.checksum.status", "tcp.checksum.status", "tcp.analysis.flags",
    ]  # fmt: skip
    command += chain.from_iterable(("-e", field) for field in fields)
    output = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return [one["_source"]["layers"] for one in json.loads(output)]


@pytest.mark.peers
def test_tshark_finds_our_files_faultless(tmp_path: Path) -> None:
    """A call over UDP and TCP, IPv4 and IPv6, small and large: SIP in all, right checksums, no expert notes."""
    packets = []
    for index, ((src, dst), proto, size) in enumerate(
        (ends, proto, size)
        for ends in (("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9"))
        for proto in (17, 6, 22)
        for size in (0, 3001, 65_000, 70_000)
        if proto != 17 or size < 70_000
    ):
        port = 5060 + index
        at = 1_700_000_000_000_000 + index * 1000
        request = sip(f"call-{index}", body=b"x" * size, method="MESSAGE")
        packets += [
            CapturedPacket(at, proto, src, port, dst, 5060, request),
            CapturedPacket(at + 200, proto, dst, 5060, src, port, ok(f"call-{index}")),
        ]
    file = tmp_path / "call.pcap"
    file.write_bytes(b"".join(write_pcap(packets)))

    rows = tshark(file, "-d", "tcp.port==5060-5090,sip")
    assert (
        sum("sip.Method" in row for row in rows) == sum("sip.Status-Code" in row for row in rows) == len(packets) // 2
    )
    for row in rows:
        assert not {"_ws.malformed", "_ws.expert.message", "tcp.analysis.flags"} & set(row)
        assert {status for key in row if key.endswith("checksum.status") for status in row[key]} == {"1"}

"""IP packets: headers, extension headers, fragments, tunnels, and what a capture does to them."""

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.builders import ALICE, ALICE6, ipv4, ipv6, udp

from everline.wire.frame import Frame
from everline.wire.ip import IpPayload, IpReader, address_text
from everline.wire.loss import Loss

RAW = 101
MORE = 0x2000
DATAGRAM = udp(bytes(range(256)) * 8)


def read(*packets: bytes, link_type: int = RAW) -> tuple[list[IpPayload], Counter[str]]:
    """The payloads of frames a millisecond apart, and what was lost."""
    counts: Counter[str] = Counter()
    reader = IpReader(counts)
    payloads = [reader.feed(Frame(at * 1000, link_type, data)) for at, data in enumerate(packets)]
    reader.flush()
    return [payload for payload in payloads if payload], counts


def fragments4(data: bytes, *, size: int = 512, ident: int = 1) -> list[bytes]:
    """IPv4 fragments of a payload."""
    starts = range(0, len(data), size)
    return [
        ipv4(data[at : at + size], frag=at // 8 | (MORE if at + size < len(data) else 0), ident=ident) for at in starts
    ]


def fragments6(data: bytes, *, size: int = 512) -> list[bytes]:
    """IPv6 fragments of a UDP payload, behind a hop-by-hop header."""
    hop_by_hop = bytes([44, 0]) + bytes(6)
    return [
        ipv6(
            hop_by_hop + struct.pack("!BxHI", 17, at | (at + size < len(data)), 77) + data[at : at + size],
            next_header=0,
        )
        for at in range(0, len(data), size)
    ]


def extension(next_header: int, *, units: int = 0) -> bytes:
    """An IPv6 extension header of the usual shape."""
    return bytes([next_header, units]) + bytes(6 + units * 8)


def gre(kind: int, payload: bytes, *, flags: int = 0) -> bytes:
    """A GRE packet with the optional fields that its flags announce."""
    optional = 4 * sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    return struct.pack("!HH", flags, kind) + bytes(optional) + payload


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ipv4(DATAGRAM), id="ipv4"),
        pytest.param(ipv4(DATAGRAM, options=b"\x94\x04\0\0"), id="ipv4-options"),
        pytest.param(ipv4(DATAGRAM) + bytes(18), id="ipv4-ethernet-padding"),
        pytest.param(ipv4(DATAGRAM)[:2] + b"\0\0" + ipv4(DATAGRAM)[4:], id="ipv4-length-left-to-the-network-card"),
        pytest.param(ipv6(DATAGRAM), id="ipv6"),
        pytest.param(ipv6(DATAGRAM) + bytes(3), id="ipv6-padding"),
        pytest.param(ipv6(DATAGRAM)[:4] + b"\0\0" + ipv6(DATAGRAM)[6:], id="ipv6-jumbogram"),
        pytest.param(ipv6(extension(60) + extension(17, units=2) + DATAGRAM, 0), id="ipv6-extension-headers"),
        pytest.param(ipv6(bytes([17, 4]) + bytes(22) + DATAGRAM, 51), id="ipv6-authentication-header"),
        pytest.param(ipv6(struct.pack("!BxHI", 17, 0, 9) + DATAGRAM, 44), id="ipv6-atomic-fragment"),
        pytest.param(ipv4(ipv4(DATAGRAM), 4), id="ip-in-ip"),
        pytest.param(ipv4(ipv6(DATAGRAM), 41), id="6in4"),
        pytest.param(ipv6(ipv4(DATAGRAM), 4), id="4in6"),
        pytest.param(ipv4(gre(0x0800, ipv4(DATAGRAM)), 47), id="gre"),
        pytest.param(ipv4(gre(0x86DD, ipv6(DATAGRAM), flags=0xB000), 47), id="gre-with-all-options"),
        pytest.param(ipv4(gre(0x6558, bytes(12) + b"\x08\x00" + ipv4(DATAGRAM)), 47), id="gre-bridged-ethernet"),
    ],
)
def test_a_payload_comes_out_of_whatever_is_around_it(packet: bytes) -> None:
    """Options, extension headers, padding and tunnels are taken off."""
    (payload,), counts = read(packet)

    assert (payload.ip_proto, payload.data, payload.cut_bytes) == (17, DATAGRAM, 0)
    assert address_text(payload.src) in {ALICE, ALICE6}
    assert not counts


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        pytest.param(b"", Loss.NOT_IP, id="nothing"),
        pytest.param(b"\x95" + bytes(40), Loss.BAD_IP, id="version-9"),
        pytest.param(ipv4(b"")[:19], Loss.BAD_IP, id="ipv4-cut-in-its-header"),
        pytest.param(b"\x44" + ipv4(b"")[1:], Loss.BAD_IP, id="ipv4-header-too-short"),
        pytest.param(ipv4(b"")[:2] + b"\0\x05" + ipv4(b"")[4:], Loss.BAD_IP, id="ipv4-total-within-the-header"),
        pytest.param(ipv6(b"")[:39], Loss.BAD_IP, id="ipv6-cut-in-its-header"),
        pytest.param(ipv6(b"\x11", 0), Loss.BAD_IP, id="ipv6-cut-in-an-extension"),
        pytest.param(ipv6(b"\x11", 44), Loss.BAD_IP, id="ipv6-cut-in-a-fragment-header"),
        pytest.param(ipv6(extension(0) * 20, 0), Loss.BAD_IP, id="ipv6-extensions-without-end"),
        pytest.param(ipv4(ipv4(ipv4(ipv4(ipv4(ipv4(b"", 4), 4), 4), 4), 4), 4), Loss.TUNNEL_TOO_DEEP, id="tunnels"),
        pytest.param(ipv4(gre(0x880B, b"ppp", flags=1), 47), Loss.NOT_IP, id="pptp"),
        pytest.param(ipv4(b"", 47), Loss.NOT_IP, id="gre-cut"),
        pytest.param(fragments4(DATAGRAM)[0][:200], Loss.FRAGMENT_TRUNCATED, id="fragment-cut-by-snap-length"),
        pytest.param(ipv4(b"1234567", frag=MORE), Loss.FRAGMENT_BAD, id="fragment-not-in-units-of-8"),
        pytest.param(ipv4(bytes(16), frag=0x1FFF), Loss.FRAGMENT_BAD, id="fragment-beyond-65535"),
        pytest.param(ipv4(b"", frag=MORE), Loss.FRAGMENT_BAD, id="fragment-without-data"),
    ],
)
def test_what_gives_nothing_is_counted_by_reason(packet: bytes, reason: Loss) -> None:
    """A passive reader never argues; it counts."""
    payloads, counts = read(packet)

    assert payloads == []
    assert counts == {reason: 1}


def test_an_unknown_link_type_is_counted() -> None:
    """USB captures hold no calls."""
    assert read(b"usb", link_type=189) == ([], Counter({Loss.UNKNOWN_LINK: 1}))


def test_a_payload_cut_by_the_snap_length_says_how_much_is_missing() -> None:
    """What is left may still be of use."""
    for packet in (ipv4(DATAGRAM), ipv6(DATAGRAM)):
        (payload,), _ = read(packet[:-100])
        assert (payload.data, payload.cut_bytes) == (DATAGRAM[:-100], 100)


@given(order=st.permutations(range(5)), v6=st.booleans())
def test_fragments_in_any_order_give_the_datagram_at_the_time_of_the_latest(order: list[int], *, v6: bool) -> None:
    """The order of arrival makes no difference (RFC 791, RFC 8200)."""
    made = fragments6(DATAGRAM) if v6 else fragments4(DATAGRAM)
    (payload,), counts = read(*(made[index] for index in order))

    assert (payload.captured_us, payload.data) == (4000, DATAGRAM)
    assert not counts


def test_fragmented_datagrams_inside_a_tunnel_and_a_fragmented_tunnel() -> None:
    """The inner and the outer packet may both be in fragments."""
    inner = [ipv4(one, 4) for one in fragments4(DATAGRAM)]
    outer = fragments4(ipv4(DATAGRAM), ident=9)
    outer = [one[:9] + b"\x04" + one[10:] for one in outer]

    assert [payload.data for payload in read(*inner, *outer)[0]] == [DATAGRAM, DATAGRAM]


def test_a_fragment_twice_is_no_overlap() -> None:
    """A mirrored port shows each packet twice."""
    made = fragments4(DATAGRAM)
    payloads, counts = read(*(one for one in made[:-1] for _ in (1, 2)), made[-1])

    assert [payload.data for payload in payloads] == [DATAGRAM]
    assert not counts


@pytest.mark.parametrize(
    "intruder",
    [
        pytest.param(ipv4(b"x" * 512, frag=MORE | 8), id="over-two-fragments"),
        pytest.param(ipv4(b"x" * 512, frag=MORE), id="in-the-place-of-one"),
        pytest.param(ipv4(b"x" * 8, frag=16), id="a-last-one-in-the-middle"),
        pytest.param(ipv4(b"x" * 8, frag=MORE | 1000), id="behind-the-last-one"),
        pytest.param(ipv4(b"x" * 8, frag=1000), id="a-second-last-one"),
    ],
)
def test_an_overlap_gives_the_datagram_up(intruder: bytes) -> None:
    """RFC 5722: which of the two is right cannot be known; all later fragments go too."""
    made = fragments4(DATAGRAM)
    payloads, counts = read(made[0], made[-1], made[1], intruder, *made[2:-1])

    assert payloads == []
    assert counts == {Loss.FRAGMENT_OVERLAP: 1}


def test_a_datagram_that_stays_incomplete_is_given_up_after_the_time_out() -> None:
    """By capture time: 30 s after its first fragment, or at the end of the capture."""
    counts: Counter[str] = Counter()
    reader = IpReader(counts)
    reader.feed(Frame(0, RAW, fragments4(DATAGRAM, ident=1)[0]))
    reader.feed(Frame(29_000_000, RAW, fragments4(DATAGRAM, ident=2)[0]))
    assert not counts

    reader.feed(Frame(31_000_000, RAW, fragments4(DATAGRAM, ident=3)[0]))
    assert counts == {Loss.FRAGMENT_TIMEOUT: 1}
    reader.flush()
    assert counts == {Loss.FRAGMENT_TIMEOUT: 3}


def test_incomplete_datagrams_are_bounded() -> None:
    """A flood of first fragments pushes the oldest out; a whole datagram still gets through."""
    flood = [ipv4(bytes(8), frag=MORE, ident=ident) for ident in range(4096 + 10)]
    payloads, counts = read(*flood, *fragments4(DATAGRAM, ident=60_000))

    assert [payload.data for payload in payloads] == [DATAGRAM]
    assert counts[Loss.FRAGMENT_EVICTED] == 11


@given(data=st.data())
def test_any_damage_gives_a_payload_or_a_count(data: st.DataObject) -> None:
    """Every truncation and every changed byte of valid packets."""
    packet = data.draw(
        st.sampled_from(
            [*fragments4(DATAGRAM[:64], size=32), *fragments6(DATAGRAM[:64], size=32), ipv4(ipv6(extension(17)), 41)]
        )
    )
    at, value = data.draw(st.integers(0, len(packet) - 1)), data.draw(st.integers(0, 255))
    for damaged in (packet[:at], packet[:at] + bytes([value]) + packet[at + 1 :]):
        payloads, counts = read(damaged)
        assert len(payloads) + counts.total() == 1

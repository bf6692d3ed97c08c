"""HEP 1, 2 and 3 as real agents send them; what is broken is refused with a reason and nothing else is raised."""

import gzip
import struct
import zlib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.wire.frames import ASTERISK, KAMAILIO, SEC, SEEDS, SIP, USEC, chunk, chunks, hep2_time, hep3, hep12

from everline.wire.hep import (
    MAX_CHUNKS,
    MAX_PAYLOAD_BYTES,
    HepDecodeError,
    HepFault,
    HepPacket,
    decode_hep,
    encode_hep3,
    looks_like_hep,
)
from everline.wire.packet import CapturedPacket

USUAL = HepPacket(SEC * 1_000_000 + USEC, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, SIP, capture_id=77)
MAPPED = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 1))
V6 = ip_address("2001:db8::1").packed


def usual(*tail: bytes) -> bytes:
    """A packet of the usual chunks, with others in place of the payload."""
    return hep3([chunks()[name] for name in KAMAILIO] + list(tail))


def reason(data: bytes) -> HepFault:
    """Why a packet is refused."""
    with pytest.raises(HepDecodeError) as caught:
        decode_hep(data)
    return caught.value.reason


# --- version 3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([*KAMAILIO, "payload"], id="kamailio-addresses-third"),
        pytest.param([*ASTERISK, "payload"], id="asterisk-addresses-last"),
        pytest.param(["payload", *KAMAILIO], id="payload-first"),
        pytest.param(["payload", *KAMAILIO][::-1], id="backwards"),
    ],
)
def test_the_usual_chunks_in_any_order(order: list[str]) -> None:
    """The specification fixes no order, and the agents of the field use five."""
    made = chunks()

    assert decode_hep(hep3(made[name] for name in order)) == USUAL


@given(st.permutations([*KAMAILIO, "payload", "key", "correlation", "node", "vlan", "other"]))
@example([*KAMAILIO, "key", "correlation", "node", "vlan", "other", "payload"])
@example([*ASTERISK, "correlation", "payload", "key", "node", "vlan", "other"])
def test_every_order_of_chunks_means_the_same(order: list[str]) -> None:
    """The short cut for the usual orders and the way for all others agree."""
    made = chunks(
        key=chunk(0x0E, b"secret"),
        correlation=chunk(0x11, b"a@b"),
        node=chunk(0x13, b"sbc-1"),
        vlan=chunk(0x12, b"\x00\x05"),
        other=chunk(0x0F, b"not this", vendor=5),
    )

    assert decode_hep(hep3(made[name] for name in order)) == USUAL._replace(
        auth_key=b"secret", correlation_id=b"a@b", node_name=b"sbc-1", extra=((0x12, b"\x00\x05"),)
    )


def test_all_other_generic_chunks_are_kept_in_the_order_sent() -> None:
    """MAC addresses, MOS, tags and chunks of a later specification: nothing that was sent is thrown away."""
    others = [(kind, bytes((kind % 256,)) * (kind % 5)) for kind in (0x0D, 0x12, *range(0x14, 0x2A), 0x7FFF)]

    got = decode_hep(usual(*(chunk(*one) for one in others), chunk(0x0F, SIP)))

    assert got == USUAL._replace(extra=tuple(others))


@pytest.mark.parametrize(
    "vendor",
    [pytest.param(1, id="freeswitch"), pytest.param(2, id="kamailio"), pytest.param(0xFFFF, id="nobody")],
)
@pytest.mark.parametrize("kind", [0x02, 0x03, 0x09, 0x0E, 0x0F, 0x10, 0x11, 0x13, 0x99])
def test_chunks_of_vendors_are_skipped_whatever_their_type(vendor: int, kind: int) -> None:
    """A vendor's chunk 0x0f is no payload and its 0x03 no address: types mean something only under vendor 0."""
    foreign = chunk(kind, b"\x00\x01", vendor=vendor)
    made = list(chunks().values())

    assert decode_hep(hep3([foreign, *made])) == USUAL
    assert decode_hep(hep3([*made, foreign])) == USUAL


@pytest.mark.parametrize(
    ("changed", "src_ip"),
    [
        pytest.param({"src": chunk(5, V6), "family": chunk(1, b"\x0a")}, "2001:db8::1", id="ipv6"),
        pytest.param({"src": chunk(5, V6), "family": chunk(1, b"\x1c")}, "2001:db8::1", id="family-28-of-bsd"),
        pytest.param({"src": chunk(5, V6)}, "2001:db8::1", id="ipv6-although-the-family-says-4"),
        pytest.param({"src": chunk(3, MAPPED)}, "192.0.2.1", id="a-mapped-address-of-16-bytes-in-the-ipv4-chunk"),
        pytest.param({"src": chunk(5, MAPPED)}, "192.0.2.1", id="a-mapped-address-in-the-ipv6-chunk"),
        pytest.param({"src": chunk(3, V6)}, "2001:db8::1", id="ipv6-in-the-ipv4-chunk"),
        pytest.param({"src": chunk(5, bytes((192, 0, 2, 1)))}, "192.0.2.1", id="ipv4-in-the-ipv6-chunk"),
        pytest.param({"src": chunk(5, bytes(16))}, "::", id="ipv6-of-nothing"),
        pytest.param({"src": chunk(0x12, b"\x00\x00")}, "", id="no-address-at-all"),
    ],
)
def test_addresses(changed: dict[str, bytes], src_ip: str) -> None:
    """The length says what an address is: family and chunk number are wrong in the field."""
    got = decode_hep(hep3(chunks(**changed).values()))

    assert (got.src_ip, got.dst_ip, got.payload) == (src_ip, "198.51.100.2", SIP)


@pytest.mark.parametrize(
    "proto", [pytest.param(6, id="tcp"), pytest.param(22, id="tls-as-kamailio-says-it"), pytest.param(132, id="sctp")]
)
def test_the_transport_is_kept_as_sent(proto: int) -> None:
    """Kamailio and sofia send 22 (IDP) for TLS; whoever shows it knows what that means."""
    assert decode_hep(hep3(chunks(proto=chunk(2, bytes((proto,)))).values())).ip_proto == proto


@pytest.mark.parametrize(
    ("sec", "usec", "captured_us"),
    [
        pytest.param(0, 0, 0, id="none"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF * 1_000_001, id="absurd"),
        pytest.param(1, 1_500_000, 2_500_000, id="more-than-a-second-of-microseconds"),
    ],
)
def test_capture_time_is_given_as_sent(sec: int, usec: int, captured_us: int) -> None:
    """Whether to believe it is for the one who knows what time it is."""
    made = chunks(sec=chunk(9, struct.pack("!I", sec)), usec=chunk(10, struct.pack("!I", usec)))

    assert decode_hep(hep3(made.values())).captured_us == captured_us


@pytest.mark.parametrize(
    "compress", [pytest.param(zlib.compress, id="zlib"), pytest.param(gzip.compress, id="gzip"), pytest.param(
        lambda plain: zlib.compress(plain)[2:-4], id="raw-deflate")]
)  # fmt: skip
def test_a_compressed_payload_in_every_format(compress: Callable[[bytes], bytes]) -> None:
    """The specification says gzip, the agents send zlib."""
    assert decode_hep(usual(chunk(0x10, compress(SIP)))) == USUAL


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(zlib.compress(bytes(MAX_PAYLOAD_BYTES + 1)), HepFault.TOO_LARGE, id="more-than-a-datagram"),
        pytest.param(zlib.compress(bytes(50_000_000), 9), HepFault.TOO_LARGE, id="a-bomb"),
        pytest.param(zlib.compress(SIP)[:-1], HepFault.BAD_COMPRESSION, id="cut-off"),
        pytest.param(SIP, HepFault.BAD_COMPRESSION, id="not-compressed"),
        pytest.param(b"", HepFault.BAD_COMPRESSION, id="empty"),
    ],
)
def test_compression_that_does_not_work_is_refused(value: bytes, expected: HepFault) -> None:
    """What would come out is bounded, whatever the packet says."""
    assert reason(usual(chunk(0x10, value))) is expected


@pytest.mark.parametrize(
    "payload",
    [pytest.param(b"", id="empty"), pytest.param(b"\x00\xff\xfe\r\n\x00", id="nul-and-bytes-that-are-not-utf-8")],
)
def test_the_payload_is_given_byte_for_byte(payload: bytes) -> None:
    """What is stored is what was captured."""
    assert decode_hep(usual(chunk(0x0F, payload))).payload == payload


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", HepFault.NOT_HEP, id="empty"),
        pytest.param(b"HEP", HepFault.NOT_HEP, id="half-a-name"),
        pytest.param(b"EEP1\x00\x06", HepFault.NOT_HEP, id="the-older-draft"),
        pytest.param(SIP, HepFault.NOT_HEP, id="sip"),
        pytest.param(b"HEP3\x00", HepFault.TRUNCATED, id="half-a-length"),
        pytest.param(b"HEP3\x00\x05", HepFault.BAD_LENGTH, id="shorter-than-its-own-header"),
        pytest.param(b"HEP3\x00\x06", HepFault.NO_PAYLOAD, id="no-chunk"),
        pytest.param(usual(), HepFault.NO_PAYLOAD, id="all-but-the-payload"),
        pytest.param(usual(chunk(0x0F, SIP, vendor=2)), HepFault.NO_PAYLOAD, id="only-a-vendor's-payload"),
        pytest.param(usual(chunk(0x0F, SIP))[:-1], HepFault.TRUNCATED, id="one-byte-less-than-it-says"),
        pytest.param(usual(chunk(0x0F, SIP), b"\x00" * 5), HepFault.BAD_CHUNK, id="half-a-chunk-at-the-end"),
        pytest.param(usual(b"\x00\x00\x00\x0f\x00\x05"), HepFault.BAD_CHUNK, id="a-chunk-shorter-than-its-header"),
        pytest.param(usual(b"\x00\x00\x00\x0f\x00\x07"), HepFault.BAD_CHUNK, id="a-chunk-longer-than-the-packet"),
        pytest.param(hep3([chunk(7, b"\x01")]), HepFault.NO_PAYLOAD, id="a-payload-counts-first"),
        pytest.param(hep3([chunk(0x0F, SIP), chunk(7, b"\x01")]), HepFault.BAD_CHUNK, id="a-port-of-one-byte"),
        pytest.param(hep3([chunk(0x0F, SIP), chunk(3, b"\x01")]), HepFault.BAD_CHUNK, id="an-address-of-one-byte"),
        pytest.param(usual(*[chunk(1, b"")] * 10_000), HepFault.TOO_MANY_CHUNKS, id="ten-thousand-chunks"),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_reason(data: bytes, expected: HepFault) -> None:
    """The reason labels a counter, so the set is closed."""
    assert reason(data) is expected


def test_the_text_of_an_error_says_where_and_what_to_do() -> None:
    """One line for the operator of the agent."""
    with pytest.raises(HepDecodeError, match="hep_truncated at byte 9; check the capture agent's HEP version"):
        decode_hep(b"HEP3\x00\x99abc")


def test_bytes_behind_the_declared_end_are_ignored() -> None:
    """UDP padding, and agents that write too small a length, do not cost the packet."""
    assert decode_hep(usual(chunk(0x0F, SIP)) + b"HEP3 and more") == USUAL


@pytest.mark.parametrize("first", KAMAILIO)
def test_the_number_of_chunks_is_bounded(first: str) -> None:
    """As many as any agent sends are taken; the shortest packet that has more is refused."""
    made = chunks()
    lead = [made.pop(first), *made.values()]
    filler = chunk(0x24, b"")

    assert len(decode_hep(hep3(lead + [filler] * 100)).extra) == 100
    assert reason(hep3(lead + [filler] * MAX_CHUNKS)) is HepFault.TOO_MANY_CHUNKS


# --- versions 1 and 2 --------------------------------------------------------------------------------------------

OLD = HepPacket(0, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, SIP, version=1)
DATED = USUAL._replace(version=2)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(hep12(1), OLD, id="version-1-has-no-time"),
        pytest.param(hep12(2, time=hep2_time()), DATED, id="version-2-little-endian-as-kamailio-sends-it"),
        pytest.param(hep12(2, time=hep2_time(order=">")), DATED, id="version-2-big-endian"),
        pytest.param(
            hep12(2, time=bytes.fromhex("2e6fa75d") + bytes(8)),
            DATED._replace(captured_us=1_571_254_062_000_000, capture_id=0),
            id="2019-little-endian-and-not-1994",
        ),
        pytest.param(
            hep12(2, time=hep2_time(sec=0, usec=0)), DATED._replace(captured_us=0), id="version-2-without-a-time"
        ),
        pytest.param(
            hep12(2, time=hep2_time(usec=1_000_000)),
            DATED._replace(captured_us=0),
            id="neither-byte-order-gives-a-time",
        ),
        pytest.param(
            hep12(1, family=10, src="2001:db8::1", dst="2001:db8::2"),
            OLD._replace(src_ip="2001:db8::1", dst_ip="2001:db8::2"),
            id="ipv6",
        ),
        pytest.param(
            hep12(1, family=30, src="2001:db8::1", dst="2001:db8::2"),
            OLD._replace(src_ip="2001:db8::1", dst_ip="2001:db8::2"),
            id="family-30-of-macos",
        ),
        pytest.param(hep12(2, time=hep2_time(), head_bytes=28), DATED, id="header-length-with-the-time"),
    ],
)
def test_versions_1_and_2(data: bytes, expected: HepPacket) -> None:
    """They have no specification: ports are big-endian, the time is whichever order gives one of this century."""
    assert decode_hep(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"\x01", HepFault.TRUNCATED, id="one-byte"),
        pytest.param(b"\x02\x10\x02", HepFault.TRUNCATED, id="three-bytes"),
        pytest.param(hep12(1, payload=b""), HepFault.TRUNCATED, id="version-1-no-payload"),
        pytest.param(hep12(1, payload=b"")[:-1], HepFault.TRUNCATED, id="version-1-half-an-address"),
        pytest.param(hep12(2, payload=b"SIP"), HepFault.TRUNCATED, id="version-2-half-a-time"),
        pytest.param(hep12(2, time=hep2_time(), payload=b""), HepFault.TRUNCATED, id="version-2-no-payload"),
        pytest.param(hep12(1, head_bytes=15), HepFault.BAD_LENGTH, id="a-header-too-short-for-its-addresses"),
        pytest.param(hep12(1, family=0), HepFault.BAD_LENGTH, id="no-family"),
        pytest.param(hep12(1, family=10), HepFault.BAD_LENGTH, id="ipv6-in-a-header-for-ipv4"),
    ],
)
def test_short_packets_of_versions_1_and_2_are_refused(data: bytes, expected: HepFault) -> None:
    """Some receivers read on into the packet before; here nothing is read that was not sent."""
    assert reason(data) is expected


# --- any bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_every_seed_is_a_packet(seed: bytes) -> None:
    """Kept packets of the field stay readable."""
    assert decode_hep(seed).payload
    assert looks_like_hep(seed)


def survives(data: bytes) -> bool:
    """A packet, or HepDecodeError with a reason of the closed set; anything else fails the test."""
    try:
        got = decode_hep(data)
    except HepDecodeError as fault:
        return fault.reason in HepFault
    return got.captured_us >= 0 and len(got.payload) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_every_truncation_is_a_packet_or_an_error(seed: bytes) -> None:
    """And as version 3 declares its length, of that nothing but an error."""
    for size in range(len(seed)):
        assert survives(seed[:size])
    if seed.startswith(b"HEP3"):
        declared = struct.unpack_from("!H", seed, 4)[0]
        assert {reason(seed[:size]) for size in range(4, declared)} == {HepFault.TRUNCATED}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
def test_every_change_of_one_byte_is_a_packet_or_an_error(seed: bytes) -> None:
    """All values in the head and in every chunk header, which is where a decoder can go wrong."""
    for at in range(min(len(seed), 160)):
        for value in range(256):
            assert survives(seed[:at] + bytes((value,)) + seed[at + 1 :])


@given(
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda body: b"HEP3" + struct.pack("!H", 6 + len(body)) + body)
    | st.lists(st.tuples(st.integers(0, 1), st.integers(0, 50), st.binary(max_size=20)), max_size=20).map(
        lambda made: hep3(chunk(kind, value, vendor=vendor) for vendor, kind, value in made)
    )
    | st.tuples(st.sampled_from([b"\x01", b"\x02"]), st.binary(max_size=80)).map(b"".join)
)
def test_arbitrary_bytes_are_a_packet_or_an_error(data: bytes) -> None:
    """Nobody can stop a node with a datagram."""
    assert survives(data)


# --- encode ------------------------------------------------------------------------------------------------------

ADDRESSES = (
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)) | st.builds(IPv6Address, st.integers(0, 2**128 - 1))
).map(lambda one: str(getattr(one, "ipv4_mapped", None) or one))
PORTS = st.integers(0, 65_535)
PACKETS = st.builds(
    CapturedPacket,
    captured_us=st.integers(0, 2**32 * 1_000_000 - 1),
    ip_proto=st.integers(0, 255),
    src_ip=ADDRESSES,
    src_port=PORTS,
    dst_ip=ADDRESSES,
    dst_port=PORTS,
    payload=st.binary(max_size=200),
)


@given(
    PACKETS,
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.tuples(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30)),
)
def test_what_is_encoded_is_decoded_again(
    packet: CapturedPacket, protocol: int, capture_id: int, texts: tuple[bytes, bytes, bytes]
) -> None:
    """Every field, of every family and length."""
    node_name, auth_key, correlation_id = texts

    data = encode_hep3(
        packet,
        protocol=protocol,
        capture_id=capture_id,
        node_name=node_name,
        auth_key=auth_key,
        correlation_id=correlation_id,
    )

    assert decode_hep(data) == HepPacket(
        captured_us=packet.captured_us,
        ip_proto=packet.ip_proto,
        src_ip=packet.src_ip,
        src_port=packet.src_port,
        dst_ip=packet.dst_ip,
        dst_port=packet.dst_port,
        payload=packet.payload,
        protocol=protocol,
        capture_id=capture_id,
        correlation_id=correlation_id,
        auth_key=auth_key,
        node_name=node_name,
    )


def test_what_does_not_fit_the_length_field_is_not_encoded() -> None:
    """65,535 bytes is all that the 16-bit length can say: the largest that fits goes, one byte more does not."""
    packet = CapturedPacket(0, 17, "192.0.2.1", 1, "192.0.2.2", 2, b"")
    room = 65_535 - len(encode_hep3(packet))
    largest = CapturedPacket(0, 17, "192.0.2.1", 1, "192.0.2.2", 2, bytes(room))
    too_large = CapturedPacket(0, 17, "192.0.2.1", 1, "192.0.2.2", 2, bytes(room + 1))

    assert len(decode_hep(encode_hep3(largest)).payload) == room
    with pytest.raises(HepDecodeError) as caught:
        encode_hep3(too_large)
    assert caught.value.reason is HepFault.TOO_LARGE

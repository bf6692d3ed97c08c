"""Datagrams to columns: one event for each that gives one, each other one counted by its reason."""

import gzip
import json
import struct
import zlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.frames import KAMAILIO, SEEDS, chunk, chunks, hep2_time, hep3, hep12

from everline.calls.decode import MAX_RTCP, Datagram, Decoded, DecodeRules, decode_batch, event_key
from everline.calls.event import RTCP, SIP, Event, EventBatch
from everline.wire.hep import encode_hep3
from everline.wire.packet import CapturedPacket

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
RULES = DecodeRules(node="ingest-1", local_ip="203.0.113.9", local_port=9060)
INVITE = (
    b'INVITE sip:bob@b.example SIP/2.0\r\nFrom: "Alice" <sip:alice@a.example>;tag=a\r\nTo: <sip:bob@B.example>\r\n'
    b"Call-ID: one@call\r\nCSeq: 7 INVITE\r\nUser-Agent: Phone\r\nReason: Q.850;cause=16\r\n"
    b"Content-Type: application/sdp\r\n\r\nv=0\r\nm=audio 4000 RTP/AVP 8 0\r\n"
)
RECEIVER_REPORT = bytes.fromhex("80c9000100000007")
EVENT = Event(
    call_id="one@call", captured_us=NOW_US, event_key=0, received_us=NOW_US + 5, protocol=SIP, ip_proto=17,
    src_ip="192.0.2.1", src_port=5060, dst_ip="198.51.100.2", dst_port=5062, method="INVITE", status=0, cseq=7,
    from_user="alice", from_host="a.example", from_tag="a", to_user="bob", to_host="b.example", to_tag="",
    user_agent="Phone", codecs="PCMA/8000,PCMU/8000", cause=16, agent="sbc-1", correlation_id="x@y", node="ingest-1",
    payload=INVITE,
)  # fmt: skip


def packet(payload: bytes = INVITE, *, captured_us: int = NOW_US) -> CapturedPacket:
    """A payload from one phone to another."""
    return CapturedPacket(captured_us, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, payload)


def hep(
    payload: bytes = INVITE, *, captured_us: int = NOW_US, protocol: int = SIP, correlation_id: bytes = b"x@y"
) -> bytes:
    """It, as an agent sends it."""
    made = packet(payload, captured_us=captured_us)
    return encode_hep3(made, protocol=protocol, capture_id=77, node_name=b"sbc-1", correlation_id=correlation_id)


def decode(*datagrams: bytes, rules: DecodeRules = RULES, received_us: int = NOW_US + 5) -> Decoded:
    """What a node makes of datagrams that came from one agent."""
    return decode_batch([Datagram(data, received_us, "203.0.113.1", 40_000) for data in datagrams], rules)


def one_event(data: bytes, *, rules: DecodeRules = RULES, received_us: int = NOW_US + 5) -> Event:
    """The event of a datagram that gives one."""
    (event,) = decode(data, rules=rules, received_us=received_us).batch.events()
    return event


def rejected(data: bytes, *, rules: DecodeRules = RULES) -> dict[str, int]:
    """How a datagram that gives none is counted."""
    got = decode(data, rules=rules)
    assert len(got.batch) == 0
    return dict(got.rejected)


# --- columns -----------------------------------------------------------------------------------------------------


def test_every_field_of_an_event() -> None:
    """Each column is the `Event` field of its place."""
    got = one_event(hep())

    assert got._replace(event_key=0) == EVENT
    assert got.event_key == event_key(NOW_US, "192.0.2.1", 5060, "198.51.100.2", 5062, INVITE)


def test_columns_have_one_length_and_the_order_of_arrival() -> None:
    """Rejected datagrams leave no gap."""
    others = [INVITE.replace(b"one@call", b"call-%d" % number) for number in range(3)]

    got = decode(hep(others[0]), b"rubbish", hep(others[1]), b"HEP3", hep(others[2]))

    assert {len(column) for column in got.batch.columns} == {3}
    assert len(got.batch.columns) == len(Event._fields)
    assert list(got.batch.column("call_id")) == ["call-0", "call-1", "call-2"]
    assert got.rejected == Counter({"not_sip": 1, "hep_truncated": 1})


def test_a_batch_of_nothing_has_empty_columns() -> None:
    """Whoever takes batches need not ask first."""
    got = decode()

    assert len(got.batch) == 0
    assert len(got.batch.columns) == len(Event._fields)
    assert list(got.batch.events()) == []
    assert (got.rejected, got.clamped) == (Counter(), 0)


@given(st.lists(st.integers(0, 9), max_size=6), st.lists(st.integers(0, 9), max_size=6))
def test_batches_join_in_order(left: list[int], right: list[int]) -> None:
    """`concat` of the columns is the rows one after the other."""
    rows = [[EVENT._replace(cseq=cseq) for cseq in part] for part in (left, right)]

    joined = EventBatch.concat([EventBatch.of(part) for part in rows])

    assert list(joined.events()) == rows[0] + rows[1]


# --- what gives an event -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(hep()), id="a-whole-frame-in-gzip"),
        pytest.param(hep3([chunk(0x11, b"x@y"), chunk(0x13, b"sbc-1"), *chunks(
            payload=chunk(0x10, zlib.compress(INVITE)), usec=chunk(10, bytes(4))).values()]), id="compressed-payload"),
    ],
)  # fmt: skip
def test_compression_makes_no_difference(data: bytes) -> None:
    """Neither in the event nor in its key."""
    assert one_event(data) == one_event(hep())


def test_sip_wrapped_in_json_is_read_and_stored_as_sent() -> None:
    """The payload stays what was captured."""
    wrapped = json.dumps({"payload": INVITE.decode()}).encode()

    got = one_event(hep(wrapped))

    assert got._replace(event_key=0, payload=b"") == EVENT._replace(payload=b"")
    assert got.payload == wrapped


def test_mirrored_sip_came_from_who_sent_it_when_it_came() -> None:
    """Without HEP there is nothing else to know it by."""
    got = one_event(INVITE, received_us=NOW_US)

    assert got._replace(event_key=0) == EVENT._replace(
        received_us=NOW_US, src_ip="203.0.113.1", src_port=40_000, dst_ip="203.0.113.9", dst_port=9060,
        agent="", correlation_id="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("node_name", "capture_id", "agent"),
    [
        pytest.param(b"sbc-1", 77, "sbc-1", id="name-before-number"),
        pytest.param(b"", 77, "77", id="number"),
        pytest.param(b"", 0, "", id="neither"),
        pytest.param(b"M\xc3\xbcnchen", 0, "München", id="utf-8"),
        pytest.param(b"M\xfcnchen", 0, "München", id="latin-1"),
        pytest.param(b"x" * 1000, 0, "x" * 64, id="a-long-one-is-cut"),
    ],
)
def test_the_agent_has_a_name_or_a_number(node_name: bytes, capture_id: int, agent: str) -> None:
    """What it calls itself, else its number."""
    assert one_event(encode_hep3(packet(), node_name=node_name, capture_id=capture_id)).agent == agent


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(RECEIVER_REPORT, id="binary"),
        pytest.param(b'{"ssrc": 7, "type": 201, "report_blocks": []}', id="json"),
    ],
)
def test_rtcp_follows_its_call_by_the_correlation_id(payload: bytes) -> None:
    """A row with the addresses and bytes of the report, and none of the fields of SIP."""
    got = one_event(hep(payload, protocol=RTCP, correlation_id=b" one@call "))

    assert got._replace(event_key=0) == EVENT._replace(
        protocol=RTCP, method="RTCP", cseq=0, from_user="", from_host="", from_tag="", to_user="", to_host="",
        user_agent="", codecs="", cause=0, correlation_id="one@call", payload=payload,
    )  # fmt: skip
    assert got.event_key == event_key(NOW_US, "192.0.2.1", 5060, "198.51.100.2", 5062, payload)


# --- what gives none ---------------------------------------------------------------------------------------------

KEYED = replace(RULES, auth_key=b"secret")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "keepalive", id="empty"),
        pytest.param(b"\r\n\r\n", "keepalive", id="sip-keep-alive"),
        pytest.param(b"\x00\x00\x00\x00", "keepalive", id="nulls"),
        pytest.param(b"\xff\xfe", "not_sip", id="noise"),
        pytest.param(hep(b"noise"), "not_sip", id="noise-in-hep"),
        pytest.param(hep(b'{"payload": "noise"}'), "not_sip", id="noise-in-json-in-hep"),
        pytest.param(hep(b"{"), "not_sip", id="broken-json-in-hep"),
        pytest.param(hep(INVITE.replace(b"Call-ID", b"X")), "sip_no_call_id", id="no-call-id"),
        pytest.param(hep(INVITE.replace(b"one@call", b"x" * 513)), "sip_call_id_too_long", id="call-id-too-long"),
        pytest.param(hep(INVITE.replace(b"7 INVITE", b"x")), "sip_bad_cseq", id="bad-cseq"),
        pytest.param(hep()[:-1], "hep_truncated", id="truncated-hep"),
        pytest.param(b"HEP3\x00\x00", "hep_bad_length", id="bad-length"),
        pytest.param(hep3([b"\x00\x00\x00\x0f\x00\x00"]), "hep_bad_chunk", id="bad-chunk"),
        pytest.param(hep3([chunk(1, b"\x02")] * 200), "hep_too_many_chunks", id="too-many-chunks"),
        pytest.param(hep3([chunk(1, b"\x02")]), "hep_no_payload", id="no-payload"),
        pytest.param(hep3([chunk(0x10, b"x")]), "hep_bad_compression", id="bad-compression"),
        pytest.param(hep3([chunk(0x10, zlib.compress(bytes(10**6)))]), "hep_payload_too_large", id="bomb"),
        pytest.param(gzip.compress(hep())[:-1], "bad_gzip", id="broken-gzip"),
        pytest.param(gzip.compress(bytes(10**6)), "bad_gzip", id="gzip-bomb"),
        pytest.param(hep(protocol=34), "unsupported_protocol", id="another-protocol"),
        pytest.param(
            hep(RECEIVER_REPORT, protocol=RTCP, correlation_id=b""), "rtcp_no_correlation_id", id="rtcp-of-no-call"
        ),
        pytest.param(hep(RECEIVER_REPORT * 2000, protocol=RTCP), "rtcp_too_large", id="rtcp-longer-than-any-report"),
        pytest.param(
            hep(b'{"report_blocks":[' + b"{}," * 128 + b"{}]}", protocol=RTCP), "rtcp_too_large", id="too-many-blocks"
        ),
    ],
)
def test_each_other_datagram_is_counted_by_its_reason(data: bytes, reason: str) -> None:
    """Nothing is lost in silence: what was received is what was decoded and what was rejected."""
    assert rejected(data) == {reason: 1}


def test_rtcp_that_cannot_be_read_is_counted_too() -> None:
    """Encrypted reports (SRTCP) and broken JSON."""
    assert sum(rejected(hep(b"\x00\x01\x02\x03", protocol=RTCP)).values()) == 1
    assert sum(rejected(hep(b'{"type":', protocol=RTCP)).values()) == 1
    assert len(decode(hep(RECEIVER_REPORT * (MAX_RTCP // 8), protocol=RTCP)).batch) == 1


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        pytest.param(encode_hep3(packet(), auth_key=b"secret"), True, id="the-key"),
        pytest.param(encode_hep3(packet(), auth_key=b"Secret"), False, id="another-key"),
        pytest.param(encode_hep3(packet()), False, id="no-key"),
        pytest.param(gzip.compress(encode_hep3(packet(), auth_key=b"secret")), True, id="the-key-in-gzip"),
        pytest.param(hep12(1, payload=INVITE), False, id="version-1-has-no-place-for-a-key"),
        pytest.param(INVITE, False, id="mirrored-sip-has-none-either"),
    ],
)
def test_with_a_key_only_packets_that_have_it_are_taken(data: bytes, accepted: bool) -> None:  # noqa: FBT001
    """Without one, all are."""
    assert dict(decode(data, rules=KEYED).rejected) == ({} if accepted else {"wrong_auth_key": 1})
    assert len(decode(data).batch) == 1


# --- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("captured_us", "clamped"),
    [
        pytest.param(NOW_US - RULES.max_age_us, False, id="as-old-as-allowed"),
        pytest.param(NOW_US - RULES.max_age_us - 1, True, id="older"),
        pytest.param(NOW_US + RULES.max_ahead_us, False, id="as-far-ahead-as-allowed"),
        pytest.param(NOW_US + RULES.max_ahead_us + 1, True, id="further-ahead"),
        pytest.param(0, True, id="no-time"),
        pytest.param(0xFFFFFFFF * 1_000_000, True, id="2106"),
    ],
)
def test_a_capture_time_far_from_now_is_replaced_and_counted(captured_us: int, clamped: bool) -> None:  # noqa: FBT001
    """A minimum merges for ever: one wrong clock must not make a call of 1970."""
    got = decode(hep(captured_us=captured_us), received_us=NOW_US)

    assert got.batch.column("captured_us")[0] == (NOW_US if clamped else captured_us)
    assert got.clamped == clamped


def test_versions_1_and_2_give_events_too() -> None:
    """Version 1 has no time: it counts as captured when it was received."""
    first = decode(hep12(1, payload=INVITE), hep12(2, time=hep2_time(), payload=INVITE))

    assert list(first.batch.column("captured_us")) == [NOW_US + 5, NOW_US + 123_456]
    assert first.clamped == 1


# --- identity ----------------------------------------------------------------------------------------------------


def test_one_datagram_on_two_nodes_is_one_event() -> None:
    """Mirrored by a balancer, received at different times, even clamped differently: one key."""
    here = one_event(hep(captured_us=NOW_US))
    there = one_event(hep(captured_us=NOW_US), rules=replace(RULES, node="ingest-2"), received_us=NOW_US + 10 * DAY_US)
    wrong_clock = [one_event(hep(captured_us=1), received_us=NOW_US + late) for late in (0, 7)]

    assert here.event_key == there.event_key
    assert (here.node, there.node) == ("ingest-1", "ingest-2")
    assert wrong_clock[0].event_key == wrong_clock[1].event_key


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(hep(captured_us=NOW_US + 1), id="a-retransmission-at-another-time"),
        pytest.param(hep(INVITE + b" "), id="another-payload"),
        pytest.param(encode_hep3(replace(packet(), src_ip="192.0.2.2")), id="another-source"),
        pytest.param(encode_hep3(replace(packet(), src_port=5061)), id="another-source-port"),
        pytest.param(encode_hep3(replace(packet(), dst_ip="192.0.2.2")), id="another-destination"),
        pytest.param(encode_hep3(replace(packet(), dst_port=5061)), id="another-destination-port"),
        pytest.param(
            encode_hep3(CapturedPacket(NOW_US, 17, "198.51.100.2", 5062, "192.0.2.1", 5060, INVITE)), id="the-way-back"
        ),
    ],
)
def test_what_differs_on_the_wire_is_another_event(other: bytes) -> None:
    """Retransmissions and hops are events of their own."""
    assert one_event(other).event_key != one_event(hep()).event_key


def test_what_the_agent_adds_is_not_part_of_the_identity() -> None:
    """The same capture sent with another node name, key or order of chunks is the same event."""
    made = chunks(payload=chunk(15, INVITE))
    backwards = hep3([*[made[name] for name in KAMAILIO], made["payload"]][::-1])

    plain = one_event(hep3(made.values()))
    assert one_event(backwards).event_key == plain.event_key
    assert one_event(hep3([*made.values(), chunk(0x13, b"x"), chunk(0x0E, b"k")])).event_key == plain.event_key


def test_keys_are_the_same_in_every_process_and_release() -> None:
    """They are stored, and compared between nodes: this number must never change."""
    assert event_key(NOW_US, "192.0.2.1", 5060, "2001:db8::1", 5062, b"INVITE") == 5449091407141808705


# --- any bytes ---------------------------------------------------------------------------------------------------

SEEDED = [*SEEDS.values(), hep(), gzip.compress(hep()), INVITE, hep(RECEIVER_REPORT, protocol=RTCP)]


@given(
    st.lists(
        st.binary(max_size=200)
        | st.sampled_from(SEEDED)
        | st.tuples(st.sampled_from(SEEDED), st.integers(0, 400), st.binary(max_size=4)).map(
            lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + len(cut[2]) :]
        )
        | st.binary(max_size=100).map(lambda body: b"HEP3" + struct.pack("!H", 6 + len(body)) + body),
        max_size=8,
    )
)
def test_received_is_decoded_and_rejected(datagrams: list[bytes]) -> None:
    """Whatever comes, nothing is raised, nothing is lost from the count, and the columns stay aligned."""
    got = decode(*datagrams)

    assert len(got.batch) + got.rejected.total() == len(datagrams)
    assert {len(column) for column in got.batch.columns} == {len(got.batch)}
    assert 0 <= got.clamped <= len(got.batch)
    for event in got.batch.events():
        assert event.call_id
        assert 0 <= event.event_key < 2**64
        "".join(text for text in event if isinstance(text, str)).encode("utf-8")

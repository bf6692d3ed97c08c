"""What a datagram is routed by: the Call-ID that an ingest node reads of it, however it is written or wrapped."""

import gzip
import json
from contextlib import suppress
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.balance.keys import UnroutableError, is_raw_sip, key_of, wrapped
from everline.bench.captured import CapturedTraffic
from everline.bench.corpus import datagrams
from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.wire.hep import PROTOCOL_RTCP, decode_hep, encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

NOW_US = 1_790_000_000_000_000
SIP = b"INVITE sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n%sCSeq: 1 INVITE\r\n\r\n"
RULES = DecodeRules(node="n1")


def hep(payload: bytes, *, protocol: int = 1, correlation_id: bytes = b"") -> bytes:
    """A HEP3 packet."""
    packet = CapturedPacket(NOW_US, IPPROTO_UDP, "192.0.2.10", 5060, "192.0.2.1", 5060, payload)
    return encode_hep3(packet, protocol=protocol, correlation_id=correlation_id)


def decoded(data: bytes) -> str | None:
    """The Call-ID that an ingest node reads; none if it makes no event of it."""
    batch = decode_batch([Datagram(data, NOW_US, "192.0.2.9", 5060)], RULES).batch
    return str(batch.column("call_id")[0]) if len(batch) else None


def test_all_traffic_is_routed_by_the_call_id_that_is_read_of_it() -> None:
    """Calls of our own making, and captured ones."""
    seen = 0
    for data in chain(datagrams(range(8), NOW_US), CapturedTraffic().rounds(range(1))):
        read = decoded(data)
        if read is not None:
            seen += 1
            assert key_of(data).decode() == read

    assert seen > 200


@pytest.mark.parametrize(
    "line",
    [
        b"Call-ID: abc@192.0.2.1\r\n",
        b"Call-ID:abc@192.0.2.1\r\n",
        b"call-id  : \t abc@192.0.2.1  \r\n",
        b"CALL-ID: abc@192.0.2.1\r\n",
        b"i: abc@192.0.2.1\r\n",
        b"I:abc@192.0.2.1\r\n",
        b"Call-ID:\r\n abc@192.0.2.1\r\n",
        b"X-Call-ID: another\r\nCall-ID: abc@192.0.2.1\r\n",
        b"Call-ID: abc@192.0.2.1\r\nCall-ID: another\r\n",
    ],
)
@pytest.mark.parametrize("made", ["hep", "hep-of-json", "raw", "gzip"])
def test_however_a_call_id_is_written_and_wrapped_it_is_the_key(line: bytes, made: str) -> None:
    """Long and compact, any case, folded; the first one counts."""
    message = SIP % line
    data = {
        "hep": lambda: hep(message, correlation_id=b"another"),
        "hep-of-json": lambda: hep(json.dumps({"payload": message.decode()}).encode()),
        "raw": lambda: message,
        "gzip": lambda: gzip.compress(hep(message)),
    }[made]()

    assert key_of(data) == b"abc@192.0.2.1"
    assert decoded(data) == "abc@192.0.2.1"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        pytest.param(hep(b"{}", protocol=PROTOCOL_RTCP, correlation_id=b"abc"), b"abc", id="rtcp-by-its-correlation"),
        pytest.param(hep(SIP % b"", correlation_id=b"abc"), b"abc", id="sip-without-one-too"),
        pytest.param(hep(SIP % b"Call-ID: \r\n"), b"", id="none"),
        pytest.param(hep(SIP % b"" + b"Call-ID: body\r\n"), b"", id="a-body-has-none"),
        pytest.param(hep(SIP % b"i: abc\r\n" + b"\nCall-ID: body\r\n"), b"abc", id="not-even-beside-a-compact-one"),
        pytest.param(hep(b"log line", protocol=100), b"", id="no-sip"),
        pytest.param(SIP % b"", b"", id="raw-sip-without-one"),
    ],
)
def test_without_a_call_id_in_the_payload(data: bytes, key: bytes) -> None:
    """The correlation id; else nothing, and it follows its sender."""
    assert key_of(data) == key


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "keepalive"),
        (b"\r\n\r\n", "keepalive"),
        (b"\x00\x00\x00\x00", "keepalive"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not_sip"),
        (b"\xff" * 500, "not_sip"),
        (b"HEP3", "hep_truncated"),
        (hep(SIP % b"Call-ID: a\r\n")[:-1], "hep_truncated"),
        (b"HEP3\x00\x02", "hep_bad_length"),
        (b"HEP3\x00\x0c\x00\x00\x00\x0f\x00\xff", "hep_bad_chunk"),
        (b"HEP3\x00\x06", "hep_no_payload"),
        (b"\x1f\x8b\x00", "bad_gzip"),
    ],
)
def test_what_nobody_could_read_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """It is counted by that."""
    with pytest.raises(UnroutableError) as refused:
        key_of(data)
    assert refused.value.reason == reason


@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"HEP3" + tail)))
def test_no_bytes_do_harm(data: bytes) -> None:
    """A key, or a reason."""
    with suppress(UnroutableError):
        assert isinstance(key_of(data), bytes)


@given(data=st.data())
def test_a_damaged_packet_is_read_as_an_ingest_node_reads_it(data: st.DataObject) -> None:
    """Wherever a byte is changed: if it still gives an event, the key is that event's."""
    packet = bytearray(hep(SIP % b"Call-ID: abc@192.0.2.1\r\n", correlation_id=b"abc@192.0.2.1"))
    packet[data.draw(st.integers(0, 120))] = data.draw(st.integers(0, 255))

    read = decoded(bytes(packet))
    if read is not None:
        assert key_of(bytes(packet)).decode("utf-8", "replace") == read


def test_raw_sip_is_wrapped_with_its_sender_and_time() -> None:
    """So that the ingest node sees who sent it, not the balancer."""
    message = SIP % b"Call-ID: abc\r\n"
    assert is_raw_sip(message)

    packet = decode_hep(wrapped(message, ("2001:db8::1", 5061), ("2001:db8::2", 9060), NOW_US))

    assert (packet.src_ip, packet.src_port) == ("2001:db8::1", 5061)
    assert (packet.dst_ip, packet.dst_port) == ("2001:db8::2", 9060)
    assert (packet.captured_us, packet.payload) == (NOW_US, message)
    assert not is_raw_sip(hep(message))
    with pytest.raises(UnroutableError, match="too_large"):
        wrapped(message + b"x" * 65_500, ("192.0.2.1", 1), ("192.0.2.2", 2), NOW_US)

"""The header of a proxy, in both versions, whole, in pieces, broken and hostile."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.proxy_protocol import (
    V1_MOST_BYTES,
    V2_MOST_BYTES,
    V2_START,
    ProxyFault,
    ProxyHeader,
    ProxyHeaderError,
    decode_proxy_header,
)

LOCAL, PROXIED = 0x20, 0x21
TCP4, TCP6, UDP4, UNIX, UNSPECIFIED = 0x11, 0x21, 0x12, 0x31, 0x00


def v2(source: str, port: int, *, command: int = PROXIED, more: bytes = b"") -> bytes:
    """A header of version 2; `more` are its extensions."""
    address = ip_address(source).packed
    addresses = address + bytes(len(address)) + struct.pack("!HH", port, 9060) + more
    return raw_v2(command, TCP4 if len(address) == 4 else TCP6, addresses)


def raw_v2(command: int, family: int, addresses: bytes = b"") -> bytes:
    """The same of whatever parts."""
    return V2_START + bytes([command, family]) + struct.pack("!H", len(addresses)) + addresses


HEADERS = [
    pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 9060\r\n", ("192.0.2.7", 40000), id="v1-ipv4"),
    pytest.param(b"PROXY TCP6 2001:DB8::7 fd00::1 40000 9060\r\n", ("2001:db8::7", 40000), id="v1-ipv6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1-unknown"),
    pytest.param(b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None, id="v1-as-long-as-may-be"),
    pytest.param(v2("192.0.2.7", 40000), ("192.0.2.7", 40000), id="v2-ipv4"),
    pytest.param(v2("2001:db8::7", 0), ("2001:db8::7", 0), id="v2-ipv6"),
    pytest.param(v2("::ffff:192.0.2.7", 1), ("192.0.2.7", 1), id="v2-mapped-ipv4"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.7 fd00::1 1 2\r\n", ("192.0.2.7", 1), id="v1-mapped-ipv4"),
    pytest.param(v2("192.0.2.7", 5, more=b"\x04\x00\x03abc"), ("192.0.2.7", 5), id="v2-extensions-are-skipped"),
    pytest.param(v2("192.0.2.7", 5, command=LOCAL), None, id="v2-the-proxy-itself"),
    pytest.param(raw_v2(LOCAL, UNSPECIFIED), None, id="v2-health-check"),
    pytest.param(raw_v2(PROXIED, UNSPECIFIED, b"whatever"), None, id="v2-no-address"),
    pytest.param(raw_v2(PROXIED, UNIX, bytes(216)), None, id="v2-unix"),
    pytest.param(raw_v2(PROXIED, UDP4, bytes([192, 0, 2, 7, 0, 0, 0, 0, 0, 9, 0, 9])), ("192.0.2.7", 9), id="v2-udp"),
    pytest.param(raw_v2(PROXIED, 0x91, b"x"), None, id="v2-a-family-of-the-future"),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_tells_whose_stream_it_is_and_where_that_begins(header: bytes, source: tuple[str, int] | None) -> None:
    """However much of the stream is there already."""
    for stream in (b"", b"HEP3\x00\x06", b"\r\n"):
        assert decode_proxy_header(header + stream) == ProxyHeader(len(header), source)


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_may_come_byte_by_byte(header: bytes, source: tuple[str, int] | None) -> None:
    """Every part of one is none yet, and no fault."""
    assert source is None or source[0]
    assert [decode_proxy_header(header[:end]) for end in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"HEP3\x00\x06", ProxyFault.NO_HEADER, id="an-agent-itself"),
        pytest.param(b"\x16\x03\x01", ProxyFault.NO_HEADER, id="tls"),
        pytest.param(b"\r\n\r\nOPTIONS", ProxyFault.NO_HEADER, id="almost-a-signature"),
        pytest.param(b"PROXY " + b"x" * (V1_MOST_BYTES - 6), ProxyFault.TOO_LONG, id="a-line-without-end"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n", ProxyFault.BAD_LINE, id="half-a-line-end"),
        pytest.param(b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n", ProxyFault.BAD_LINE, id="v1-knows-no-udp"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n", ProxyFault.BAD_LINE, id="a-zero-before-a-port"),
        pytest.param(b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n", ProxyFault.BAD_LINE, id="two-spaces"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n", ProxyFault.BAD_ADDRESS, id="a-port-too-high"),
        pytest.param(b"PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n", ProxyFault.BAD_ADDRESS, id="no-ipv4-address"),
        pytest.param(b"PROXY TCP4 fd00::1 fd00::2 1 2\r\n", ProxyFault.BAD_ADDRESS, id="ipv6-called-ipv4"),
        pytest.param(b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n", ProxyFault.BAD_ADDRESS, id="ipv4-called-ipv6"),
        pytest.param(raw_v2(0x31, TCP4, bytes(12)), ProxyFault.BAD_COMMAND, id="version-3"),
        pytest.param(raw_v2(0x22, TCP4, bytes(12)), ProxyFault.BAD_COMMAND, id="no-such-command"),
        pytest.param(raw_v2(PROXIED, TCP4, bytes(11)), ProxyFault.BAD_ADDRESS, id="too-short-for-ipv4"),
        pytest.param(raw_v2(PROXIED, TCP6, bytes(35)), ProxyFault.BAD_ADDRESS, id="too-short-for-ipv6"),
        pytest.param(raw_v2(PROXIED, UNIX, bytes(215)), ProxyFault.BAD_ADDRESS, id="too-short-for-unix"),
        pytest.param(raw_v2(PROXIED, TCP4, bytes(V2_MOST_BYTES))[:16], ProxyFault.TOO_LONG, id="too-long-already"),
    ],
)  # fmt: skip
def test_what_is_no_header_is_refused_with_its_reason(data: bytes, reason: ProxyFault) -> None:
    """And with what to set at the proxy."""
    with pytest.raises(ProxyHeaderError, match="send-proxy-v2") as caught:
        decode_proxy_header(data)

    assert (caught.value.reason, caught.value.seen_bytes) == (reason, len(data))


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_START, V2_START + b"\x21\x11\x00\x0c"]), st.binary())
def test_whatever_comes_it_ends_within_bounds(start: bytes, rest: bytes) -> None:
    """A header, more to read below the bound, or a fault: nothing else."""
    data = start + rest
    try:
        header = decode_proxy_header(data)
    except ProxyHeaderError:
        return

    if header is None:
        assert len(data) < V2_MOST_BYTES
    else:
        assert header.size <= len(data)
        assert header.source is None or str(ip_address(header.source[0])) == header.source[0]

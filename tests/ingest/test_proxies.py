"""Agents behind a proxy: they keep their own addresses, and nobody else can choose one."""

import asyncio
import logging
from ipaddress import ip_network

import pytest
from tests.ingest.making import WITHIN_S, hep, sip, until
from tests.ingest.test_stream import bye, listening, say
from tests.wire.test_proxy_protocol import LOCAL, raw_v2, v2

from everline.ingest import proxies as proxies_module
from everline.ingest.proxies import KnownProxies

LOOPBACK = KnownProxies([ip_network("127.0.0.0/8")])
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 9060\r\n"


@pytest.mark.parametrize("header", [V1, v2("192.0.2.7", 40000)], ids=["v1", "v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::"], ids=["ipv4", "as-mapped-ipv4"])
async def test_the_agent_is_whom_the_proxy_names(header: bytes, host: str) -> None:
    """HEP and SIP alike; what the rate of a source limits, and what a mirrored message came from, is the agent."""
    async with listening(host=host, proxies=LOOPBACK) as node:
        for message in (hep("a"), sip("b")):
            await say(await node.connect(), header + message)
        await until(lambda: node.ledger.received == 2)
        got = await node.intake.take(2, 0)

    assert sorted(one.data for one in got) == sorted([hep("a"), sip("b")])
    assert {(one.peer_ip, one.peer_port) for one in got} == {("192.0.2.7", 40000)}
    assert not node.ledger.stream_lost_bytes


async def test_a_header_may_come_in_pieces_and_alone() -> None:
    """TCP cuts where it likes."""
    header = v2("2001:db8::7", 1, more=b"\x04\x00\x01x")
    async with listening(proxies=LOOPBACK) as node:
        writer = await node.connect()
        for one in header:
            writer.write(bytes([one]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(hep("a"))
        await until(lambda: node.ledger.received == 1)
        [got] = await node.intake.take(1, 0)
        await bye(writer)

    assert (got.data, got.peer_ip) == (hep("a"), "2001:db8::7")


async def test_what_a_proxy_sends_itself_has_its_own_address() -> None:
    """Such as a health check, which says no more than its header, or nothing at all."""
    async with listening(proxies=LOOPBACK) as node:
        await say(await node.connect(), b"")
        await say(await node.connect(), raw_v2(LOCAL, 0))
        await say(await node.connect(), raw_v2(LOCAL, 0) + hep("a"))
        await until(lambda: node.ledger.received == 1)
        [got] = await node.intake.take(1, 0)

        assert got.peer_ip == "127.0.0.1"
        await until(lambda: not node.listener.connections)
        assert not node.ledger.stream_lost_bytes


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        pytest.param(hep("a"), "no-header", id="none"),
        pytest.param(v2("192.0.2.7", 1)[:-1], "cut-off", id="cut-off"),
        pytest.param(b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n" + hep("a"), "bad-line", id="broken"),
    ],
)
async def test_a_proxy_without_a_header_is_refused(sent: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its bytes are counted, its message is not taken under the proxy's own address, others go on."""
    async with listening(proxies=LOOPBACK) as node:
        reader, writer = await node.open()
        with caplog.at_level(logging.WARNING):
            writer.write(sent)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        await bye(writer)
        await say(await node.connect(), V1 + hep("b"))

        assert await node.received(1) == [hep("b")]
        assert node.ledger.stream_lost_bytes == {"bad-proxy-header": len(sent)}
    assert [(one.message, one.__dict__["reason"]) for one in caplog.records] == [("ingest.proxy_refused", reason)]


async def test_a_proxy_that_is_silent_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free for others."""
    monkeypatch.setattr(proxies_module, "HEADER_TIMEOUT_S", 0.05)
    async with listening(proxies=LOOPBACK) as node:
        reader, writer = await node.open()
        writer.write(V1[:10])
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        await bye(writer)

        assert node.ledger.stream_lost_bytes == {"bad-proxy-header": 10}


@pytest.mark.parametrize("known", [None, KnownProxies([ip_network("192.0.2.0/24"), ip_network("::1")])])
async def test_from_anybody_else_a_header_is_garbage(known: KnownProxies | None) -> None:
    """Whoever could send one could be whom he likes."""
    async with listening(proxies=known) as node:
        await say(await node.connect(), V1 + hep("a"))
        await until(lambda: node.ledger.received == 1)
        [got] = await node.intake.take(1, 0)

        assert (got.data, got.peer_ip) == (hep("a"), "127.0.0.1")
        assert node.ledger.stream_lost_bytes == {"garbage": len(V1)}


async def test_stopping_does_not_wait_for_a_header() -> None:
    """The node ends a connection that has said nothing yet."""
    async with listening(proxies=LOOPBACK) as node:
        writer = await node.connect()
        await until(lambda: node.listener.connections == 1)
        async with asyncio.timeout(WITHIN_S / 2):
            await node.listener.close()
        writer.close()


@pytest.mark.parametrize(
    ("ip", "is_known"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fe80::1%eth0", True), ("11.1.2.3", False), ("", False)],
)
def test_addresses_are_known_however_they_are_written(ip: str, is_known: bool) -> None:  # noqa: FBT001 - a table
    """As a socket gives them."""
    assert (ip in KnownProxies([ip_network("10.0.0.0/8"), ip_network("fe80::/10")])) is is_known

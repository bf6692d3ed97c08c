"""HEP and SIP over TCP and TLS: however it is cut, slow, broken or hostile."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from tests.ingest.making import WITHIN_S, hep, sip, until
from tests.rigs.certificate import certificate_in

from everline.ingest import stream as stream_module
from everline.ingest.intake import Intake
from everline.ingest.ledger import Ledger
from everline.ingest.proxies import KnownProxies
from everline.ingest.stream import StreamListener
from everline.ingest.tls import server_context
from everline.ingest.udp import ListenError

FOREVER_S = 3600.0


class Listening:
    """A listener with its intake."""

    def __init__(self, capacity: int, *, proxies: KnownProxies | None = None) -> None:
        self.ledger = Ledger()
        self.intake = Intake(self.ledger, capacity=capacity)
        self.listener = StreamListener(self.intake, self.ledger, proxies=proxies)
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, *, tls: ssl.SSLContext | None = None) -> asyncio.StreamWriter:
        """An agent's connection."""
        _, writer = await self.open(tls=tls)
        return writer

    async def open(self, *, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The same with what comes back."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.listener.port, ssl=tls, server_hostname="localhost" if tls else None
        )
        self._writers.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        """End all connections from the agents' side."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def received(self, count: int) -> list[bytes]:
        """The messages once there are so many."""
        await until(lambda: self.ledger.received >= count)
        return [one.data for one in await self.intake.take(max(count, 1), 0)]


@asynccontextmanager
async def listening(
    *,
    capacity: int = 10_000,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    proxies: KnownProxies | None = None,
) -> AsyncIterator[Listening]:
    """A listener on a free port."""
    one = Listening(capacity, proxies=proxies)
    await one.listener.listen(host, 0, tls=tls)
    try:
        yield one
    finally:
        async with asyncio.timeout(WITHIN_S):
            await one.listener.close()
            await one.hang_up()


async def say(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send, and hang up."""
    writer.write(data)
    await writer.drain()
    await bye(writer)


async def bye(writer: asyncio.StreamWriter) -> None:
    """Hang up."""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["hep", "sip", "gzip"])
async def test_however_a_stream_is_cut_its_messages_arrive(kind: str, seed: int) -> None:
    """In their order, each once; the first bytes one by one, so that what it is shows late."""
    make = sip if kind == "sip" else hep
    messages = [make(f"call-{index}", padding=index * 7) for index in range(30)]
    data = gzip.compress(b"".join(messages)) if kind == "gzip" else b"".join(messages)
    random = Random(seed)
    cuts = sorted({*range(6), len(data), *random.sample(range(len(data)), 20)})
    async with listening() as node:
        writer = await node.connect()
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise(cuts):
            writer.write(data[start:end])
            await writer.drain()
            await asyncio.sleep(0)

        assert await node.received(30) == messages
        await bye(writer)
        assert not node.ledger.stream_lost_bytes


async def test_ipv4_reaches_a_listener_on_all_addresses() -> None:
    """As over UDP."""
    async with listening(host="::") as node:
        await say(await node.connect(), hep("a"))

        assert await node.received(1) == [hep("a")]


@pytest.mark.parametrize("kind", ["hep", "sip"])
async def test_garbage_before_the_first_message_is_counted_and_skipped(kind: str) -> None:
    """The connection goes on."""
    message = hep("a") if kind == "hep" else sip("a")
    async with listening() as node:
        await say(await node.connect(), b"\x00\xffgarbage\r\n" + message)

        assert await node.received(1) == [message]
        assert node.ledger.stream_lost_bytes == {"garbage": len(b"\x00\xffgarbage\r\n")}


async def test_a_stream_that_is_neither_is_counted() -> None:
    """In bytes: there is no telling how many messages it was meant to be."""
    async with listening() as node:
        await say(await node.connect(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: node.ledger.stream_lost_bytes.total() > 0 and not node.listener.connections)

        assert node.ledger.received == 0


async def test_a_broken_gzip_stream_ends_its_connection() -> None:
    """Nothing more can come out of it."""
    data = gzip.compress(hep("a"))
    async with listening() as node:
        reader, writer = await node.open()
        writer.write(data[:10] + b"\xff" * 200)
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        await bye(writer)

        assert node.ledger.stream_lost_bytes["bad-compression"] > 0


@pytest.mark.parametrize("how", ["hangs-up", "is-killed", "stop"])
async def test_what_was_cut_off_is_counted(how: str) -> None:
    """Whether the agent hangs up in the middle, resets the connection, or the node stops."""
    whole, part = hep("a"), hep("b")[:50]
    async with listening() as node:
        writer = await node.connect()
        writer.write(whole + part)
        assert await node.received(1) == [whole]
        if how == "is-killed":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif how == "hangs-up":
            writer.close()
        else:
            await node.listener.close()
        await until(lambda: not node.listener.connections)

        assert node.ledger.stream_lost_bytes == {"cut-off": len(part)}
        writer.close()


@pytest.mark.parametrize("capacity", [1, 50])
async def test_an_agent_that_sends_faster_has_to_wait(capacity: int) -> None:
    """Nothing of a stream is dropped for lack of room, with whatever queue and however many connections."""
    agents, each = 5, 400
    async with listening(capacity=capacity) as node:
        sending = [
            asyncio.create_task(
                say(await node.connect(), b"".join(hep(f"{agent}-{index}", padding=500) for index in range(each)))
            )
            for agent in range(agents)
        ]
        await until(lambda: node.intake.room == 0)
        taken = 0
        async with asyncio.timeout(WITHIN_S * 3):
            while taken < agents * each:
                taken += len(await node.intake.take(50, 0.001))
        await asyncio.gather(*sending)

    assert (node.ledger.received, node.ledger.dropped.total()) == (agents * each, 0)


async def test_an_agent_waits_in_its_own_send_buffer() -> None:
    """The window closes: without room the node reads no further."""
    async with listening(capacity=1) as node:
        writer = await node.connect()
        writer.transport.set_write_buffer_limits(high=0)
        data = hep("a", padding=60_000) * 500
        sending = asyncio.create_task(say(writer, data))
        await until(lambda: node.ledger.received == 1)
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done
        assert node.ledger.received == 1
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()


async def test_stopping_reads_what_was_sent_before() -> None:
    """What the kernel had acknowledged to the agent is not thrown away."""
    async with listening() as node:
        writers = [await node.connect() for _ in range(20)]
        for index, writer in enumerate(writers):
            writer.write(b"".join(hep(f"{index}-{one}") for one in range(50)))
            await writer.drain()

        await node.listener.close()

        assert node.ledger.received == 20 * 50
        for writer in writers:
            writer.close()


async def test_stopping_reads_who_has_only_just_connected() -> None:
    """The kernel accepted them before we could."""
    async with listening() as node:
        with socket.create_connection(("127.0.0.1", node.listener.port)) as agent:
            agent.sendall(hep("a"))
            await node.listener.close()

    assert node.ledger.received == 1


async def test_stopping_without_room_counts_what_was_read() -> None:
    """Messages that were read and had no place are received and dropped."""
    async with listening(capacity=1) as node:
        writer = await node.connect()
        writer.write(hep("a") * 10)
        await until(lambda: node.ledger.received == 1)

        await node.listener.close(0.01)

        assert node.ledger.received == 10
        assert node.ledger.dropped == {"drain_timeout": 9}
        writer.close()


async def test_stopping_says_nothing_about_open_connections(caplog: pytest.LogCaptureFixture) -> None:
    """They are what a stop ends: no error, no traceback."""
    async with listening() as node:
        await node.connect()
        await until(lambda: node.listener.connections == 1)
        await node.listener.close()

    assert caplog.messages == []


async def test_an_agent_that_never_stops_does_not_hold_the_node_up() -> None:
    """It is read for a moment more and then cut off."""
    async with listening() as node:
        writer = await node.connect()

        async def chatter() -> None:
            while True:
                writer.write(hep("a"))
                await writer.drain()
                await node.intake.take(100, 0)

        chatting = asyncio.create_task(chatter())
        await until(lambda: node.ledger.received > 0)
        async with asyncio.timeout(WITHIN_S):
            await node.listener.close(0.2)
        chatting.cancel()
        await asyncio.wait([chatting])
        assert not node.listener.connections
        writer.transport.abort()


async def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is closed and counted; a place that becomes free is taken."""
    monkeypatch.setattr(stream_module, "MAX_CONNECTIONS", 3)
    async with listening() as node:
        writers = [await node.connect() for _ in range(3)]
        await until(lambda: node.listener.connections == 3)
        reader, surplus = await node.open()
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
        assert node.listener.refused == 1

        await bye(writers.pop())
        await until(lambda: node.listener.connections == 2)
        await say(await node.connect(), hep("a"))
        assert await node.received(1) == [hep("a")]
        for writer in (*writers, surplus):
            await bye(writer)


async def test_many_connections_at_once() -> None:
    """Each with its own framing."""
    async with listening() as node:
        await asyncio.gather(*[say(await node.connect(), hep(f"call-{index}")) for index in range(200)])

        assert sorted(await node.received(200)) == sorted(hep(f"call-{index}") for index in range(200))


async def test_a_peer_that_vanished_is_found_out() -> None:
    """By TCP keep-alive: half-open connections must not use up the places for ever."""
    async with listening() as node:
        writer = await node.connect()
        await until(lambda: node.listener.connections == 1)
        agent_port = writer.get_extra_info("sockname")[1]
        assert await asyncio.to_thread(timers_of, agent_port) == ["02"]  # proc(5): 2 is the keep-alive timer.


def timers_of(agent_port: int) -> list[str]:
    """Which timer runs on our end of an agent's connection."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
    return [row[5].partition(":")[0] for row in rows if row[2].endswith(f":{agent_port:04X}")]


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    """With what to do about it."""
    async with listening() as node:
        other = Listening(10)
        with pytest.raises(ListenError, match=r"cannot listen on TCP .*: Address already in use; .* --hep"):
            await other.listener.listen("127.0.0.1", node.listener.port)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


async def test_hep_over_tls(certificate: tuple[Path, Path]) -> None:
    """Verified by the agent; old protocol versions are refused."""
    async with listening(tls=server_context(*certificate)) as node:
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        await say(await node.connect(tls=trust), hep("a") + hep("b"))
        assert await node.received(2) == [hep("a"), hep("b")]

    assert server_context(*certificate).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_a_peer_that_speaks_no_tls_harms_nobody(certificate: tuple[Path, Path]) -> None:
    """Its connection ends; others go on, and stopping does not wait for it."""
    async with listening(tls=server_context(*certificate)) as node:
        reader, plain = await node.open()
        plain.write(hep("a"))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(4096), WITHIN_S)
        plain.close()
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        await say(await node.connect(tls=trust), hep("b"))

        assert await node.received(1) == [hep("b")]


async def test_stopping_does_not_wait_for_a_tls_peer_that_is_silent(certificate: tuple[Path, Path]) -> None:
    """One that was suspended never answers the goodbye."""
    async with listening(tls=server_context(*certificate)) as node:
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        raw = socket.create_connection(("127.0.0.1", node.listener.port))
        wrapped = await asyncio.to_thread(trust.wrap_socket, raw, server_hostname="localhost")
        await until(lambda: node.listener.connections == 1)
        async with asyncio.timeout(WITHIN_S / 2):
            await node.listener.close()
        wrapped.close()

"""The load: a steady rate, and a ledger in which what was refused is not called sent."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from everline.drill.destinations import Destination
from everline.drill.ledger import Outage, SendLedger, Sent
from everline.drill.load import LoadPlan, running_load
from everline.drill.ways import TcpWay, UdpWay
from everline.wire.hep import decode_hep3

WITHIN_S = 10.0


def destination(port: int, name: str = "n1", rack: str = "a") -> Destination:
    """A node on loopback that nobody can ask whether it is ready."""
    return Destination(name, "127.0.0.1", port, 1, rack)


@contextmanager
def udp_receiver() -> Iterator[socket.socket]:
    """A socket that takes datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0)
        yield receiver


def received(receiver: socket.socket) -> list[bytes]:
    """All that waits in a socket."""
    found: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            found.append(receiver.recv(65_535))
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - a ledger and a kernel buffer have no event
            await asyncio.sleep(0.01)


async def until_sent(ledger: SendLedger, events: int) -> None:
    """Wait for a ledger to grow."""
    await until(lambda: len(ledger.sent) >= events)


async def test_what_arrives_is_what_the_ledger_says() -> None:
    """Byte for byte, each to the node that is written down, stamped with the time at which it left."""
    with udp_receiver() as one, udp_receiver() as other:
        nodes = [destination(one.getsockname()[1], "n1"), destination(other.getsockname()[1], "n2")]
        begun_us = time.time_ns() // 1000
        async with running_load(LoadPlan("udp", rate_per_s=1000), nodes) as running:
            await until_sent(running.ledger, 200)
            ledger = await running.stop()
        ended_us = time.time_ns() // 1000

        for name, receiver in (("n1", one), ("n2", other)):
            assert received(receiver) == [event.datagram for event in ledger.sent if event.to == [name]]
    assert all(len(event.to) == 1 for event in ledger.sent)
    assert all(begun_us <= event.sent_us <= ended_us for event in ledger.sent)
    assert all(decode_hep3(event.datagram).captured_us == event.sent_us for event in ledger.sent)
    assert not ledger.refused


async def test_the_rate_is_steady_and_lost_time_is_not_made_up_for() -> None:
    """Never more than the rate gives; after a pause of the sender there is no burst."""
    with udp_receiver() as receiver:
        begun = time.monotonic()
        async with running_load(
            LoadPlan("steady", rate_per_s=100), [destination(receiver.getsockname()[1])]
        ) as running:
            await until_sent(running.ledger, 20)
            before = len(running.ledger.sent)
            time.sleep(1.0)  # noqa: ASYNC251 - the pause of the sender is what is tested
            await until(lambda: running.load.skipped_s > 0)
            after = len(running.ledger.sent)
            ledger = await running.stop()
        took_s = time.monotonic() - begun

    assert after - before < 60
    assert running.load.skipped_s > 0.5
    assert len(ledger.sent) <= (took_s - running.load.skipped_s) * 100 + 1


async def test_two_copies_go_to_two_racks() -> None:
    """Of every event."""
    with udp_receiver() as one, udp_receiver() as other:
        nodes = [
            destination(one.getsockname()[1], "n1", "a"), destination(other.getsockname()[1], "n2", "b"),
        ]  # fmt: skip
        async with running_load(LoadPlan("mirror", rate_per_s=1000, copies=2), nodes) as running:
            await until_sent(running.ledger, 50)
            ledger = await running.stop()

        assert received(one) == received(other) == [event.datagram for event in ledger.sent]


async def test_what_nobody_listens_to_is_refused_and_not_sent() -> None:
    """The kernel says so at the next send; none of it counts as delivered."""
    with udp_receiver() as closed:
        port = closed.getsockname()[1]
    ledger = SendLedger("refused")
    way = UdpWay(destination(port), ledger.refuse)
    for index in range(5):
        event = Sent("call", index, index, b"HEP3")
        ledger.sent.append(event)
        await way.give(event)
    way.close()

    assert ledger.refused["n1", "refused"] >= 5
    assert list(ledger.delivered(())) == []


async def test_a_datagram_that_is_too_long_is_refused_by_its_reason() -> None:
    """The error's name says why."""
    with udp_receiver() as receiver:
        ledger = SendLedger("long")
        way = UdpWay(destination(receiver.getsockname()[1]), ledger.refuse)
        await way.give(Sent("call", 1, 1, bytes(70_000)))
        way.close()

    assert ledger.refused == {("n1", "EMSGSIZE"): 1}


async def test_a_stream_carries_packets_one_after_another_and_finds_a_node_that_came_back() -> None:
    """What it could not take is refused."""
    taken = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            taken.extend(data)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with running_load(LoadPlan("tcp", rate_per_s=500), [destination(port)], make_way=TcpWay) as running:
        await until_sent(running.ledger, 20)
        async with await asyncio.start_server(take, "127.0.0.1", port):
            await until(lambda: len(taken) > 100_000)
            ledger = await running.stop()
            wanted = b"".join(event.datagram for event in ledger.sent if event.to)
            await until(lambda: len(taken) >= len(wanted))

    assert ledger.refused["n1", "ECONNREFUSED"] >= 20
    assert bytes(taken) == wanted


async def test_a_stream_that_the_node_has_ended_is_opened_anew() -> None:
    """Whatever was on its way in it."""
    streams: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(writer)
        with suppress(ConnectionError):
            await reader.read(1)
        if len(streams) == 1:
            writer.transport.abort()
        else:
            with suppress(ConnectionError):
                while await reader.read(65_536):
                    continue
            writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        node = destination(server.sockets[0].getsockname()[1])
        async with running_load(LoadPlan("again", rate_per_s=200), [node], make_way=TcpWay) as running:
            await until(lambda: len(streams) == 2)
            given = len([event for event in running.ledger.sent if event.to])
            await until(lambda: len([event for event in running.ledger.sent if event.to]) > given + 10)
            await running.stop()

    assert sum(running.ledger.refused.values()) >= 1


def test_what_was_sent_to_a_node_that_was_down_is_not_delivered() -> None:
    """Unless another node had a copy."""
    ledger = SendLedger("down")
    to = [["n1"], ["n1"], ["n1", "n2"], ["n2"], []]
    ledger.sent = [Sent("call", index, 100 + index, b"", names) for index, names in enumerate(to)]
    outages = [Outage("n1", 101, 200)]

    assert [one.event_key for one in ledger.delivered(outages)] == [0, 2, 3]
    assert ledger.per_s("n1", 100, 104) == 3 / 4e-6

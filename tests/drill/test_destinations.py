"""Who gets a call's messages: owners by Call-ID, over nodes that say they are ready."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from everline.drill.destinations import Destination, Readiness, is_ready, owners, ranked

NODES = [Destination(f"{rack}{number}", "127.0.0.1", 9060, 9080, f"rack-{rack}") for rack in "ab" for number in (1, 2)]
CALLS = [f"call-{number}@test" for number in range(2000)]


def test_calls_are_spread_evenly() -> None:
    """Over four nodes each gets about a quarter."""
    spread = Counter(owners(call, NODES, copies=1)[0].name for call in CALLS)

    assert all(400 < calls < 600 for calls in spread.values())


def test_only_the_calls_of_a_node_that_goes_move() -> None:
    """All others stay where they are."""
    left = NODES[1:]
    moved = [call for call in CALLS if ranked(call, NODES)[0] != ranked(call, left)[0]]

    assert {ranked(call, NODES)[0].name for call in moved} == {"a1"}


def test_the_second_copy_goes_to_another_rack() -> None:
    """Whichever the owner is."""
    pairs = [owners(call, NODES, copies=2) for call in CALLS]

    assert all(one.rack != other.rack for one, other in pairs)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        pytest.param(NODES[:2], {"a1", "a2"}, id="one-rack-left-both-in-it"),
        pytest.param(NODES[:1], {"a1"}, id="one-node-left-once"),
        pytest.param([], set(), id="nobody-left"),
    ],
)
def test_two_copies_with_few_nodes(nodes: list[Destination], names: set[str]) -> None:
    """What is left is used, and no node twice."""
    found = owners("call", nodes, copies=2)

    assert {one.name for one in found} == names
    assert len(found) == len(names)


def test_a_barred_node_gets_nothing_until_it_is_free_again() -> None:
    """That is how a test says that nobody can reach it."""
    readiness = Readiness(NODES)
    readiness.bar(["a1", "a2"])
    barred = {readiness.choose(call)[0].name for call in CALLS}
    readiness.bar([])

    assert barred == {"b1", "b2"}
    assert {readiness.choose(call)[0].name for call in CALLS} == {"a1", "a2", "b1", "b2"}


@asynccontextmanager
async def answering(line: bytes) -> AsyncIterator[Destination]:
    """A node whose HTTP server says one thing, or nothing at all."""
    answers: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        if line:
            writer.write(line)
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Destination("n1", "127.0.0.1", 9, server.sockets[0].getsockname()[1], "rack-a")
    await asyncio.gather(*filter(None, answers))


@pytest.mark.parametrize(
    ("line", "ready"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", True, id="200-is-ready"),
        pytest.param(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False, id="503-is-not"),
        pytest.param(b"", False, id="nor-is-silence"),
    ],
)
async def test_what_counts_as_ready(line: bytes, ready: bool) -> None:  # noqa: FBT001 - a parameter
    """Only a 200 in time."""
    async with answering(line) as node:
        assert await is_ready(node) is ready


async def test_a_node_that_does_not_listen_is_not_ready() -> None:
    """And nothing is raised."""
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as node:
        pass

    assert not await is_ready(node)


async def test_who_stops_being_ready_gets_nothing_more_and_who_comes_back_does() -> None:
    """Health is asked for all the time, as a balancer does."""
    line = b"HTTP/1.1 200 OK\r\n\r\n"
    async with answering(line) as other:
        async with answering(line) as leaving:
            readiness = Readiness([other, leaving_node := Destination("n2", *_ends(leaving), "rack-b")])
            watching = asyncio.create_task(readiness.watch())
            await until_ready(readiness, {"n1", "n2"})
        await until_ready(readiness, {"n1"})
        assert {readiness.choose(call)[0].name for call in CALLS} == {"n1"}
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert leaving_node not in readiness.ready


async def test_when_nobody_is_ready_all_are_tried() -> None:
    """What fails then is seen in the ledger."""
    async with answering(b"HTTP/1.1 503 Busy\r\n\r\n") as node:
        readiness = Readiness([node])
        watching = asyncio.create_task(readiness.watch())
        await until_ready(readiness, set())
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert readiness.choose("call") == [node]


def _ends(node: Destination) -> tuple[str, int, int]:
    return node.host, node.hep_port, node.http_port


async def until_ready(readiness: Readiness, names: set[str]) -> None:
    """Wait until just these are ready."""
    async with asyncio.timeout(10):
        while {one.name for one in readiness.ready} != names:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.02)

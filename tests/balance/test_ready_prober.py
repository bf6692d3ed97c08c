"""What members say over HTTP is heard, whatever else comes over that connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from everline.balance.health import Health
from everline.balance.ready_prober import ReadyProber

WITHIN_S = 10.0

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(*heads: bytes) -> Answer:
    """A member that answers question by question, the last of them again and again."""
    left = list(heads)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(left.pop(0) if len(left) > 1 else left[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return answer


@asynccontextmanager
async def asked(answer: Answer) -> AsyncIterator[tuple[Health, list[bool | None]]]:
    """What is known of a member that answers so, and what was heard of it in turn."""
    health, heard = Health(["n1"]), list[bool | None]()
    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        prober = ReadyProber(
            {"n1": server.sockets[0].getsockname()[:2]}, health,
            told=lambda: heard.append(health.members["n1"].is_ready),
        )  # fmt: skip
        running = asyncio.create_task(prober.run())
        try:
            yield health, heard
        finally:
            running.cancel()
            await asyncio.wait([running])
            server.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in sockets."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - it happens in sockets
            await asyncio.sleep(0.005)


READY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"
DRAINED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 7\r\n\r\ndrained"


async def test_a_member_that_says_503_gets_nothing_until_it_says_200() -> None:
    """Over one connection."""
    async with asked(saying(READY, DRAINED, DRAINED, READY)) as (health, heard):
        await until(lambda: len(heard) == 3)

        assert heard == [True, False, True]
        assert health.usable(0.0) == {"n1"}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"\x00\xff\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nshort", id="never-all-of-it"),
        pytest.param(b"x" * 200_000, id="no-end-of-the-head"),
        pytest.param(b"", id="silence"),
    ],
)
async def test_a_member_that_says_nothing_of_use_is_not_believed_and_not_left(said: bytes) -> None:
    """What it said before is forgotten; it stays in, since packets may come through all the same."""
    async with asked(saying(DRAINED, said)) as (health, heard):
        await until(lambda: heard[:2] == [False, None])

        assert not health.members["n1"].wants_nothing


async def test_a_member_that_comes_back_is_heard_again() -> None:
    """A connection that broke is made anew."""
    turns = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turns
        turns += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(READY)
        writer.close()

    async with asked(answer) as (_, heard):
        await until(lambda: heard.count(True) >= 2)

        assert turns >= 2
        assert None in heard

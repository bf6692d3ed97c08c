"""Whose request it is, when NGINX stands between."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from everline.app.vitals import create_vitals_app
from everline.config import Endpoint
from everline.log import configure_logging
from everline.node.http import HttpServer, http_socket

CLAIMED = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}


async def whose(request: Request) -> PlainTextResponse:
    """What the application sees of the request."""
    assert request.client
    return PlainTextResponse(f"{request.client.host} {request.url.scheme}")


@asynccontextmanager
async def serving(proxies: Sequence[str]) -> AsyncIterator[str]:
    """A server that believes these; where it answers."""
    server = HttpServer(
        Starlette(routes=[Route("/", whose)]), http_socket(Endpoint("127.0.0.1", 0)), proxies=proxies
    )  # fmt: skip
    running = asyncio.create_task(server.run_until_stopped())
    try:
        yield server.url
    finally:
        await server.stop()
        await running


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [(["127.0.0.1"], "192.0.2.7 https"), (["10.77.1.11"], "127.0.0.1 http"), ([], "127.0.0.1 http")],
    ids=["nginx-of-the-cluster", "somebody-else", "without-nginx"],
)
async def test_only_nginx_is_believed_when_it_names_the_client(proxies: list[str], seen: str) -> None:
    """Else whoever guesses tokens could be another one each time, and the throttle of logins would count none."""
    async with serving(proxies) as url, httpx2.AsyncClient() as client:
        assert (await client.get(url, headers=CLAIMED)).text == seen


async def test_who_is_told_of_the_end_finds_the_door_closed() -> None:
    """Else a stream that ends for it would come back to the same node."""
    closing = asyncio.Event()
    tried: list[OSError] = []

    async def stay(_: Request) -> StreamingResponse:
        async def until_closing() -> AsyncIterator[str]:
            yield "here\n"
            await closing.wait()
            try:
                await asyncio.open_connection("127.0.0.1", port)
            except OSError as refused:
                tried.append(refused)
            yield "gone\n"

        return StreamingResponse(until_closing())

    listening = http_socket(Endpoint("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = HttpServer(Starlette(routes=[Route("/", stay)]), listening, closing=closing)
    running = asyncio.create_task(server.run_until_stopped())
    async with httpx2.AsyncClient() as client, client.stream("GET", server.url) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "here"
        stopping = asyncio.create_task(server.stop())
        assert [line async for line in lines] == ["gone"]
    await asyncio.gather(stopping, running)

    assert len(tried) == 1


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is written at the level of warnings and above."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(level="warning", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_bug_is_logged_once(logged: io.StringIO) -> None:
    """By the application, which can name the request; the server, which can't, keeps quiet about it."""

    def broken() -> str:
        raise RuntimeError("a bug")

    server = HttpServer(create_vitals_app(list, broken), http_socket(Endpoint("127.0.0.1", 0)))
    running = asyncio.create_task(server.run_until_stopped())
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{server.url}/metrics", headers={"X-Request-ID": "0" * 32})
    await server.stop()
    await running

    assert answer.status_code == 500
    [line] = logged.getvalue().splitlines()
    assert f" error request.failed request_id={'0' * 32} method=GET path=/metrics" in line

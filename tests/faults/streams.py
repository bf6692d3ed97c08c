"""Streams of events as browsers hold them: one in a real browser, and many without."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx2
from selenium import webdriver
from tests.faults.eyes import until
from tests.peers.browser import chromium_driver

TRANSITIONS: Final = frozenset({"call_create", "caller_ringing", "call_answer", "call_hangup"})
SILENT_S: Final = 3.0
RETRY_S: Final = 0.2
_LISTEN: Final = """
    window.heard = [];
    document.addEventListener("stream", ({detail}) =>
        window.heard.push([performance.timeOrigin + performance.now(), detail.name, detail.id, detail.node]));
"""
_OPEN_ROWS: Final = """
    return [...document.querySelectorAll("#live tbody tr:not(.over)")].map((row) => row.dataset.call);
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing that a stream said: when, epoch seconds; its id, empty if it has none; by whom."""

    at_s: float
    name: str
    event_id: str
    node: str


class Tab:
    """A page in Chromium. Questions to it go to a thread, so that the load goes on."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    async def open(self, link: str) -> None:
        """Load a page and listen to its stream."""
        await asyncio.to_thread(self._driver.get, link)
        await self._run(_LISTEN)

    async def heard(self) -> list[Heard]:
        """All since it was opened."""
        return [Heard(at_ms / 1000, *rest) for at_ms, *rest in await self._run("return window.heard")]

    async def serving(self) -> str:
        """Who said the last thing; empty before the first."""
        said = await self._run("return window.heard.slice(-1)")
        return str(said[0][3]) if said else ""

    async def badge(self) -> str:
        """What the page says of its stream."""
        return str(await self._run("return document.getElementById('stream').textContent"))

    async def open_calls(self) -> set[str]:
        """The Call-IDs in its table that are not over."""
        return set(await self._run(_OPEN_ROWS))

    async def status_of(self, path: str) -> int:
        """The status code with which this session is answered."""
        script = "const done = arguments[1]; fetch(arguments[0]).then((answer) => done(answer.status), () => done(0))"
        return int(await asyncio.to_thread(self._driver.execute_async_script, script, path))

    async def _run(self, script: str) -> Any:  # whatever the script returns
        return await asyncio.to_thread(self._driver.execute_script, script)


@contextmanager
def chromium(profile: str) -> Iterator[Tab]:
    """Debian's, without a window."""
    with chromium_driver(profile) as driver:
        yield Tab(driver)


@dataclass(slots=True)
class Follower:
    """
    A stream as `stream.js` follows it: resumed after the last event, at whoever answers.

    Attributes:
        url: Of the stream.
        position: The last id seen.
        ids: Of the transitions that it was told, in order.
        nodes: Who served it, in order.
        resets: How often it was told to load again.
        refused: What it was refused with last.
    """

    url: str
    token: str
    position: str
    ids: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    resets: int = 0
    refused: str = ""

    async def follow(self, client: httpx2.AsyncClient) -> None:
        """For ever."""
        while True:
            try:
                await self._read(client)
            except httpx2.HTTPError as fault:  # As a browser: again, wherever.
                self.refused = f"{type(fault).__name__} {fault}"
            await asyncio.sleep(random.random() * RETRY_S)

    async def _read(self, client: httpx2.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with client.stream("GET", self.url, params={"since": self.position}, headers=headers) as answer:
            if answer.status_code != 200:
                self.refused = str(answer.status_code)
                return
            event_id = name = ""
            async for line in answer.aiter_lines():
                field_name, _, value = line.partition(": ")
                if field_name == "id":
                    event_id = value
                elif field_name == "event":
                    name = value
                elif field_name == "data":
                    self._hear(name, event_id, value)
                    event_id = name = ""

    def _hear(self, name: str, event_id: str, data: str) -> None:
        if event_id:
            self.position = event_id
        if name in TRANSITIONS:
            self.ids.append(event_id)
        elif name == "hello":
            self.nodes.append(json.loads(data)["node"])
        elif name == "reset":
            self.resets += 1


class Followers:
    """Many of them."""

    def __init__(self, all_of_them: Sequence[Follower], tasks: Sequence["asyncio.Task[None]"]) -> None:
        self.all = all_of_them
        self._tasks = tasks

    async def until_told(self, event_id: str, *, within_s: float) -> None:
        """Return once each has heard of a transition."""

        async def all_heard() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return all(event_id in one.ids for one in self.all)

        try:
            await until(all_heard, within_s=within_s, what=f"{len(self.all)} streams have told {event_id}")
        except AssertionError as late:
            lacking = [one for one in self.all if event_id not in one.ids]
            said = [f"{one.nodes}, {one.resets} resets, at {one.position}, {one.refused}" for one in lacking]
            raise AssertionError(f"{late}; {len(lacking)} lack it: {said[:5]}") from late

    @classmethod
    @asynccontextmanager
    async def following(cls, base: str, token: str, position: str, *, count: int) -> AsyncIterator[Self]:
        """So many, from one position on, until the block ends."""
        each_its_own = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx2.AsyncClient(limits=each_its_own, timeout=SILENT_S) as client:
            found = [Follower(f"{base}/api/v1/events", token, position) for _ in range(count)]
            tasks = [asyncio.create_task(one.follow(client)) for one in found]
            try:
                yield cls(found, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

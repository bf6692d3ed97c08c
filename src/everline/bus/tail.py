"""The end of the stream of transitions, followed once for all who wait in this process."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final
from uuid import uuid4

from redis.asyncio import Redis

from everline.bus.connection import command, in_our_words
from everline.bus.discovery import RedisPrimary, pause_s
from everline.bus.errors import BusError, BusLostError
from everline.bus.live import Position
from everline.bus.scripts import EVENTS, POSITION, TRANSITIONS_AFTER
from everline.bus.transition import Transition
from everline.bus.transition_json import decode_transition

BLOCK_S: Final = 0.25
PAGE: Final = 1000
"""Transitions read at once."""


def order(stream_id: str) -> tuple[int, int]:
    """Stream ids sort by time, then by number."""
    at, _, number = stream_id.partition("-")
    return int(at), int(number or 0)


class StreamTail:
    """
    Follows the stream while somebody has asked for it, over one connection.

    Args:
        keep: Transitions kept here, so that waking browsers asks Redis nothing.
    """

    def __init__(self, primary: RedisPrimary, *, keep: int) -> None:
        self._primary = primary
        self._kept: deque[Transition] = deque()
        self._keep = keep
        self._base: Position | None = None
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._random = Random()  # noqa: S311 - jitter needs no secrecy
        self.in_progress = 0

    @property
    def end(self) -> Position | None:
        """The last transition read; None before the first look."""
        if self._base is None or not self._kept:
            return self._base
        return Position(self._base.epoch, self._kept[-1].stream_id)

    def after(self, position: Position) -> Sequence[Transition] | None:
        """Transitions after a position, as far as they were read; None when the position is none that was read."""
        if self._base is None or position.epoch != self._base.epoch:
            return None
        if position == self._base:
            return list(self._kept)
        for back, one in enumerate(reversed(self._kept)):
            if one.stream_id == position.stream_id:
                return list(self._kept)[len(self._kept) - back :]
        return None

    async def wait(self, after: Position, timeout_s: float) -> None:
        """Return when something after a position was read, the epoch is another, or time is up."""
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._is_past(after):
                    await self._news.wait()

    async def run(self) -> None:
        """Follow the stream, for ever."""
        failures = 0
        while True:
            await self._wanted.wait()
            try:
                async for _ in self._rounds():
                    failures = 0
            except BusError:
                failures += 1
                await asyncio.sleep(pause_s(failures, self._random))

    def wake(self) -> None:
        """End all waiting for news; who still has none waits again."""
        self._news.set()
        self._news = asyncio.Event()

    def _is_past(self, position: Position) -> bool:
        end = self.end
        if end is None:
            return False
        return end.epoch != position.epoch or order(end.stream_id) > order(position.stream_id)

    async def _rounds(self) -> Any:  # an async generator of nothing
        """Read round by round until the primary is another."""
        await self._primary.ready(self._primary.settings.command_s)
        generation, address = self._primary.generation, self._primary.address
        client = self._primary.connect()
        try:
            while generation == self._primary.generation and address:
                with in_our_words(address):
                    async with asyncio.timeout(BLOCK_S + self._primary.settings.command_s):
                        await self._read(client)
                yield
        except BusLostError as fault:
            self._primary.suspect(fault, generation=generation)
            raise
        finally:
            with suppress(Exception):  # It is thrown away.
                await client.connection_pool.disconnect(inuse_connections=True)

    async def _read(self, client: Redis) -> None:
        """Take what is new, or wait a moment for it."""
        end = self.end
        if end is None:
            await self._begin(client)
            return
        said = await TRANSITIONS_AFTER.run(client, end.epoch, end.stream_id, PAGE)
        if said is None:  # Another epoch, or a hole: whoever waits must ask.
            await self._begin(client)
            return
        if said:
            self._take(said)
        else:
            await command(client, "XREAD", "BLOCK", int(BLOCK_S * 1000), "COUNT", 1, "STREAMS", EVENTS, end.stream_id)

    async def _begin(self, client: Redis) -> None:
        epoch, stream_id, _ = await POSITION.run(client, uuid4().hex[:12])
        self._kept.clear()
        self._base = Position(epoch.decode(), stream_id.decode())
        self.wake()

    def _take(self, said: Any) -> None:
        self._kept.extend(transitions_in(said))
        while len(self._kept) > self._keep and self._base:
            self._base = Position(self._base.epoch, self._kept.popleft().stream_id)
        self.wake()


def transitions_in(said: Any) -> list[Transition]:
    """What Redis gives of a stream: `[[id, [name, text]], …]`."""
    return [decode_transition(stream_id.decode(), parts[1]) for stream_id, parts in said]

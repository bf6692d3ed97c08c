"""
Beat, and hear others beat. A node that does not hear its own beats is cut off, and it says so about itself.

A subscriber behind a cut link hears nothing and gets no error (seen in 10 runs of 10), so only the echo tells. While it
is missing the table of the others stands still: it is we who are deaf.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns, time_ns
from typing import Final, Protocol
from uuid import uuid4

from everline.cluster.beat import Activity, BeatError, Health, Heartbeat, parse_beat
from everline.cluster.table import Member, NodeTable, TableChange
from everline.errors import EverlineError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.3
_HEARD_BOUND: Final = 1_000


class BeatChannel(Protocol):
    """Implemented on Redis and, for one process and for tests, in memory. What it can't do it says as EverlineError."""

    async def publish(self, beat: bytes) -> None:
        """Let everybody hear it who listens now."""
        ...

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What is published from now on. Opened anew, it looks anew for whom to ask; opening has a deadline itself."""
        ...


class MemoryBeatChannel:
    """Within one process. `is_cut`: publishes nothing and hears nothing, without an error, as behind a cut link."""

    def __init__(self) -> None:
        self.is_cut = False
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def publish(self, beat: bytes) -> None:
        """Let everybody hear it."""
        if not self.is_cut:
            for queue in self._listeners:
                if not queue.full():  # As Redis: who does not read is not waited for.
                    queue.put_nowait(beat)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is published from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_HEARD_BOUND)
        self._listeners.add(queue)
        try:
            yield _from(queue)
        finally:
            self._listeners.discard(queue)


async def _from(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await queue.get()


@dataclass(frozen=True, slots=True)
class CutOff:
    """
    This node could not hear itself.

    Args:
        since_us: Epoch microseconds of the last echo, or of the start.
        until_us: Of the next one; 0 while it lasts.
    """

    since_us: int
    until_us: int = 0


class Heart:
    """
    The heartbeat of one node, and what it hears.

    Args:
        told: Called in the loop with what changed in the table.
        cut: Called in the loop when this node is cut off, and when it is so no more.
    """

    def __init__(
        self,
        channel: BeatChannel,
        me: Member,
        table: NodeTable,
        *,
        version: str,
        heartbeat_ms: int,
        suspect_ms: int,
        health: Callable[[], Health] = Health,
        activity: Callable[[], Activity] = lambda: Activity.UP,
        told: Callable[[list[TableChange]], None] = lambda _: None,
        cut: Callable[[CutOff], None] = lambda _: None,
    ) -> None:
        self._channel = channel
        self._me = me
        self.table = table
        self._version = version
        self._every_s = heartbeat_ms / 1000
        self._suspect_s = suspect_ms / 1000
        self._health, self._activity = health, activity
        self._told, self._cut = told, cut
        self.boot = uuid4().hex[:16]
        self._sequence = 0
        self._echo_s = asyncio.get_running_loop().time()
        self._echo_us = time_ns() // 1000
        self._listening: asyncio.Task[None] | None = None
        self._open_since_s: float | None = None
        self.cut_off: CutOff | None = None
        self.ignored: Counter[str] = Counter()
        """What was heard and is no heartbeat, by reason."""
        self._mute = ""

    async def run(self) -> None:
        """Beat and listen, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat_for_ever(), name="heartbeat")
            tasks.create_task(self._listen_for_ever(), name="heartbeats of others")
            tasks.create_task(self._watch(), name="heartbeat watchdog")

    async def beat(self) -> None:
        """
        Say once that we are there.

        Raises:
            EverlineError: The channel did not take it.
        """
        self._sequence += 1
        me = self._me
        beat = Heartbeat(
            me.node, me.role, me.region, me.rack, me.host, self.boot, self._sequence, time_ns() // 1000,
            self._activity(), self._version, self._health(),
        )  # fmt: skip
        await self._channel.publish(beat.encode())

    async def _beat_for_ever(self) -> None:
        """In a fixed rhythm: a beat that takes long must not make the next one late."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            try:
                async with asyncio.timeout(self._suspect_s):
                    await self.beat()
                self._say_mute("")
            except TimeoutError:
                self._say_mute(f"no answer within {self._suspect_s:g} s")
            except EverlineError as fault:
                self._say_mute(str(fault))
            next_s = max(next_s + self._every_s, loop.time() - self._every_s)
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def _listen_for_ever(self) -> None:
        """Listen; when that fails, or the watchdog ends it, look for the bus anew. It never gives up."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._listening = asyncio.create_task(self._listen(), name="listening to heartbeats")
            try:
                await asyncio.wait([self._listening])
            finally:
                self._listening.cancel()
                await asyncio.wait([self._listening])
            if not self._listening.cancelled() and (fault := self._listening.exception()):
                if not isinstance(fault, EverlineError):
                    raise fault
                log.debug("heart.listening_failed", extra={"why": str(fault)})
            pause_s = _FIRST_PAUSE_S if self.cut_off is None else min(pause_s * 2, _LONGEST_PAUSE_S)
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 - spreads load, hides nothing

    async def _listen(self) -> None:
        self._open_since_s = None
        async with self._channel.listen() as messages:
            self._open_since_s = asyncio.get_running_loop().time()
            async for data in messages:
                self._hear(data)

    def _hear(self, data: bytes) -> None:
        try:
            beat = parse_beat(data)
        except BeatError as fault:
            self.ignored[fault.reason] += 1
            return
        if beat.boot == self.boot and beat.node == self._me.node:
            self._hear_ourselves()
        if changes := self.table.observe(beat, at_us=monotonic_ns() // 1000, wall_us=time_ns() // 1000):
            self._told(changes)

    def _hear_ourselves(self) -> None:
        now_us = time_ns() // 1000
        self._echo_s, self._echo_us = asyncio.get_running_loop().time(), now_us
        if self.cut_off is None:
            return
        over = CutOff(self.cut_off.since_us, now_us)
        self.cut_off = None
        self.table.hears_again(monotonic_ns() // 1000)
        log.warning(
            "heart.hears_again", extra={"node": self._me.node, "cut_off_s": (over.until_us - over.since_us) / 1e6}
        )
        self._cut(over)

    async def _watch(self) -> None:
        """Notice the silence of others, and before that our own deafness."""
        loop = asyncio.get_running_loop()
        while True:
            slept_from_s = loop.time()
            await asyncio.sleep(self._every_s / 4)
            now_s = loop.time()
            if (
                now_s - slept_from_s > self._every_s
            ):  # We were stopped ourselves; what came meanwhile is still to be read.
                self.table.hears_again(monotonic_ns() // 1000)
                self._echo_s = max(self._echo_s, now_s - self._suspect_s / 2)
            silent_s = now_s - self._echo_s
            if silent_s >= self._suspect_s and self.cut_off is None:
                self._become_deaf()
            if self.cut_off is not None and self._has_heard_nothing_since(now_s - self._suspect_s):
                self._listen_anew()
            if self.cut_off is None and silent_s < 2 * self._every_s + self._suspect_s / 4:
                self._tick()

    def _has_heard_nothing_since(self, then_s: float) -> bool:
        """An open subscription that is deaf; one that is being opened has its own deadline."""
        return self._open_since_s is not None and self._open_since_s <= then_s

    def _listen_anew(self) -> None:
        self._open_since_s = None
        if self._listening is not None:
            self._listening.cancel()

    def _tick(self) -> None:
        if changes := self.table.tick(monotonic_ns() // 1000):
            self._told(changes)

    def _become_deaf(self) -> None:
        self.cut_off = CutOff(self._echo_us)
        self.table.deaf()
        log.warning("heart.cut_off", extra={"node": self._me.node, "silent_s": self._suspect_s})
        self._cut(self.cut_off)

    def _say_mute(self, why: str) -> None:
        if why and not self._mute:
            log.warning("heart.mute", extra={"why": why})
        self._mute = why

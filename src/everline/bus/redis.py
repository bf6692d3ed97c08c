"""The bus of a cluster: live calls merged in Redis, their transitions in a stream there."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import uuid4

from redis.asyncio import Redis

from everline.bus.discovery import RedisPrimary
from everline.bus.encoding import decode_facts
from everline.bus.errors import BusError
from everline.bus.live import LiveCounts, Position
from everline.bus.merging import Merging, Row, deltas_of, is_in_progress
from everline.bus.scripts import (
    CALL,
    FACTS_OF,
    FENCED_SET,
    LIVE,
    MERGE,
    POSITION,
    REBUILT,
    TRANSITIONS_AFTER,
    UNTOLD,
    as_json,
)
from everline.bus.tail import PAGE, StreamTail, transitions_in
from everline.bus.transition import Transition
from everline.calls.event import EventBatch
from everline.calls.facts import Facts, freeze
from everline.calls.record import CallRecord, State, is_call, record_of

T = TypeVar("T")

CHUNK: Final = 100
"""Calls in one script: some milliseconds, in which Redis answers nobody else."""
LOOKS: Final = 5
"""How often a call is looked at while others change it too; then whoever came last tells, or the next sweep."""
UNTOLD_S: Final = 2.0
"""A call whose steps nobody has told for so long: who was to tell them is gone."""
COUNT_EVERY_S: Final = 2.0
PRIMARY_S: Final = 2.0
"""A batch waits so long for a primary before it is refused, so that it goes the moment there is one."""


class RedisBus:
    """
    Live state and its transitions in Redis, merged by any number of nodes.

    `run` must run while anybody waits, and so must the primary's.

    Args:
        max_calls: Most calls kept in Redis; beyond, those that ended first, then those that began first are forgotten.
        max_transitions: Most transitions kept in the stream, about.
    """

    def __init__(self, primary: RedisPrimary, *, max_calls: int = 50_000, max_transitions: int = 10_000) -> None:
        self._primary = primary
        self._max_calls = max_calls
        self._max_transitions = max_transitions
        self._merging = Merging(max_calls)
        self._tail = StreamTail(primary, keep=max_transitions)
        self._counts = LiveCounts()
        self._merges = asyncio.Lock()
        self._generation, self._epoch = 0, ""

    @property
    def counts(self) -> LiveCounts:
        """What was counted so far; calls in progress every few seconds."""
        return self._counts

    async def run(self) -> None:
        """Follow the stream for those who wait, and count, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tail.run(), name="bus-tail")
            tasks.create_task(self._keep_counting(), name="bus-counts")

    async def insert(self, batch: EventBatch) -> None:
        """
        Merge a batch into live state and publish what it changed; giving it twice changes nothing more.

        Raises:
            BusError: Redis did not take all of it; give it again.
        """
        await self._primary.ready(PRIMARY_S)
        async with self._merges:
            await self._notice_failover()
            deltas = list(deltas_of(batch).items())
            sending: asyncio.Task[None] | None = None
            try:
                for start in range(0, len(deltas), CHUNK):
                    rows = [self._merging.row(*one) for one in deltas[start : start + CHUNK]]
                    if sending:
                        await sending
                    sending = asyncio.create_task(self._merge(rows))
                    await asyncio.sleep(0)  # It is on its way to Redis, which works while the next is made here.
                if sending:
                    await sending
            finally:
                if sending and not sending.done():
                    sending.cancel()
                    await asyncio.wait([sending])

    async def live(self, limit: int = 1000) -> list[CallRecord]:
        """Calls in progress, newest first, at most `limit`."""
        said = await self._primary.command("ZREVRANGE", LIVE, 0, limit - 1)
        call_ids = [one.decode("utf-8", "surrogatepass") for one in said]
        found = [record_of(call_id, facts) for call_id, facts in await self._facts(call_ids) if is_call(facts)]
        return [one for one in found if one.state is not State.ENDED]

    async def in_progress(self) -> int:
        """How many calls are in progress."""
        return int(await self._primary.command("ZCARD", LIVE))

    async def position(self) -> Position:
        """Where the stream is now."""
        epoch, stream_id, _ = await self._ask(lambda client: POSITION.run(client, uuid4().hex[:12]))
        return Position(epoch.decode(), stream_id.decode())

    async def transitions_after(self, position: Position) -> Sequence[Transition] | None:
        """Transitions after a position, as many as are read at once; None if some of them are no longer kept."""
        if read := self._tail.after(position):
            return read
        said = await self._ask(lambda client: TRANSITIONS_AFTER.run(client, position.epoch, position.stream_id, PAGE))
        return None if said is None else transitions_in(said)

    async def wait(self, after: Position, timeout_s: float) -> None:
        """Return when there is a transition after a position, or when time is up."""
        await self._tail.wait(after, timeout_s)

    async def close(self) -> None:
        """Wake who waits."""
        self._tail.wake()

    async def retell(self) -> int:
        """
        Tell the steps of calls whose teller is gone: a duty of the leader, every few seconds. How many calls.

        Raises:
            BusError: Redis can't be asked.
        """
        seconds, micros = await self._primary.command("TIME")
        before_ms = int(seconds) * 1000 + int(micros) // 1000 - int(UNTOLD_S * 1000)
        said = await self._primary.command("ZRANGEBYSCORE", UNTOLD, "-inf", before_ms, "LIMIT", 0, CHUNK)
        call_ids = [one.decode("utf-8", "surrogatepass") for one in said]
        if call_ids:
            async with self._merges:
                await self._notice_failover()
                await self._look(call_ids)
        return len(call_ids)

    async def needs_rebuild(self) -> bool:
        """
        Whether Redis began anew, or another one was promoted, since live state was rebuilt from the store.

        Raises:
            BusError: Redis can't be asked.
        """
        return await self._marker() != await self._rebuilt()

    async def rebuild(self, calls: AsyncIterator[tuple[str, Facts]]) -> int:
        """
        Put calls of the store back into live state. How many of them are in progress.

        When Redis began anew, their steps count as told: browsers are told to load again. After a failover they are
        joined to what is there, and a step that was lost with the old primary is told once more, under its old id: of
        calls that have just ended, too.

        Args:
            calls: Call-ID and facts; where the store only counted the events, live state will not know how many.

        Raises:
            BusError: Redis can't be asked, or was replaced meanwhile: begin again.
        """
        marker, rebuilt = await self._marker(), await self._rebuilt()
        is_new = marker.split(" ")[0] != rebuilt.split(" ")[0]
        count = 0
        async for chunk in _chunks(calls):
            async with self._merges:
                await self._notice_failover()
                rows = [self._merging.restored(*one, silently=is_new) for one in chunk]
                await self._merge(rows)
            count += sum(is_in_progress(row) for row in rows)
        if await self._marker() != marker:
            raise BusError("Redis was replaced while live state was rebuilt: it is rebuilt again")
        await self._primary.command("SET", REBUILT, marker)
        return count

    async def fenced_set(self, key: str, value: bytes | str, token: int) -> bool:
        """
        Set a key, unless a leader with a higher token has done so before; whether it was set.

        Raises:
            BusError: Redis can't be asked; the key may be set or not.
        """
        return bool(await self._ask(lambda client: FENCED_SET.run(client, f"{token:020d}", key, value)))

    async def _notice_failover(self) -> None:
        """
        What a primary that is gone was the last to know is doubted, if another one goes on with its stream.

        One that began anew has told nothing: it is told what was told, so that nothing is told twice.
        """
        generation = self._primary.generation
        if generation != self._generation:
            epoch = (await self.position()).epoch
            if epoch == self._epoch:
                self._merging.doubt()
            self._generation, self._epoch = generation, epoch

    async def _merge(self, rows: Sequence[Row], *, looks: int = LOOKS) -> None:
        if not rows:
            return
        published, evicted, *untold = await self._merged(rows)
        self._count(transitions=published, evicted=evicted)
        again = [rows[number - 1][0] for number in untold if number > 0]
        looked_at = set(untold)
        for number, row in enumerate(rows, 1):
            if number not in looked_at:
                self._merging.taken(row, told=-number not in looked_at)
        if again and looks:
            await self._look(again, looks=looks - 1)

    async def _merged(self, rows: Sequence[Row]) -> list[int]:
        arguments = (as_json(rows), uuid4().hex[:12], self._max_calls, self._max_transitions)
        said = await self._ask(lambda client: MERGE.run(client, *arguments))
        return [int(one) for one in said.split(b",")]

    async def _look(self, call_ids: Sequence[str], *, looks: int = LOOKS) -> None:
        """Take over what others know of these calls, give back what they don't, and tell what follows."""
        rows = []
        for call_id, fields in await self._fields(call_ids):
            surplus = self._merging.learn(call_id, fields)
            if surplus:
                await self._prune(call_id, surplus, int(fields.get(".s", 0)))
            if not fields:
                await self._primary.command("ZREM", UNTOLD, call_id.encode("utf-8", "surrogatepass"))
            rows.append(self._merging.row(call_id, looked=True))
        await self._merge(rows, looks=looks)

    async def _prune(self, call_id: str, surplus: Sequence[str], members: int) -> None:
        key = (CALL + call_id).encode("utf-8", "surrogatepass")
        names = [one.encode("utf-8", "surrogatepass") for one in surplus]
        await self._primary.command("HDEL", key, *names)
        await self._primary.command("HSET", key, ".s", members - len(names))

    async def _facts(self, call_ids: Sequence[str]) -> list[tuple[str, Facts]]:
        return [(call_id, freeze(decode_facts(fields))) for call_id, fields in await self._fields(call_ids)]

    async def _fields(self, call_ids: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
        found: list[tuple[str, dict[str, str]]] = []
        for start in range(0, len(call_ids), CHUNK):
            chunk = call_ids[start : start + CHUNK]
            found += zip(chunk, await self._fields_of_chunk(chunk), strict=True)
        return found

    async def _fields_of_chunk(self, call_ids: Sequence[str]) -> list[dict[str, str]]:
        asked = as_json(call_ids)
        said = await self._ask(lambda client: FACTS_OF.run(client, asked))
        return [dict(zip(one[1::2], one[2::2], strict=True)) for one in json.loads(said)]

    async def _marker(self) -> str:
        """Which Redis this is: its epoch and its run."""
        epoch = (await self.position()).epoch
        run = await self._primary.command("INFO", "server")
        return f"{epoch} {run['run_id']}"

    async def _rebuilt(self) -> str:
        return (await self._primary.command("GET", REBUILT) or b"").decode()

    def _count(self, *, transitions: int = 0, evicted: int = 0) -> None:
        now = self._counts
        self._counts = LiveCounts(now.in_progress, now.transitions + transitions, now.evicted + evicted)

    async def _keep_counting(self) -> None:
        while True:
            try:
                now = await self.in_progress()
                self._counts = LiveCounts(now, self._counts.transitions, self._counts.evicted)
            except BusError:
                pass  # It is said where something is asked for; the last figure stays.
            await asyncio.sleep(COUNT_EVERY_S)

    async def _ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        return await self._primary.ask(question)


async def _chunks(calls: AsyncIterator[tuple[str, Facts]]) -> AsyncIterator[list[tuple[str, Facts]]]:
    """The same, some at a time."""
    chunk = []
    async for one in calls:
        chunk.append(one)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

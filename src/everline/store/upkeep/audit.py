"""
The auditor: what do the copies of one shard lack, and the same of calls and look-ups made of messages.

`system.replicas` is no witness: a replica that lost its part list was seen to call itself healthy with a third of
its rows missing. So the copies themselves are compared, and mended by inserting again what one has and another has
not, which changes nothing where it is there already.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from everline.calls.event import Event, EventBatch
from everline.store.answer import Answer
from everline.store.errors import StoreError
from everline.store.rows import events_of
from everline.store.servers import Server
from everline.store.upkeep import questions
from everline.store.upkeep.questions import Slice

log = logging.getLogger(__name__)

DEADLINE_S: Final = 30.0
READ: Final[Mapping[str, int]] = {"max_read_buffer_size": 1 << 15}
"""FINAL reads all parts at once: after trouble there may be hundreds, each of whose columns takes a buffer or two."""
BUCKET_EVENTS: Final = 50_000
"""So many keys of each copy are held in memory at a time."""
CALLS_AT_ONCE: Final = 500


class Lack(StrEnum):
    """What a copy lacks."""

    MESSAGES = "messages"
    CALLS = "calls"
    LOOKUP = "lookup"


class Gap(NamedTuple):
    """One server lacks something of one hour: `events` at least, where that is known."""

    server: str
    lack: Lack
    hour: int
    events: int


@dataclass(frozen=True, slots=True)
class Audit:
    """
    What was found.

    Attributes:
        gaps: Of servers that answered.
        unasked: Servers that did not answer, and why; nothing is known of them.
    """

    gaps: tuple[Gap, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)


class _Key(NamedTuple):
    call_id: str
    captured_us: int
    event_key: int


class _Held(NamedTuple):
    """What a copy holds of an hour or a bucket."""

    events: int
    digest: int


_NOTHING: Final = _Held(0, 0)


class ShardAuditor:
    """Compares and mends the copies of one shard."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = {server.name: server for server in servers}

    @property
    def servers(self) -> Collection[str]:
        """Names of those that it compares."""
        return self._servers.keys()

    async def look(self, part: Slice) -> Audit:
        """What is missing where, in some hours."""
        unasked: dict[str, str] = {}
        copies: dict[str, dict[int, _Held]] = {}
        for name, found in zip(self._servers, await asyncio.gather(*map(self._try(part), self._servers)), strict=True):
            if isinstance(found, StoreError):
                unasked[name] = str(found)
            else:
                copies[name] = found
        gaps = [gap for hour in _keys_of(copies) for gap in _differing(hour, copies)]
        for name in copies:
            try:
                gaps += await self._behind(name, part)
            except StoreError as fault:
                unasked[name] = str(fault)
        return Audit(tuple(gaps), unasked)

    async def mend(self, gaps: Iterable[Gap], settled_us: int) -> dict[str, int]:
        """
        Fill gaps.

        Returns:
            How many messages each server was given.

        Raises:
            StoreError: A server does not take part; look again later.
        """
        by_hour: defaultdict[int, set[Lack]] = defaultdict(set)
        for gap in gaps:
            by_hour[gap.hour].add(gap.lack)
        given: defaultdict[str, int] = defaultdict(int)
        for hour, lacks in sorted(by_hour.items()):
            part = Slice(hour, hour, settled_us)
            if Lack.MESSAGES in lacks:
                for name, events in (await self._mend_messages(part)).items():
                    given[name] += events
            await self._refill(part)
        return dict(given)

    def _try(self, part: Slice) -> Callable[[str], Awaitable[dict[int, _Held] | StoreError]]:
        async def held(name: str) -> dict[int, _Held] | StoreError:
            try:
                return await self._held(name, part)
            except StoreError as fault:
                return fault

        return held

    async def _held(self, name: str, part: Slice) -> dict[int, _Held]:
        answer = await _ask(self._servers[name], questions.message_digests(part))
        return {hour: _Held(*rest) for hour, *rest in answer.rows("hour", "events", "digest")}

    async def _behind(self, name: str, part: Slice) -> list[Gap]:
        server = self._servers[name]
        calls = await _ask(server, questions.calls_behind(part))
        lookup = await _ask(server, questions.lookup_behind(part))
        return [
            *(Gap(name, Lack.CALLS, hour, events) for hour, events in calls.rows("hour", "events")),
            *(Gap(name, Lack.LOOKUP, hour, count) for hour, count in lookup.rows("hour", "calls")),
        ]

    async def _mend_messages(self, part: Slice) -> dict[str, int]:
        held = await asyncio.gather(*(self._held(name, part) for name in self._servers))
        most = max((one.events for copy in held for one in copy.values()), default=0)
        buckets = max(1, math.ceil(most / BUCKET_EVENTS))
        digests = await asyncio.gather(*(self._buckets(name, part, buckets) for name in self._servers))
        copies = dict(zip(self._servers, digests, strict=True))
        given: defaultdict[str, int] = defaultdict(int)
        for bucket in _keys_of(copies):
            if len({copy.get(bucket, _NOTHING) for copy in digests}) > 1:
                for name, events in (await self._mend_bucket(part, buckets, bucket)).items():
                    given[name] += events
        return given

    async def _buckets(self, name: str, part: Slice, buckets: int) -> dict[int, _Held]:
        answer = await _ask(self._servers[name], questions.bucket_digests(part, buckets))
        return {bucket: _Held(*rest) for bucket, *rest in answer.rows("bucket", "events", "digest")}

    async def _mend_bucket(self, part: Slice, buckets: int, bucket: int) -> dict[str, int]:
        sql = questions.keys(part, buckets, bucket)
        answers = await asyncio.gather(*(_ask(server, sql) for server in self._servers.values()))
        held = {
            name: {_Key(*row) for row in answer.rows("call_id", "captured_us", "event_key")}
            for name, answer in zip(self._servers, answers, strict=True)
        }
        given: dict[str, int] = {}
        for name, own in held.items():
            lacking = set().union(*held.values()) - own
            for donor, others in held.items():
                given[name] = given.get(name, 0) + await self._copy(part, lacking & others, donor, name)
                lacking -= others
        return given

    async def _copy(self, part: Slice, wanted: set[_Key], donor: str, receiver: str) -> int:
        call_ids = sorted({key.call_id for key in wanted})
        for start in range(0, len(call_ids), CALLS_AT_ONCE):
            sql = questions.messages_of(part, call_ids[start : start + CALLS_AT_ONCE])
            answer = await _ask(self._servers[donor], sql)
            events = [event for event in events_of(answer) if _key_of(event) in wanted]
            if events:
                await self._servers[receiver].insert(EventBatch.of(events), deadline_s=DEADLINE_S)
        if wanted:
            log.warning("store.mended", extra={"server": receiver, "from": donor, "events": len(wanted)})
        return len(wanted)

    async def _refill(self, part: Slice) -> None:
        for name, server in self._servers.items():
            if await self._behind(name, part):
                for sql in questions.refill(part.low):
                    await server.execute(sql, limit_s=DEADLINE_S, settings=READ)
                log.warning("store.refilled", extra={"server": name, "hour": part.low})


async def _ask(server: Server, sql: str) -> Answer:
    return await server.select(sql, limit_s=DEADLINE_S, settings=READ)


def _differing(hour: int, copies: Mapping[str, Mapping[int, _Held]]) -> list[Gap]:
    """Copies that do not have all of an hour; of two that hold as many but not the same, both."""
    held = {name: copy.get(hour, _NOTHING) for name, copy in copies.items()}
    if len(set(held.values())) == 1:
        return []
    most = max(one.events for one in held.values())
    fullest = {one for one in held.values() if one.events == most}
    lacking = {name: one for name, one in held.items() if one.events < most or len(fullest) > 1}
    return [Gap(name, Lack.MESSAGES, hour, max(most - one.events, 1)) for name, one in lacking.items()]


def _keys_of(copies: Mapping[str, Mapping[int, _Held]]) -> list[int]:
    return sorted({key for copy in copies.values() for key in copy})


def _key_of(event: Event) -> _Key:
    return _Key(event.call_id, event.captured_us, event.event_key)

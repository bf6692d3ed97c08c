"""Live events: nothing missed, nothing twice, and an honest reset when that cannot be."""

import asyncio
import json
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.app.calls_for_test import answered_call

from everline.app import events
from everline.app.events import StreamSlots, event_stream
from everline.bus.errors import BusError
from everline.bus.live import Position
from everline.bus.memory import MemoryBus
from everline.bus.transition import Transition
from everline.calls.event import EventBatch


async def at(bus: MemoryBus, stream_id: int) -> str:
    """The id of an event of this bus."""
    return str(Position((await bus.position()).epoch, str(stream_id)))


async def bus_after_a_call(*, kept: int = 100) -> MemoryBus:
    """A bus that told four transitions of one call."""
    bus = MemoryBus(max_transitions=kept)
    await bus.insert(EventBatch.of(answered_call()))
    return bus


async def read(bus: MemoryBus, last_event_id: str, *, blocks: int) -> list[tuple[str, str]]:
    """The next events of a stream as (id, name), what it says first aside."""
    stream = event_stream(bus, last_event_id, heartbeat_s=0.01)
    found = []
    async with asyncio.timeout(5):
        async for piece in stream:
            for block in piece.split("\n\n")[:-1]:
                if block.startswith(("retry:", "event: hello")):
                    continue
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                found.append((fields.get("id", ""), fields["event"]))
            if len(found) >= blocks:
                break
    return found[:blocks]


async def test_a_stream_goes_on_after_the_last_event_seen() -> None:
    """`<epoch>:<stream id>`: what came later comes, in order, once."""
    bus = await bus_after_a_call()

    got = await read(bus, await at(bus, 2), blocks=3)

    assert got == [(await at(bus, 3), "call_answer"), (await at(bus, 4), "call_hangup"), ("", "alive")]


async def test_a_new_stream_begins_now() -> None:
    """Without an id nothing old is told, only what happens from here on."""
    bus = await bus_after_a_call()
    reading = asyncio.create_task(read(bus, "", blocks=50))
    await asyncio.sleep(0.05)
    await bus.insert(EventBatch.of(answered_call("call-2@test")))

    got = [one for one in await reading if one[1] != "alive"]

    assert [name for _, name in got] == ["call_create", "caller_ringing", "call_answer", "call_hangup"]


@pytest.mark.parametrize(
    "position",
    [
        "other:2",
        "{epoch}:99",
        "{epoch}:x",
        "{epoch}:-1",
        "{epoch}",
        "2",
        ":",
        "{epoch}:٢",
        "\0",
        "{epoch}:1\0",
        "{epoch}:" + 18 * "9",
        "{epoch}:" + 99 * "9",
        99 * "x" + ":1",
        "{epoch}: 2",
        "{epoch}:2\n",
        "0:0",
    ],
)
async def test_an_id_that_cannot_be_resumed_gives_a_reset(position: str) -> None:
    """Another node's epoch, a position that never was, no position at all."""
    bus = await bus_after_a_call()

    got = await read(bus, position.format(epoch=(await bus.position()).epoch), blocks=2)

    assert got == [(await at(bus, 4), "reset"), ("", "alive")]


async def test_a_position_no_longer_kept_gives_a_reset() -> None:
    """The stream of transitions is bounded."""
    bus = await bus_after_a_call(kept=2)

    assert [name for _, name in await read(bus, await at(bus, 1), blocks=1)] == ["reset"]
    assert [name for _, name in await read(bus, await at(bus, 2), blocks=1)] == ["call_answer"]


async def test_an_event_carries_its_call() -> None:
    """So that a page needs no second question."""
    bus = await bus_after_a_call()
    stream = event_stream(bus, await at(bus, 0))
    pieces = [await anext(stream) for _ in range(3)]

    data = json.loads(pieces[-1].split("data: ")[1].partition("\n")[0])

    assert (data["event_type"], data["caller_uri"], data["call"]["call_id"]) == (
        "call_create", "sip:+49301@example.org", "call-1@test",
    )  # fmt: skip


async def test_much_news_comes_in_pieces_of_some_events_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, in order, once; and no piece is too long for a reader who is slow."""
    monkeypatch.setattr(events, "AT_ONCE", 3)
    bus = MemoryBus()
    await bus.insert(EventBatch.of(one for number in range(2) for one in answered_call(f"call-{number}@test")))
    stream = event_stream(bus, await at(bus, 0))
    async with asyncio.timeout(5):
        pieces = [await anext(stream) for _ in range(5)]

    assert [re.findall("id: (.*)", piece) for piece in pieces[2:]] == [
        [await at(bus, number) for number in piece] for piece in ((1, 2, 3), (4, 5, 6), (7, 8))
    ]


async def test_a_stream_ends_in_time() -> None:
    """So that old sessions and drained nodes do not hold on to it."""
    bus = await bus_after_a_call()

    async with asyncio.timeout(5):
        pieces = [one async for one in event_stream(bus, "", heartbeat_s=0.01, stream_s=0.05)]

    assert len(pieces) >= 3


async def test_a_stream_names_its_node_first_and_ends_when_that_closes() -> None:
    """With nothing cut in two: the browser goes on after the last event, at another node."""
    bus, closing = await bus_after_a_call(), asyncio.Event()
    stream = event_stream(bus, await at(bus, 3), node="app-1", closing=closing, heartbeat_s=0.01)

    pieces = [await anext(stream) for _ in range(3)]
    closing.set()
    async with asyncio.timeout(5):
        rest = [piece async for piece in stream]

    assert pieces[1] == 'event: hello\ndata: {"node":"app-1"}\n\n'
    assert pieces[2].splitlines()[:2] == [f"id: {await at(bus, 4)}", "event: call_hangup"]
    assert all(piece.endswith("\n\n") for piece in rest)


async def test_streams_are_counted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot is taken while a stream is read, and given back however it ends."""
    monkeypatch.setattr(events, "MAX_STREAMS", 1)
    slots, bus = StreamSlots(), MemoryBus()
    stream = slots.held(event_stream(bus, ""))
    await anext(stream)
    assert slots.is_full

    await stream.aclose()
    assert not slots.is_full


def test_a_stream_too_many_is_told_when_to_come_again(client: TestClient) -> None:
    """Or where: a proxy in front asks another node."""
    assert isinstance(client.app, FastAPI)
    client.app.state.streams.open = events.MAX_STREAMS

    answer = client.get("/api/v1/events")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Too many event streams" in answer.text


class AbsentBus(MemoryBus):
    """A bus that can't be asked for a while."""

    absent = False

    async def transitions_after(self, position: Position) -> list[Transition] | None:
        """As usual, or no answer."""
        if self.absent:
            raise BusError("Redis gives no answer")
        return await super().transitions_after(position)


async def test_a_stream_lives_on_while_the_bus_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser stays connected, is told that what it shows grows old, and why, and misses nothing."""
    monkeypatch.setattr(events, "ASK_AGAIN_S", 0.01)
    bus = AbsentBus()
    bus.absent = True
    stream = event_stream(bus, await at(bus, 0), heartbeat_s=0.01)
    async with asyncio.timeout(5):
        told = [await anext(stream) for _ in range(5)]
    assert set(told[2:]) == {'event: unsure\ndata: {"why":"Redis gives no answer"}\n\n'}

    await bus.insert(EventBatch.of(answered_call()))
    bus.absent = False
    async with asyncio.timeout(5):
        names = re.findall("event: (.*)", await anext(stream))

    assert names == ["call_create", "caller_ringing", "call_answer", "call_hangup"]

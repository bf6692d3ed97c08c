"""What streams tell alike: which topics there are and who may have them, while what they come from is away or late."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from tests.app.calls_for_test import NOW
from tests.app.cluster_for_test import ListSight, client_of, clustered

from everline.access.account import ApiToken
from everline.access.roles import Area, Role
from everline.access.tokens import hash_of, secret_of
from everline.app import notices as told_alike
from everline.app.cluster_view import Glance
from everline.app.events import event_stream, topics_of
from everline.app.notices import MOST_TOLD, Notices, Topic
from everline.app.problems import ProblemError
from everline.bus.errors import BusError
from everline.bus.live import Position
from everline.bus.memory import MemoryBus
from everline.bus.transition import Transition
from everline.cluster.entry import Entry, Kind, make_entry
from everline.errors import EverlineError


def entry(number: int) -> Entry:
    """One of some entries."""
    return make_entry(Kind.NODE_DEAD, int(NOW * 1e6) + number, node=f"n{number}", by="w")


def stream_of(notices: Notices, *topics: Topic, bus: MemoryBus | None = None) -> AsyncIterator[str]:
    """A stream with a quick heartbeat."""
    return event_stream(bus or MemoryBus(), "", topics=topics, notices=notices, heartbeat_s=0.01)


async def named(stream: AsyncIterator[str], name: str) -> dict[str, Any]:  # JSON
    """The data of the next event of a name; it has no id."""
    async with asyncio.timeout(5):
        async for piece in stream:
            if f"event: {name}\n" in piece:
                read: dict[str, Any] = json.loads(piece.split("data: ")[1])
                return read
    raise AssertionError(f"the stream ended without {name}")


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for as often as a stream asks."""
    monkeypatch.setattr(told_alike, "STRIP_EVERY_S", 0.0)
    monkeypatch.setattr(told_alike, "FAILOVERS_EVERY_S", 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("calls", {Topic.CALLS}),
        ("strip,failovers", {Topic.STRIP, Topic.FAILOVERS}),
        (" calls , strip,,calls ", {Topic.CALLS, Topic.STRIP}),
    ],
)
def test_topics_are_a_list(text: str, expected: set[Topic]) -> None:
    """In any order."""
    assert topics_of(text) == expected


@pytest.mark.parametrize("text", ["", ",", "all", "calls,Strip", "\x00", "calls;strip"])
def test_another_topic_is_refused(text: str) -> None:
    """With those that there are."""
    with pytest.raises(ProblemError) as raised:
        topics_of(text)

    assert (raised.value.status, raised.value.next_step) == (
        400, "Give some of calls, strip, failovers, separated by commas.",
    )  # fmt: skip


async def test_a_hundred_streams_cost_one_look() -> None:
    """At the strip, and at the failover log, which nobody reads while nobody listens."""
    sight = CountedSight(log=[entry(1)])
    notices = Notices(clustered(sight))
    assert (sight.looked, sight.asked) == (0, 0)

    streams = [stream_of(notices, Topic.STRIP, Topic.FAILOVERS) for _ in range(100)]
    told = [await named(one, "failovers") for one in streams]

    assert {one["entries"][0]["node"] for one in told} == {"n1"}
    assert sight.asked == 1
    assert sight.looked <= 2, "the strip was looked at for each stream"


class CountedSight(ListSight):
    """Counts who looks at the strip."""

    looked = 0

    def glance(self) -> list[Glance]:
        """As it was given."""
        self.looked += 1
        return super().glance()


@pytest.mark.usefixtures("_eager")
async def test_new_entries_are_told_also_those_that_were_written_late() -> None:
    """Known by their content, not by their time; so many at most as fit."""
    sight = ListSight(log=[entry(5)])
    stream = stream_of(Notices(clustered(sight)), Topic.FAILOVERS)
    first = await named(stream, "failovers")
    sight.log.insert(0, entry(2))
    second = await named(stream, "failovers")
    sight.log += [entry(10 + number) for number in range(3 * MOST_TOLD)]
    third = await named(stream, "failovers")

    assert [one["node"] for one in first["entries"]] == ["n5"]
    assert [one["node"] for one in second["entries"]] == ["n5", "n2"]
    assert first["entries"][0]["entry_id"] == entry(5).entry_id
    assert len(third["entries"]) == MOST_TOLD


class AbsentSight(ListSight):
    """A cluster whose failover log can't be read for a while."""

    absent = True

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """As usual, or no answer."""
        if self.absent:
            raise EverlineError("no ClickHouse server answers")
        return await super().entries(since_us, limit)


@pytest.mark.usefixtures("_eager")
async def test_while_the_log_is_away_a_stream_lives_on() -> None:
    """What is in it is told once it is back."""
    sight = AbsentSight(log=[entry(1)])
    stream = stream_of(Notices(clustered(sight)), Topic.FAILOVERS)
    pieces = [await anext(stream) for _ in range(6)]
    assert "event: alive" in pieces[-1]

    sight.absent = False
    assert (await named(stream, "failovers"))["entries"][0]["node"] == "n1"


class AbsentBus(MemoryBus):
    """A bus that can't be asked."""

    async def position(self) -> Position:
        """Never."""
        raise BusError("Redis gives no answer")

    async def transitions_after(self, position: Position) -> list[Transition] | None:
        """Never."""
        raise BusError(f"Redis gives no answer after {position}")


@pytest.mark.parametrize(
    ("topics", "names"),
    [((Topic.STRIP,), ["hello", "strip", "alive"]), ((Topic.CALLS, Topic.STRIP), ["hello", "strip", "unsure"])],
)
async def test_the_strip_does_not_need_the_bus(topics: Sequence[Topic], names: list[str]) -> None:
    """Who follows no calls is not told that calls are unsure."""
    stream = stream_of(Notices(clustered(ListSight())), *topics, bus=AbsentBus())
    pieces = [await anext(stream) for _ in range(4)]

    assert [piece.partition("event: ")[2].partition("\n")[0] for piece in pieces[1:]] == names


def test_the_failover_log_needs_the_area_of_the_cluster() -> None:
    """A token for calls has the strip, which is on all pages, and not the log."""
    client = client_of(ListSight())
    gate = client.app.state.services.gate  # type: ignore[attr-defined]  # an ASGI app to the client
    token = secret_of(gate.ring, "0".ljust(12, "0"), "seed")
    made = ApiToken("0".ljust(12, "0"), "report", Role.VIEWER, frozenset({Area.CALLS}), hash_of(token))
    gate.book.contents.tokens[made.token_id] = made

    answer = client.get("/api/v1/events?topics=failovers", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, "a token for the area cluster" in answer.json()["detail"]) == (403, True)

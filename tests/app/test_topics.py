"""What a page hears besides calls: the line of its node, what is new in the failover log; looked for once for all."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, TOKEN, answered_call, services_with
from tests.app.site import SiteSight

from everline.app import notices as module
from everline.app.events import event_stream
from everline.app.notices import Notices, Topic
from everline.app.services import PacketLedger, Services
from everline.app.web import create_app
from everline.bus.memory import MemoryBus
from everline.calls.event import EventBatch
from everline.cluster.entry import Entry, Kind, make_entry

STRIP, FAILOVERS, CALLS = Topic.STRIP, Topic.FAILOVERS, Topic.CALLS


class Counted:
    """A node whose ledger can be set, and that knows how often it was asked."""

    def __init__(self) -> None:
        self.ledger = PacketLedger(received=1, stored=1)
        self.asked = 0
        self.services = replace(services_with(), ledger=self.give)

    def give(self) -> PacketLedger:
        """As it is set now."""
        self.asked += 1
        return self.ledger


@dataclass(frozen=True)
class Log(SiteSight):
    """A cluster with a failover log of our own."""

    kept: list[Entry] = field(default_factory=list)

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """Those since a time."""
        return [one for one in self.kept if one.at_us >= since_us][-limit:]


def log_of(*nodes: str) -> Services:
    """A node of a cluster in whose log these nodes died."""
    sight = Log(SiteSight.of_two_regions().topology, [dead(node) for node in nodes])
    return replace(services_with(), cluster=sight)


def dead(node: str) -> Entry:
    """An entry of now."""
    return make_entry(Kind.NODE_DEAD, int(NOW * 1e6), node=node, by="w", reason="no heartbeat")


async def heard(services: Services, *topics: Topic, notices: Notices | None = None) -> AsyncIterator[tuple[str, Any]]:
    """What a stream of these topics says, heartbeats aside: name and data."""
    told = notices or Notices(services)
    async for piece in event_stream(services.bus, "", topics=topics, notices=told, heartbeat_s=0.01, stream_s=5):
        for block in piece.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields.get("event") not in {None, "alive"}:
                yield fields["event"], json.loads(fields["data"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for at every turn."""
    monkeypatch.setattr(module, "STRIP_EVERY_S", 0.0)
    monkeypatch.setattr(module, "FAILOVERS_EVERY_S", 0.0)


async def test_the_strip_is_told_at_once_and_when_it_has_changed() -> None:
    """And not again as long as it says the same."""
    node = Counted()
    stream = heard(node.services, STRIP)
    first = [await anext(stream), await anext(stream)]
    node.ledger = PacketLedger(received=5, stored=5)
    later = await anext(stream)

    assert [name for name, _ in first] == ["hello", "strip"]
    assert (first[1][1]["ledger"]["received"], later[1]["ledger"]["received"]) == (1, 5)
    assert later[1].keys() == {"node", "version", "ledger", "not_ready", "strip"}


async def test_many_streams_ask_a_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages are open."""
    monkeypatch.setattr(module, "STRIP_EVERY_S", 60.0)
    node = Counted()
    shared = Notices(node.services)
    streams = [heard(node.services, STRIP, notices=shared) for _ in range(20)]
    told = [[await anext(stream), await anext(stream)] for stream in streams]

    assert all(one == told[0] for one in told)
    assert node.asked == 1


async def test_calls_and_the_strip_come_in_one_stream() -> None:
    """Only calls have ids, so that a page resumes after the last call it heard of."""
    bus = MemoryBus()
    services = services_with(bus=bus)
    stream = event_stream(bus, "", topics=(CALLS, STRIP), notices=Notices(services), heartbeat_s=0.01, stream_s=5)
    text = ""
    async with asyncio.timeout(5):
        async for piece in stream:
            text += piece
            if "event: alive" in text and "call_create" not in text:
                await bus.insert(EventBatch.of(answered_call("live@test")[:1]))
            if "call_create" in text:
                break

    blocks = [block for block in text.split("\n\n") if "event: " in block]
    assert {"hello", "strip", "alive", "call_create"} == {
        block.partition("event: ")[2].split("\n")[0] for block in blocks
    }
    assert [("id: " in block) for block in blocks] == [("call_create" in block) for block in blocks]


async def test_what_is_new_in_the_failover_log_is_told() -> None:
    """The latest entries at once, and again with what came since."""
    services = log_of("n1")
    stream = heard(services, FAILOVERS)
    async with asyncio.timeout(5):
        await anext(stream)
        name, first = await anext(stream)
        assert isinstance(services.cluster, Log)
        services.cluster.kept.append(dead("n2"))
        _, second = await anext(stream)

    assert name == "failovers"
    assert [one["node"] for one in first["entries"]] == ["n1"]
    assert [one["node"] for one in second["entries"]] == ["n1", "n2"]


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Of a node that is alone."""
    with TestClient(create_app(services_with()), headers={"Authorization": f"Bearer {TOKEN}"}) as opened:
        yield opened


@pytest.mark.parametrize(
    ("topics", "status"),
    [
        ("weather", 400),
        (",", 400),
        ("calls,weather", 400),
        ("x" * 101, 400),
        ("failovers", 404),
        ("strip,failovers", 404),
    ],
)  # fmt: skip
def test_a_topic_that_there_is_not_is_refused(client: TestClient, topics: str, status: int) -> None:
    """With those that there are; a node that is alone has no failover log."""
    answer = client.get("/api/v1/events", params={"topics": topics})

    assert (answer.status_code, bool(answer.json()["next_step"])) == (status, True)


@pytest.mark.parametrize("path", ["/", "/calls", "/account", "/live"])
def test_each_page_says_what_it_wants_to_hear_of(client: TestClient, path: str) -> None:
    """The strip, on every page; the page of live calls follows by a script of its own."""
    assert ('<body data-topics="strip">' in client.get(path).text) == (path != "/live")

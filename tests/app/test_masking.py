"""Numbers are masked for viewers, wherever they would show: pages, API, exports, ladders, streams."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import (
    PASSWORD,
    START_US,
    answered_call,
    busy_call,
    gate_with,
    services_with,
    user_of,
    with_clock,
)
from tests.calls.reports import block, captured, receiver_report

from everline.access.roles import Role
from everline.app.api import as_masked
from everline.app.events import event_stream
from everline.app.revealing import COOKIE, REVEAL_S
from everline.app.web import create_app
from everline.bus.live import Position
from everline.bus.memory import MemoryBus
from everline.calls.event import EventBatch

CALLER, CALLEE = "+49301", "+49302"
NUMBERS = (CALLER, CALLEE)
SHOWING = (
    "/", "/calls", "/calls/call-1@test", "/live", "/api/v1/calls", "/api/v1/calls.csv", "/api/v1/calls.jsonl",
    "/api/v1/calls/call-1@test", "/api/v1/messages/call-1@test", "/api/v1/ladder/call-1@test",
    "/api/v1/ladder/call-1@test?format=svg", "/api/v1/live", "/quality", "/api/v1/quality",
)  # fmt: skip


@pytest.fixture
def viewer() -> Iterator[TestClient]:
    """Signed in as a viewer; an operator, and an admin who reads the log, exist as well."""
    bus = MemoryBus()
    gate = gate_with(*(user_of(role) for role in Role))
    report = captured(receiver_report(1, block(2, lost=9)), START_US + 254_000_000)
    events = [*answered_call(), *busy_call("call/2@test", start_ms=9000), report]
    with TestClient(create_app(services_with(events, gate=gate, bus=bus)), follow_redirects=False) as client:
        assert client.portal
        client.portal.call(bus.insert, EventBatch.of(answered_call("live@test")[:3]))
        sign_in(client, Role.VIEWER)
        yield client


def sign_in(client: TestClient, role: Role) -> None:
    """As the user of a role."""
    client.post("/login", data={"name": role, "password": PASSWORD})


@pytest.mark.parametrize("path", SHOWING)
def test_a_viewer_sees_no_number_and_an_operator_does(viewer: TestClient, path: str) -> None:
    """The beginning and the end are left, to tell calls apart."""
    masked = viewer.get(path)
    sign_in(viewer, Role.OPERATOR)
    whole = viewer.get(path)

    assert (masked.status_code, whole.status_code) == (200, 200)
    assert not any(number in masked.text for number in NUMBERS)
    assert "ladder" in path or any(number in whole.text for number in NUMBERS)


async def test_the_stream_of_events_is_masked_too() -> None:
    """It is made of the same bus."""
    bus = MemoryBus()
    services = as_masked(services_with(bus=bus))
    begin = str(await bus.position())
    await bus.insert(EventBatch.of(answered_call("live@test")[:3]))
    told = [piece async for piece in event_stream(services.bus, begin, stream_s=0.05, heartbeat_s=0.01)]

    assert Position.parse(begin)
    assert "call_create" in "".join(told)
    assert not any(number in "".join(told) for number in NUMBERS)


async def test_streams_side_by_side_share_nothing_that_one_of_them_may_not_see() -> None:
    """Texts of events are made once for all who see the same."""
    bus = MemoryBus()
    begin = str(await bus.position())
    await bus.insert(EventBatch.of(answered_call("live@test")[:1]))
    services = services_with(bus=bus)
    told = []
    for seen in (services, as_masked(services), services, as_masked(services)):
        stream = event_stream(seen.bus, begin)
        told.append([await anext(stream) for _ in range(3)][-1])

    assert [any(number in text for number in NUMBERS) for text in told] == [True, False, True, False]


def test_numbers_are_shown_for_a_while_to_who_says_why(viewer: TestClient) -> None:
    """In the one call, after it was written down; other calls and other sessions see nothing of it."""
    assert viewer.post("/reveal/call-1@test", data={"reason": ""}).status_code == 400
    answer = viewer.post("/reveal/call-1@test", data={"reason": "complaint 4711"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls/call-1%40test")

    assert CALLER in viewer.get("/calls/call-1@test").text
    assert CALLER not in viewer.get("/calls/call%2F2@test").text
    assert CALLER not in viewer.get("/calls").text
    kept = viewer.cookies[COOKIE]
    sign_in(viewer, Role.VIEWER)
    viewer.cookies.set(COOKIE, kept)
    assert CALLER not in viewer.get("/calls/call-1@test").text

    sign_in(viewer, Role.ADMIN)
    [entry] = viewer.get("/api/v1/audit").json()["entries"]
    assert (entry["who"], entry["act"], entry["target"], entry["after"]) == (
        "viewer", "numbers.revealed", "call-1@test", "complaint 4711",
    )  # fmt: skip


def test_a_quarter_of_an_hour_later_they_are_masked_again(viewer: TestClient) -> None:
    """The page says by its clock, not by the browser's."""
    viewer.post("/reveal/call-1@test", data={"reason": "complaint 4711"})
    services = viewer.app.state.services  # type: ignore[attr-defined]  # an ASGI app to the client
    later = create_app(with_clock(services, services.clock() + REVEAL_S + 1))
    with TestClient(later, cookies=viewer.cookies) as client:
        assert CALLER not in client.get("/calls/call-1@test").text


def test_the_api_shows_them_for_once(viewer: TestClient) -> None:
    """And a call that is not known is not written down."""
    shown = viewer.post("/api/v1/reveal/call-1@test", json={"reason": "complaint 4711"})
    unknown = viewer.post("/api/v1/reveal/call-9@test", json={"reason": "complaint 4711"})

    assert (shown.json()["caller"], unknown.status_code) == (CALLER, 404)
    sign_in(viewer, Role.ADMIN)
    assert len(viewer.get("/api/v1/audit").json()["entries"]) == 1


def test_masked_messages_stay_whole(viewer: TestClient) -> None:
    """As long as they were, so that their headers still tell the truth."""
    masked = viewer.get("/api/v1/messages/call-1@test").json()
    sign_in(viewer, Role.OPERATOR)
    whole = viewer.get("/api/v1/messages/call-1@test").json()

    assert [len(one["payload"]) for one in masked] == [len(one["payload"]) for one in whole]
    assert masked[0]["payload"].splitlines()[0] == "INVITE sip:+****2@example.org SIP/2.0"
    assert json.dumps(masked) != json.dumps(whole)

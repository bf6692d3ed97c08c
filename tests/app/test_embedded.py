"""The application on the store that ships: what the list in the other tests stands for."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import START_US, TOKEN, answered_call, busy_call, message, services_with
from tests.calls.reports import block, captured, receiver_report, returned, sender_report

from everline.app.query import encode_page_key
from everline.app.web import create_app
from everline.calls.event import EventBatch
from everline.store.embedded import EmbeddedStore
from everline.store.filters import PageKey

ODD = "a/b?c#d%20&e=é'\"\\<>@test"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application on a data directory of its own, closed before another test opens one."""
    store = EmbeddedStore.open(tmp_path_factory.mktemp("app") / "data")
    calls = [one for number in range(7) for one in busy_call(f"busy-{number}@test", start_ms=number)]
    events = [
        *answered_call(),
        *answered_call(ODD, start_ms=60_000),
        *calls,
        message("REGISTER", 0, call_id="reg@test"),
        captured(sender_report(1, packets=100), START_US, call_id="media@test"),
        returned(receiver_report(2, block(1, lost=7)), START_US + 1)._replace(call_id="media@test"),
    ]
    asyncio.run(store.insert(EventBatch.of(events)))
    services = replace(services_with(), store=store)
    yield TestClient(create_app(services), headers={"Authorization": f"Bearer {TOKEN}"})
    asyncio.run(store.close())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("outcome=answered", {"call-1@test", ODD}),
        ("status=486&limit=500", {f"busy-{number}@test" for number in range(7)}),
        ("user_agent=desk", {"call-1@test", ODD}),
        ("number=%2B4930*&outcome=answered", {"call-1@test", ODD}),
        ("call_id=reg@test", set()),
        (f"since={START_US / 1e6 + 30}", {ODD}),
    ],
)
def test_searches(shipped: TestClient, query: str, expected: set[str]) -> None:
    """The filters mean there what they mean here."""
    calls = shipped.get(f"/api/v1/calls?{query}").json()["calls"]

    assert {one["call_id"] for one in calls} == expected


def test_pages_follow_each_other(shipped: TestClient) -> None:
    """The key of a page leads to the next, every call once."""
    seen, after = [], ""
    while after is not None:
        page = shipped.get("/api/v1/calls", params={"limit": 2, "after": after}).json()
        seen += [one["call_id"] for one in page["calls"]]
        after = page["next"]

    assert (len(seen), len(set(seen))) == (9, 9)


@pytest.mark.parametrize("call_id", ["call-1@test", ODD])
def test_a_call_by_its_call_id(shipped: TestClient, call_id: str) -> None:
    """Record, ladder, messages and page, whatever is in the Call-ID."""
    # The test client decodes a path twice, a server once; so what is to be a % must be written twice here.
    path = quote(call_id.replace("%", "%25"), safe="")
    call = shipped.get(f"/api/v1/calls/{path}").json()

    assert (call["call_id"], call["outcome"], call["talk_s"], len(call["ladder"]["rows"])) == (
        call_id,
        "answered",
        250.0,
        7,
    )
    assert len(shipped.get(f"/api/v1/messages/{path}").json()) == 7
    assert "<h1>Answered after 3.2 s" in shipped.get(f"/calls/{path}").text


def test_a_registration_is_no_call(shipped: TestClient) -> None:
    """Its messages are there all the same."""
    found = shipped.get("/api/v1/calls/reg@test").json()

    assert (found["state"], found["messages"]) == (None, 1)


def test_figures(shipped: TestClient) -> None:
    """Counted by the engine."""
    kpis = shipped.get("/api/v1/kpis").json()
    buckets = shipped.get("/api/v1/series").json()["buckets"]

    assert (kpis["attempts"], kpis["answered"]) == (9, 2)
    assert sum(one["kpis"]["attempts"] for one in buckets) == 9
    assert "9 calls began" in shipped.get("/").text


def test_media_quality(shipped: TestClient) -> None:
    """Of whatever RTCP is there, also where no INVITE was captured."""
    [call] = shipped.get("/api/v1/quality").json()["calls"]

    assert (call["call_id"], call["caller"], call["loss_ratio"], call["jitter_ms"]) == ("media@test", None, 0.07, None)
    assert (
        "1 of 1 call with reports lost more than 5 %" in shipped.get("/quality", headers={"Accept": "text/html"}).text
    )
    assert shipped.get("/api/v1/calls/media@test").json()["quality"]["loss_ratio"] == 0.07


def test_an_export_holds_every_call(shipped: TestClient) -> None:
    """A header, and a line for each."""
    assert len(shipped.get("/api/v1/calls.csv").text.splitlines()) == 10


@pytest.mark.parametrize("call_id", ["'", "\\", "a\0b", "\u202e", "'; DROP TABLE calls --", "\U0001f4de", 500 * "%"])
def test_a_page_key_of_any_call_id_is_a_place(shipped: TestClient, call_id: str) -> None:
    """Nothing in it is read as anything but text: the calls before that moment follow."""
    after = encode_page_key(PageKey(START_US + 30_000_000, call_id))

    found = shipped.get("/api/v1/calls", params={"after": after}).json()["calls"]

    assert {one["call_id"] for one in found} == {"call-1@test", *(f"busy-{number}@test" for number in range(7))}

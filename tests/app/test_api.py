"""The API by its shapes: what comes back for what is asked."""

import csv
import io
import json
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, START_US, TOKEN, ListStore, answered_call, busy_call, services_with
from tests.app.conftest import REGISTER

from everline.app.call_json import CALL_KEYS
from everline.app.web import create_app
from everline.bus.memory import MemoryBus
from everline.calls.event import Event, EventBatch

START_AT = START_US / 1e6


def ids(answer: Any) -> list[str]:  # a JSON answer
    """The Call-IDs of a page."""
    return [one["call_id"] for one in answer["calls"]]


def test_a_call_has_all_its_keys(client: TestClient) -> None:
    """One answered call, key by key."""
    call = client.get("/api/v1/calls/call-1@test").json()

    ladder = call.pop("ladder")
    assert call == {
        "call_id": "call-1@test", "state": "ended", "outcome": "answered", "status": 200,
        "caller": "+49301", "callee": "+49302",
        "caller_uri": "sip:+49301@example.org", "callee_uri": "sip:+49302@example.org",
        "invite_at": START_AT, "ringing_at": START_AT + 0.2, "answered_at": START_AT + 3.2,
        "ended_at": START_AT + 253.2,
        "talk_s": 250.0, "pdd_s": 0.2, "srd_s": 0.2, "released_by": "caller", "messages": 7,
        "first_at": START_AT, "last_at": START_AT + 253.23, "cause": 0,
        "src": "192.0.2.1:5060", "dst": "198.51.100.7:5062", "caller_agent": "Phone 1.0", "callee_agent": "Desk 2.0",
        "codecs": ["PCMU", "PCMA"], "agents": ["sbc-1"], "nodes": ["ingest-1"], "quality": None,
    }  # fmt: skip
    assert [row["label"] for row in ladder["rows"]][:3] == ["INVITE", "100 Trying", "180 Ringing"]


def test_a_call_id_without_an_invite_is_no_call(client: TestClient) -> None:
    """A registration has messages, and nothing else that a call has; its Call-ID may look like a path."""
    found = client.get(f"/api/v1/calls/{quote(REGISTER, safe='')}").json()

    assert (found["call_id"], found["state"], found["outcome"], found["messages"]) == (REGISTER, None, None, 1)
    assert set(CALL_KEYS) | {"ladder", "nodes", "quality"} == set(found)


@pytest.mark.parametrize("path", ["calls", "messages", "pcap", "ladder"])
def test_an_unknown_call_id_is_a_problem_with_a_next_step(client: TestClient, path: str) -> None:
    """404 as problem+json (RFC 9457)."""
    answer = client.get(f"/api/v1/{path}/nobody@nowhere")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert set(answer.json()) == {"type", "title", "status", "detail", "next_step", "request_id"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["call/2@test", "call-1@test"]),
        ("outcome=busy", ["call/2@test"]),
        ("status=486", ["call/2@test"]),
        ("state=ended&outcome=answered", ["call-1@test"]),
        ("state=ringing", []),
        ("ip=192.0.2.1", ["call/2@test", "call-1@test"]),
        ("call_id=call/2@test", ["call/2@test"]),
        ("number=%2B49302", ["call/2@test", "call-1@test"]),
        ("number=&caller=&status=", ["call/2@test", "call-1@test"]),
        (f"since={START_AT + 5}", ["call/2@test"]),
        ("until=2026-09-21T14:03:25Z", ["call-1@test"]),
        ("until=2026-09-21T16:03:25%2B02:00", ["call-1@test"]),
    ],
)
def test_filters(client: TestClient, query: str, expected: list[str]) -> None:
    """Each filter narrows; an empty one does not."""
    assert ids(client.get(f"/api/v1/calls?{query}").json()) == expected


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pages_show_every_call_once(size: int) -> None:
    """Following `next` gives all calls, newest first, none twice."""
    events = [one for number in range(7) for one in busy_call(f"{number}@test", start_ms=number)]
    client = signed_in(events)
    seen, after = [], ""
    while True:
        page = client.get("/api/v1/calls", params={"limit": size, "after": after}).json()
        seen += ids(page)
        after = page["next"]
        if after is None:
            break

    assert seen == [f"{number}@test" for number in range(6, -1, -1)]


def test_messages_are_whole(client: TestClient) -> None:
    """Every field of the event, the payload byte for byte."""
    first = client.get("/api/v1/messages/call-1@test").json()[0]

    assert set(Event._fields) | {"captured_at", "payload_base64"} == set(first)
    assert first["payload"].startswith("INVITE sip:")
    assert isinstance(first["event_key"], str)


def test_a_capture_file(client: TestClient) -> None:
    """Classic pcap: magic, and one record a message at least as long as its payload."""
    answer = client.get("/api/v1/pcap/call-1@test")

    assert answer.content[:4] in {b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1"}
    assert answer.content.count(b"Call-ID: call-1@test") == 7
    assert answer.headers["content-disposition"].startswith('attachment; filename="call-1_test.pcap"')


def test_the_ladder_as_text_and_drawing(client: TestClient) -> None:
    """To take along into a ticket."""
    text = client.get("/api/v1/ladder/call-1@test").text
    drawing = client.get("/api/v1/ladder/call-1@test?format=svg")

    assert "3200.0 ms  2 → 1     200 OK  [SDP]" in text
    assert (drawing.headers["content-type"], drawing.text.count("<svg")) == ("image/svg+xml", 3)


def test_exports_hold_exactly_what_is_filtered(client: TestClient) -> None:
    """CSV and JSON lines, over more than one page of the store."""
    rows = list(csv.DictReader(io.StringIO(client.get("/api/v1/calls.csv?outcome=busy").text)))
    lines = client.get("/api/v1/calls.jsonl").text.splitlines()

    assert [(row["call_id"], row["status"], row["caller"]) for row in rows] == [("call/2@test", "486", "+49301")]
    assert [json.loads(line)["call_id"] for line in lines] == ["call/2@test", "call-1@test"]


def test_exports_run_over_many_pages() -> None:
    """More calls than one page of the store."""
    client = signed_in([one for number in range(1200) for one in busy_call(f"{number}@test", start_ms=number)])

    assert len(client.get("/api/v1/calls.csv").text.splitlines()) == 1201


@pytest.mark.parametrize(
    ("caller", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+49301", "+49301"),
        ("+1+cmd", "'+1+cmd"),
    ],
)
def test_a_spreadsheet_runs_nothing(caller: str, cell: str) -> None:
    """A caller may call himself what he likes."""
    client = signed_in(busy_call("1@test", caller=caller))

    [row] = csv.DictReader(io.StringIO(client.get("/api/v1/calls.csv").text))

    assert row["caller"] == cell


async def test_live_calls_and_where_their_events_go_on() -> None:
    """What is in progress, and the position to follow from."""
    bus = MemoryBus()
    await bus.insert(EventBatch.of(answered_call()[:3]))

    answer = signed_in(bus=bus).get("/api/v1/live").json()

    assert [(one["call_id"], one["state"]) for one in answer["calls"]] == [("call-1@test", "ringing")]
    assert answer["position"] == str(await bus.position())


def test_figures_and_their_course(client: TestClient) -> None:
    """The range is the last hour unless another is asked for."""
    kpis = client.get("/api/v1/kpis").json()
    series = client.get("/api/v1/series?step=900").json()

    assert (kpis["attempts"], kpis["answered"], kpis["asr_ratio"], kpis["until"]) == (2, 1, 0.5, NOW)
    assert (series["step_s"], sum(one["kpis"]["attempts"] for one in series["buckets"])) == (900, 2)


def test_the_node_tells_its_ledger(client: TestClient) -> None:
    """Version, and what became of every message."""
    answer = client.get("/api/v1/node").json()

    assert (answer["node"], answer["not_ready"]) == ("node-1", [])
    assert answer["ledger"] == {
        "received": 12, "stored": 10, "rejected": 1, "dropped": 0, "pending": 1,
        "kernel_drops": 0, "lost": 0, "missing": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("faults", "status"), [([], 200), (["the store refuses"], 503)])
def test_readiness(faults: list[str], status: int) -> None:
    """Not ready says why; alive is alive all the same."""
    client = TestClient(create_app(services_with(faults=faults)))

    assert (client.get("/readyz").status_code, client.get("/livez").status_code) == (status, 200)
    assert "".join(faults) in client.get("/readyz").text


def test_the_api_is_described(client: TestClient) -> None:
    """Every path of the API, and no page."""
    paths = client.get("/api/v1/openapi.json").json()["paths"]

    assert {"/api/v1/calls", "/api/v1/calls/{call_id}", "/api/v1/events", "/api/v1/quality"} <= set(paths)
    assert all(path.startswith("/api/v1/") for path in paths)


def signed_in(events: list[Event] | None = None, *, bus: MemoryBus | None = None) -> TestClient:
    """A client with the token."""
    return TestClient(create_app(services_with(events or [], bus=bus)), headers={"Authorization": f"Bearer {TOKEN}"})


def test_calls_say_whether_a_part_of_the_store_is_missing() -> None:
    """A program must be able to tell, as a reader can."""
    services = services_with(answered_call())
    assert isinstance(services.store, ListStore)
    client = TestClient(create_app(services), headers={"Authorization": f"Bearer {TOKEN}"})
    whole = client.get("/api/v1/calls").json()["partial"]
    services.store.partial_since = 1_790_000_000.0

    assert (whole, client.get("/api/v1/calls").json()["partial"]) == (False, True)

"""What nobody should send: every answer is a problem that says what to do, none is a crash."""

import asyncio
import re
from itertools import product
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import ALICE, BOB, NOW, START_US, TOKEN, answered_call, message, services_with

from everline.app.query import decode_page_key, encode_page_key
from everline.app.web import create_app
from everline.bus.memory import MemoryBus
from everline.calls.event import Event, EventBatch
from everline.store.filters import PageKey


@pytest.mark.parametrize("path", ["/api/v1/calls", "/api/v1/calls.csv", "/api/v1/calls.jsonl", "/calls"])
@pytest.mark.parametrize(
    "query",
    [
        "status=abc", "status=99", "status=700", "status=%D9%A4%D9%A8%D9%A6", "status=486.0", "status=-1",
        "since=2&until=1", "since=yesterday", "since=nan", "since=inf", "since=-5", "since=1e300", "until=9" + 30 * "9",
        "since=0001-01-01", "until=2026-13-01", "ip=localhost", "ip=1.2.3.4:5060", "ip=%00",
        "status=999", "status=0486", "since=-0.1", "until=1e18", "since=%00", "last=-1h",
        "last=2h", "last=1h&since=2", "state=asleep", "outcome=Busy", "unknown=1", "number=" + 600 * "1",
    ],
)  # fmt: skip
def test_a_bad_filter_is_named(client: TestClient, path: str, query: str) -> None:
    """400 that names the parameter."""
    answer = client.get(f"{path}?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    named = ("status", "last", "since", "until", "ip", "state", "outcome", "unknown", "number")
    assert any(name in answer.json()["detail"] for name in named)


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=1e9", "limit=NaN", "limit=%D9%A3", "limit=99999999999999999999",
        "limit=0", "limit=501", "limit=x", "after=!!", "after=AAAA", "after=%F0%9F%98%80", "after=MTI6", "after=eA",
        "after=" + quote("1790000000000000:call-1@test"), "after=OTk5OTk5OTk5OTk5OTk5OTk5OTp4", "after=" + 5000 * "A",
    ],
)  # fmt: skip
def test_a_bad_page_is_refused(client: TestClient, query: str) -> None:
    """A key that we did not give, or a page of a size that we do not give."""
    assert client.get(f"/api/v1/calls?{query}").status_code == 400


@pytest.mark.parametrize("key", [PageKey(0, "x"), PageKey(1_790_000_000_000_000, "a/b?c&d=é:1"), PageKey(1, 512 * "x")])
def test_a_page_key_survives_the_journey(key: PageKey) -> None:
    """Whatever is in a Call-ID."""
    assert decode_page_key(encode_page_key(key) or "") == key


def test_a_page_key_that_was_tampered_with_is_refused_or_is_another_place(client: TestClient) -> None:
    """Each bit of it turned: never a crash, and never a call that the filter leaves out."""
    key = client.get("/api/v1/calls?limit=1").json()["next"]
    told = set()
    for at, bit in product(range(len(key)), range(7)):
        turned = key[:at] + chr(ord(key[at]) ^ (1 << bit)) + key[at + 1 :]
        answer = client.get("/api/v1/calls", params={"after": turned, "outcome": "answered"})
        told.add(answer.status_code)
        assert {one["outcome"] for one in answer.json().get("calls", [])} <= {"answered"}

    assert told == {200, 400}


def test_the_page_key_of_another_filter_is_a_place_in_time(client: TestClient) -> None:
    """Older calls follow, of the filter that is asked for now."""
    key = client.get("/api/v1/calls?limit=1").json()["next"]

    found = client.get(f"/api/v1/calls?after={key}&outcome=answered").json()["calls"]

    assert [one["call_id"] for one in found] == ["call-1@test"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half"),
        pytest.param(b"\xff\xfe\x00", id="no-utf-8"),
        pytest.param(b"NaN", id="not-a-number"),
        pytest.param(50_000 * b"[", id="deep"),
        pytest.param(b'{"\\ud800": 1}', id="half-a-pair-as-a-key"),
        pytest.param(b'{"name": "\\ud800", "role": "viewer", "password": "correct horse battery"}', id="half-a-pair"),
        pytest.param(b'{"name": "a\\u0000", "role": "viewer", "password": "correct horse battery"}', id="nul"),
        pytest.param(b'{"name": "' + 60_000 * b"x" + b'"}', id="long"),
    ],
)
def test_a_body_that_is_none_of_ours_is_refused(client: TestClient, body: bytes) -> None:
    """400 with what is wrong."""
    answer = client.post("/api/v1/users", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, bool(answer.json()["detail"])) == (400, True)


@pytest.mark.parametrize("path", ["/login", "/preferences", "/api/v1/users", "/nowhere"])
def test_a_body_can_be_too_long(client: TestClient, path: str) -> None:
    """413 before anything is done with it, said by its length or found while it comes."""
    told = client.post(path, content=70_000 * b"x")
    found = client.post(path, content=(7_000 * b"x" for _ in range(10)))

    assert (told.status_code, found.status_code) == (413, 413)
    assert told.json()["next_step"] == "Send less."


@pytest.mark.parametrize("path", ["/api/v1/kpis", "/api/v1/series", "/"])
@pytest.mark.parametrize(
    "query", ["since=x", "since=9&until=9", "last=1y", "last=1h&until=9", "step=0", "step=x", "unknown=1"]
)
def test_a_bad_range_is_refused(client: TestClient, path: str, query: str) -> None:
    """Before the store is asked."""
    assert client.get(f"{path}?{query}").status_code == 400


def test_a_series_of_millions_of_steps_is_refused(client: TestClient) -> None:
    """A second at a time over years."""
    assert client.get("/api/v1/series?since=0&step=1").status_code == 400


@pytest.mark.parametrize("path", ["/api/v1/calls", "/calls", "/login", "/livez"])
def test_a_query_can_be_too_long(client: TestClient, path: str) -> None:
    """414 before anything is parsed."""
    assert client.get(f"{path}?number={'1' * 60_000}").status_code == 414


@pytest.mark.parametrize(
    "call_id", ["..%2F..%2Fetc%2Fpasswd", "%00", "%F0%9F%98%80", "%FF%FE", "a" * 4000, "'; DROP TABLE calls --"]
)
@pytest.mark.parametrize("path", ["/api/v1/calls", "/api/v1/messages", "/api/v1/pcap", "/calls"])
def test_an_odd_call_id_is_merely_unknown(client: TestClient, path: str, call_id: str) -> None:
    """404, whatever it is."""
    assert client.get(f"{path}/{call_id}").status_code == 404


@pytest.mark.parametrize(
    "search", ["", "486", "+49301", "2001:db8::1", "[::1]", "call-1@test", "<script>", "%", "\x00", "sip:1@x"]
)
def test_the_search_box_takes_anything(client: TestClient, search: str) -> None:
    """It leads to a page that exists."""
    answer = client.get("/search", params={"q": search})

    assert (answer.status_code, answer.history[0].status_code) == (200, 303)


SCRIPT = "<script>alert(1)</script>"
QUOTE = "\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("evil", [SCRIPT, QUOTE, "{{ 7 * 7 }}", "</pre></svg>" + SCRIPT])
def test_what_a_caller_sends_shows_as_text(evil: str) -> None:
    """In the Call-ID, the user agent, the number and the body: nothing becomes an element."""
    call = [
        message("INVITE", 0, call_id=evil, user_agent=evil, caller=evil, callee=evil, agent=evil, sdp=f"v=0\r\n{evil}"),
        message(180, 10, call_id=evil, ends=(BOB, ALICE), to_tag="b", caller=evil, callee=evil),
    ]  # fmt: skip
    client = TestClient(create_app(services_with(call)), headers={"Authorization": f"Bearer {TOKEN}"})

    for path in (f"/calls/{quote(evil, safe='')}", "/calls", f"/calls?number={quote(evil)}", f"/nowhere/{quote(evil)}"):
        text = client.get(path, headers={"Accept": "text/html"}).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "49" not in text or evil != "{{ 7 * 7 }}" or "{{ 7 * 7 }}" in text
    drawing = client.get(f"/api/v1/ladder/{quote(evil, safe='')}?format=svg").text
    assert "<script" not in drawing


def long_call(messages: int) -> list[Event]:
    """A call that goes on and on, each time from another address."""
    each = [message("INFO", at, cseq=at + 2, to_tag="b", ends=((f"10.{at >> 8}.{at & 255}.1", 5060), BOB))
            for at in range(messages - 1)]  # fmt: skip
    return [message("INVITE"), *each]


def test_a_call_of_thousands_of_messages_is_bounded_on_its_page_and_whole_as_a_file() -> None:
    """300 rows and the columns that they need; all are 5,000 at most; JSON, text and capture have every one."""
    client = TestClient(create_app(services_with(long_call(5_200))), headers={"Authorization": f"Bearer {TOKEN}"})
    first, most = (client.get(f"/calls/call-1@test{query}", headers={"Accept": "text/html"}).text
                   for query in ("", "?rows=all"))  # fmt: skip

    assert (first.count('class="message"'), most.count('class="message"')) == (300, 5_000)
    assert first.count('class="lifeline"') == 301
    assert 'The first 300 of 5,200 messages. <a href="?rows=all">Show the first 5000</a>' in first
    assert 'The first 5000 of 5,200 messages. <a href="/api/v1/calls/call-1%40test">JSON</a> and PCAP have all' in most
    assert len(client.get("/api/v1/calls/call-1@test").json()["ladder"]["rows"]) == 5_200
    assert len(client.get("/api/v1/messages/call-1@test").json()) == 5_200


@pytest.mark.parametrize("ahead_s", [-86_400, -1, 1, 86_400 * 400], ids=["yesterday", "before", "soon", "next-year"])
def test_a_call_of_another_time_has_no_negative_duration(ahead_s: int) -> None:
    """A capture agent whose clock is wrong: pages show it, nothing lasts less than nothing."""
    bus = MemoryBus()
    start_ms = (NOW + ahead_s) * 1000 - START_US / 1000
    asyncio.run(bus.insert(EventBatch.of(answered_call(start_ms=start_ms)[:4])))
    services = services_with(answered_call(start_ms=start_ms), bus=bus)
    client = TestClient(create_app(services), headers={"Authorization": f"Bearer {TOKEN}"})

    for path in ("/live", "/calls", "/calls/call-1@test", "/"):
        page = client.get(path, headers={"Accept": "text/html"})
        assert (page.status_code, re.findall(r">-\d[\d.]* (?:m?s|m|h)\b", page.text)) == (200, [])
    assert client.get("/api/v1/live").json()["now"] == NOW


@pytest.mark.parametrize("name", ["Last-Event-ID", "since"])
@pytest.mark.parametrize(
    "value", [201 * "9", 5_000 * "x", 5_000 * "\u20ac"], ids=["a-little-long", "long", "long-and-not-ascii"]
)
def test_an_id_of_an_event_can_be_too_long(client: TestClient, name: str, value: str) -> None:
    """Refused, in a header as in the query; what only makes no sense is told `reset`."""
    if name == "since":
        answer = client.get("/api/v1/events", params={"since": value})
    else:
        answer = client.get("/api/v1/events", headers={name.encode(): value.encode()})

    assert answer.status_code in {400, 414}


def test_an_unexpected_error_says_nothing_but_what_to_do() -> None:
    """500 without a trace, with the headers of every other answer."""

    def broken() -> str:
        raise RuntimeError("secret")

    services = services_with(answered_call(), metrics=broken)
    answer = TestClient(create_app(services), raise_server_exceptions=False).get("/metrics")

    assert (answer.status_code, "secret" in answer.text, "next_step" in answer.json()) == (500, False, True)
    assert "content-security-policy" in answer.headers

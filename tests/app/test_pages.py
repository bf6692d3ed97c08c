"""The pages: what a reader finds on them without any script."""

import re

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import ALICE, BOB, TOKEN, ListStore, answered_call, busy_call, message, services_with

from everline.app.web import create_app
from everline.app.words import duration, headline
from everline.bus.memory import MemoryBus
from everline.calls.event import Event, EventBatch
from everline.calls.facts import facts_of
from everline.calls.record import record_of

HTML = {"Accept": "text/html", "Authorization": f"Bearer {TOKEN}"}
BACK = (BOB, ALICE)


def page(path: str, events: list[Event] | None = None, *, bus: MemoryBus | None = None) -> str:
    """A page as text."""
    return TestClient(create_app(services_with(events or [], bus=bus)), headers=HTML).get(path).text


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        (answered_call(), "Answered after 3.2 s, talked 4 m 10 s, released by the caller."),
        (answered_call()[:4], "Answered after 3.2 s, talking since 2026-09-21 14:03:23 UTC."),
        (answered_call()[:3], "Ringing since 2026-09-21 14:03:20 UTC."),
        (answered_call()[:2], "Trying since 2026-09-21 14:03:20 UTC."),
        (busy_call("1@test"), "Busy after 900 ms (486 Busy Here)."),
        (
            [*answered_call()[:3], message("CANCEL", 9000), message(487, 9100, ends=BACK, to_tag="b")],
            "Cancelled by the caller after 9.1 s, it had rung (487 Request Terminated).",
        ),
        ([message("INVITE"), message(503, 50, ends=BACK)], "Failed after 50 ms (503 Service Unavailable)."),
        ([message("INVITE"), message(302, 50, ends=BACK)], "Redirected after 50 ms (302 Moved Temporarily)."),
    ],
)
def test_the_headline_says_what_happened(events: list[Event], sentence: str) -> None:
    """In words, with units."""
    assert headline(record_of("x", facts_of(events))) == sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.0, "0 ms"), (0.0854, "85 ms"), (3.2, "3.2 s"), (250.0, "4 m 10 s"), (7500.0, "2 h 05 m")],
)
def test_duration(seconds: float | None, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


def test_a_call_page_has_all_its_parts(client: TestClient) -> None:
    """Headline, facts, ladder drawn and as a table, every message, and what to take along."""
    text = client.get("/calls/call-1@test", headers=HTML).text

    assert "<h1>Answered after 3.2 s, talked 4 m 10 s, released by the caller.</h1>" in text
    assert text.count('class="message"') == text.count("data-row=") == 7
    assert '<span class="name">Call-ID:</span> call-1@test' in text
    assert "<summary>SDP</summary>" in text
    for link in (
        "/api/v1/pcap/call-1%40test",
        "/api/v1/ladder/call-1%40test?format=svg",
        "/api/v1/calls/call-1%40test",
    ):
        assert f'href="{link}"' in text


def test_a_long_call_is_shown_in_part_and_says_so() -> None:
    """Thousands of messages do not fill the page unasked."""
    events = [message("INFO", at, cseq=at + 2, to_tag="b") for at in range(400)]

    assert "The first 300 of 401 messages" in page("/calls/call-1@test", [message("INVITE"), *events])
    assert page("/calls/call-1@test?rows=all", [message("INVITE"), *events]).count('class="message"') == 401


def test_a_registration_has_a_page_too(client: TestClient) -> None:
    """It says that it is no call."""
    text = client.get("/calls/register%2F1%3Fx%3D2%40test", headers=HTML).text

    assert "These messages belong to no call: no INVITE was seen." in text


def test_the_list_shows_filters_that_can_be_taken_away(client: TestClient) -> None:
    """The address is the state: chips, form and export all follow from it."""
    text = client.get("/calls?outcome=busy&number=%2B49302", headers=HTML).text

    assert '<a href="/calls?number=%2B49302" aria-label="Remove outcome"' in text
    assert 'href="/api/v1/calls.csv?number=%2B49302&amp;outcome=busy"' in text
    assert '<option value="busy" selected>' in text
    assert "486 Busy Here" in text


def test_the_list_goes_on() -> None:
    """The link to older calls keeps the filters."""
    events = [one for number in range(60) for one in busy_call(f"{number}@test", start_ms=number)]

    first = page("/calls?status=486", events)
    link = re.search(r'rel="next" href="([^"]+)"', first)

    assert link is not None
    assert page(link[1].replace("&amp;", "&"), events).count("486 Busy Here") == 10


def test_no_call_is_an_answer_with_a_way_on(client: TestClient) -> None:
    """Empty states say what to do."""
    assert "Take a filter away" in client.get("/calls?caller=nobody", headers=HTML).text
    assert "point a HEP agent at this node" in page("/calls")
    assert "No call began in this range." in page("/")
    assert "No call is in progress." in page("/live")


async def test_the_live_page_knows_where_to_go_on() -> None:
    """A plain table without scripts, and the stream position for those with."""
    bus = MemoryBus()
    await bus.insert(EventBatch.of(answered_call()[:3]))

    text = page("/live", bus=bus)

    assert f'data-position="{await bus.position()}"' in text
    assert text.count("<tr data-call=") == 1


def test_the_overview_shows_figures_and_the_ledger(client: TestClient) -> None:
    """Figures with their definitions, and the equation of packets."""
    text = client.get("/", headers=HTML).text

    assert "2 calls began, 50.0 % were answered." in text
    assert all(
        f"<h2>{name}</h2>" in text for name in ("Concurrent", "Attempts", "ASR", "NER", "ACD", "PDD p50", "PDD p95")
    )
    assert "Balanced: every message received is accounted for." in text


@pytest.mark.parametrize("path", ["/", "/live", "/calls", "/calls/call-1@test", "/quality", "/login"])
def test_no_page_holds_a_script_or_style_of_its_own(client: TestClient, path: str) -> None:
    """The policy forbids them, so they would only break."""
    text = client.get(path, headers=HTML).text

    assert not re.search(r"<script(?![^>]* src=\"/static/)|<style|\sstyle=|\son[a-z]+=|https?://", text)


@pytest.mark.parametrize("path", ["/calls", "/quality"])
def test_every_field_has_a_label(client: TestClient, path: str) -> None:
    """For those who do not see the field."""
    text = client.get(path, headers=HTML).text
    fields = set(re.findall(r'<(?:input|select) id="([^"]+)"', text))

    assert fields
    assert fields == set(re.findall(r'<label (?:class="hidden" )?for="([^"]+)"', text))


@pytest.mark.parametrize(("name", "value"), [("theme", "dark"), ("clock", "local")])
def test_a_choice_is_remembered(client: TestClient, name: str, value: str) -> None:
    """Without any script, and only what can be chosen."""
    answer = client.post("/preferences", data={name: value, "next": "/calls"}, headers=HTML)

    assert f'data-{name}="{value}"' in answer.text
    client.post("/preferences", data={name: '"><script>'}, headers=HTML)
    assert f'data-{name}="{value}"' in client.get("/calls", headers=HTML).text


def test_an_error_page_says_what_to_do_next(client: TestClient) -> None:
    """For a person it is a page, in the frame of all pages."""
    answer = client.get("/calls/nobody", headers=HTML)

    assert answer.status_code == 404
    assert "is known." in answer.text
    assert "Check the Call-ID" in answer.text


@pytest.mark.parametrize("path", ["/", "/calls", "/calls/call-1%40test"])
def test_an_incomplete_answer_says_so_on_every_page(path: str) -> None:
    """A shard that is gone must not look like calls that never were."""
    services = services_with(answered_call())
    whole = TestClient(create_app(services), headers=HTML).get(path).text
    assert isinstance(services.store, ListStore)
    services.store.partial_since = 1_790_000_000.0

    incomplete = TestClient(create_app(services), headers=HTML).get(path).text

    assert "Incomplete:" not in whole
    assert 'Incomplete: a part of the store has not answered since <time datetime="2026-09-21T14:13:20' in incomplete


@pytest.mark.parametrize("path", ["/cluster", "/failovers", "/nodes/n1"])
def test_a_node_that_is_alone_has_no_cluster_to_show(path: str) -> None:
    """It says so, and offers no way there."""
    said = page(path)

    assert "This node runs alone: there is no cluster to look at." in said
    assert 'href="/failovers"' not in page("/")

"""Media quality on its page, on the page of a call and in the API."""

import asyncio
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, START_US, TOKEN, ListStore, answered_call, message, services_with
from tests.calls.reports import FAR, NEAR, block, captured, receiver_report, sender_report

from everline.app import quality_routes
from everline.app.quality_view import COURSE_STEPS, QualityQuery, mos_bar, sentence
from everline.app.web import create_app
from everline.calls.emodel import MosBand
from everline.calls.event import Event
from everline.calls.quality_totals import QualityGroup, QualityTotals

HTML = {"Accept": "text/html"}
ELSEWHERE = ("203.0.113.5", 6001)


def described_call(call_id: str) -> list[Event]:
    """An answered call whose descriptions name their clock rate."""
    return [one._replace(codecs="PCMU/8000") if one.codecs else one for one in answered_call(call_id)]


def reports(
    call_id: str, lost: int, *, to: tuple[str, int] = FAR, agent: str = "relay-1", jitter: int = 80
) -> list[Event]:
    """RTCP of a stream of 1,000 packets from the caller."""
    at_us = START_US + 60_000_000
    sent, received = sender_report(1, packets=1000), receiver_report(2, block(1, lost=lost, fraction=9, jitter=jitter))
    return [
        captured(sent, at_us, source=NEAR, target=to, agent=agent, call_id=call_id),
        captured(received, at_us + 9, source=to, target=NEAR, agent=agent, call_id=call_id),
    ]


def some_calls() -> list[Event]:
    """Four calls: 12 % and 6 % lost, the same way; 2 %; nothing, elsewhere; and one that nobody reported of."""
    events = [one for name in ("a@test", "b@test", "c@test", "d@test", "e@test") for one in described_call(name)]
    for name, lost, to in (("a@test", 120, ELSEWHERE), ("b@test", 60, ELSEWHERE), ("c@test", 20, ELSEWHERE)):
        events += reports(name, lost, to=to)
    return [*events, *reports("d@test", 0, agent="relay-2")]


def client_of(events: list[Event]) -> TestClient:
    """Signed in."""
    return TestClient(create_app(services_with(events)), headers={"Authorization": f"Bearer {TOKEN}"})


def asked(query: str = "", events: list[Event] | None = None) -> Any:  # a JSON answer
    """The answer of the API."""
    return client_of(some_calls() if events is None else events).get(f"/api/v1/quality?{query}").json()


def shown(path: str = "/quality", events: list[Event] | None = None) -> str:
    """A page, without line breaks between words."""
    text = client_of(some_calls() if events is None else events).get(path, headers=HTML).text
    return re.sub(r"\s+", " ", text)


def test_the_api_lists_the_worst_calls_first() -> None:
    """With caller and callee where an INVITE was captured, and totals over all of them."""
    answer = asked()

    assert [one["call_id"] for one in answer["calls"]] == ["a@test", "b@test", "c@test", "d@test"]
    assert answer["calls"][0] == {
        "call_id": "a@test", "caller": "+49301", "callee": "+49302", "start_at": START_US / 1e6,
        "loss_ratio": 0.12, "jitter_ms": 10.0, "round_trip_ms": None, "mos": answer["calls"][0]["mos"], "streams": 1,
    }  # fmt: skip
    totals = answer["totals"]
    assert (totals["calls"], totals["measured"], totals["loss_over_1_percent"], totals["loss_over_5_percent"]) == (
        4, 4, 3, 2,
    )  # fmt: skip
    assert (totals["loss_over_5_percent_ratio"], totals["jitter_p50_ms"], totals["jitter_p95_ms"]) == (0.5, 10.0, 10.0)
    assert sum(totals["mos"].values()) == 4
    assert totals["networks"][0] == {
        "name": "203.0.113.0/24", "calls": 3, "measured": 3, "heard": 3, "bad": 2, "loss_ratio": 0.12,
    }  # fmt: skip
    assert [one["name"] for one in totals["agents"]] == ["relay-1", "relay-2"]
    assert (answer["until"], answer["reports"], answer["is_cut"], answer["partial"]) == (NOW, 8, False, False)


@pytest.mark.parametrize(
    ("query", "listed", "calls"),
    [
        ("network=203.0.113.0/24", ["a@test", "b@test", "c@test"], 3),
        ("network=198.51.100.7", ["d@test"], 1),
        ("network=2001:db8::/32", [], 0),
        ("agent=relay-2", ["d@test"], 1),
        ("agent=nobody", [], 0),
        ("loss=5", ["a@test", "b@test"], 4),
        ("loss=0", ["a@test", "b@test", "c@test"], 4),
        ("limit=1", ["a@test"], 4),
        ("until=2026-09-21T14:00:00Z", [], 0),
        ("network=&agent=&loss=", ["a@test", "b@test", "c@test", "d@test"], 4),
    ],
)
def test_filters(query: str, listed: list[str], calls: int) -> None:
    """Agent, network and time choose what is counted; loss and limit only what is listed."""
    answer = asked(query)

    assert ([one["call_id"] for one in answer["calls"]], answer["totals"]["calls"]) == (listed, calls)


@pytest.mark.parametrize(
    "query",
    ["network=nowhere", "network=1.2.3.4/99", "loss=x", "loss=101", "loss=-1", "loss=nan", "loss=1e999", "limit=0",
     "limit=501", "since=9&until=3", "since=x", "step=5", "agent=" + 513 * "x"],
)  # fmt: skip
def test_what_can_not_be_asked_is_a_problem(query: str) -> None:
    """It names the parameter, and what to give."""
    answer = client_of([]).get(f"/api/v1/quality?{query}")

    assert answer.status_code == 400
    assert answer.json()["next_step"]


def test_the_api_is_described() -> None:
    """Every parameter that is ours alone says what it takes."""
    described = client_of([]).get("/api/v1/openapi.json").json()["paths"]["/api/v1/quality"]["get"]

    assert "worst first" in described["description"]
    names = {"last", "since", "until", "agent", "network", "loss", "limit"}
    assert {one["name"] for one in described["parameters"]} == names
    assert {one["name"] for one in described["parameters"] if one.get("description")} >= {"agent", "network", "loss"}


def test_a_call_tells_its_streams() -> None:
    """Every figure that RTCP gave, the addresses of the RTCP packets, null for what is not known."""
    quality = client_of(some_calls()).get("/api/v1/calls/a@test").json()["quality"]

    assert (quality["loss_ratio"], quality["jitter_ms"], quality["unreadable"], quality["left_out"]) == (0.12, 10, 0, 0)
    [stream] = quality["streams"]
    assert stream == {
        "ssrc": 1, "src": "192.0.2.1:4001", "dst": "203.0.113.5:6001", "agents": ["relay-1"], "reports": 1,
        "packets_sent": 1000, "packets_lost": 120, "loss_ratio": 0.12, "worst_lost_ratio": 9 / 256,
        "jitter_ts": {"min": 80, "mean": 80, "max": 80}, "clock_hz": 8000,
        "jitter_ms": {"min": 10, "mean": 10, "max": 10}, "codec": "PCMU/8000", "round_trip_ms": None,
        "mos": quality["mos"],
    }  # fmt: skip
    assert client_of(some_calls()).get("/api/v1/calls/e@test").json()["quality"] is None


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        (QualityTotals(3, 0), "Now no report said how much was lost; RTCP was seen of 3 calls."),
        (QualityTotals(3, 1), "Now none of 1 call with reports lost more than 1 % of its packets."),
        (
            QualityTotals(9, 8, 2),
            "Now 2 of 8 calls with reports lost more than 1 % of their packets, none more than 5 %.",
        ),
        (QualityTotals(9, 8, 2, 1), "Now 1 of 8 calls with reports lost more than 5 % of their packets."),
        (
            QualityTotals(
                9, 8, 4, 3, networks=(QualityGroup("n", 2, 2, 2, 2, 0.1), QualityGroup("m", 1, 1, 1, 1, 0.1))
            ),
            "Now 3 of 8 calls with reports lost more than 5 % of their packets, most of them to n.",
        ),
        (
            QualityTotals(
                9, 8, 4, 2, networks=(QualityGroup("n", 2, 2, 2, 1, 0.1), QualityGroup("m", 1, 1, 1, 1, 0.1))
            ),
            "Now 2 of 8 calls with reports lost more than 5 % of their packets.",
        ),
    ],
)
def test_the_sentence(totals: QualityTotals, said: str) -> None:
    """How many of how many, and where, if most are in one place."""
    assert sentence(totals, when="Now") == said


def test_the_page_answers_above_the_fold() -> None:
    """In words, then figures with their definitions, the calls, and where it is worst."""
    text = shown()

    assert (
        "In the last hour 2 of 4 calls with reports lost more than 5 % of their packets, all of them to 203.0.113.0/24."
        in text
    )
    assert "RFC 3550" in text
    assert "E-model, ITU-T G.107" in text
    assert text.index("a%40test#quality") < text.index("b%40test#quality") < text.index("d%40test#quality")
    assert '<a href="/quality?network=203.0.113.0%2F24">203.0.113.0/24</a>' in text
    assert 'href="/quality?agent=relay-2"' in text
    assert 'aria-current="page"' in text


def test_filters_are_in_the_address_and_can_be_taken_away() -> None:
    """As on the other pages."""
    text = shown("/quality?network=203.0.113.0/24&loss=5")

    assert '<a href="/quality?loss=5" aria-label="Remove network"' in text
    assert '<option value="5" selected>' in text
    assert "c%40test" not in text
    assert 'href="/api/v1/quality?network=203.0.113.0%2F24&amp;loss=5"' in text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/quality?until=9", "No RTCP was seen in this range."),
        ("/quality?agent=nobody", "No RTCP matches these filters."),
        ("/quality?loss=50", "No call lost more than 50 % of its packets."),
    ],
)
def test_nothing_is_an_answer_with_a_way_on(path: str, said: str) -> None:
    """Empty states say why."""
    assert said in shown(path)


def test_without_any_rtcp_it_says_how_agents_send_it() -> None:
    """The first thing a newcomer sees."""
    text = shown(events=answered_call())

    assert "No RTCP was seen in this hour." in text
    assert "HEP type 5" in text


def test_an_answer_out_of_a_part_says_so() -> None:
    """Too many reports, or a part of the store that is away."""
    services = services_with(some_calls())
    assert isinstance(services.store, ListStore)
    services.store.most_reports, services.store.partial_since = 4, 1_790_000_000.0
    client = TestClient(create_app(services), headers={"Authorization": f"Bearer {TOKEN}"})

    answer, text = client.get("/api/v1/quality").json(), client.get("/quality", headers=HTML).text

    assert (answer["is_cut"], answer["partial"], answer["reports"]) == (True, True, 4)
    assert "Only the newest 4 reports were read" in text
    assert "Incomplete:" in text


def test_the_page_of_a_call_has_its_media() -> None:
    """A sentence, and each stream with its side, figures and curves; nothing where there was no RTCP."""
    text = shown("/calls/a@test")

    assert "12.0 % lost</span> on the worst of 1 stream, estimated MOS" in text
    assert "<b>From the caller</b>" in text
    assert "10 ms" in text
    assert text.count('class="spark"') == 2
    assert 'id="quality"' not in shown("/calls/e@test")


def test_jitter_without_a_clock_rate_says_so() -> None:
    """Not a made-up number of milliseconds, on either page."""
    events = [message("OPTIONS", call_id="x@test"), *reports("x@test", 10)]

    assert '80 units<br><span class="quiet">clock rate unknown' in shown("/calls/x@test", events)
    assert asked(events=events)["calls"][0]["jitter_ms"] is None


def test_reports_that_lie_do_no_harm_to_the_pages() -> None:
    """Markup in agent names, extreme figures, packets that are no RTCP."""
    events = [
        *described_call("a@test"),
        *reports("a@test", -(2**23), jitter=2**32 - 1, agent="<script>alert(1)</script>"),
        *(captured(payload, START_US + 1, call_id="a@test") for payload in (b"{", b"", b"\xff" * 40)),
        captured(b'{"ssrc":"<b>","report_blocks":[{"source_ssrc":1e99,"ia_jitter":"x"}]}', START_US, call_id="z@test"),
    ]

    for path in ("/quality", "/calls/a@test", "/calls/z@test"):
        text = shown(path, events)
        assert "<script>alert" not in text
        assert "nan" not in re.sub(r"<[^>]*>", "", text).lower().split()
    assert "3 packets could not be read." in shown("/calls/a@test", events)


def test_only_a_few_at_a_time_hold_their_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long is told to come back."""
    monkeypatch.setattr(quality_routes, "TURN_S", 0.0)
    app = create_app(services_with(some_calls()))
    app.state.quality_turns = asyncio.Semaphore(0)

    answer = TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}).get("/api/v1/quality")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_curves_of_long_calls_are_thinned() -> None:
    """Hours of reports stay a small drawing."""
    events = [
        captured(receiver_report(1, block(2, seq=number, fraction=9)), START_US + number, call_id="long@test")
        for number in range(1000)
    ]

    curve = re.search(r'aria-label="Loss over the range".*?d="([^"]+)"', shown("/calls/long@test", events))

    assert curve is not None
    assert curve[1].count("L") <= COURSE_STEPS


def test_the_bar_of_scores_is_told_in_words() -> None:
    """For those who do not see it; its parts fill it."""
    bar = mos_bar({MosBand.SATISFIED: 3, MosBand.POOR: 1, MosBand.UNKNOWN: 0})

    assert 'aria-label="satisfied, 4.03 or more: 3 calls, poor, below 3.10: 1 call"' in bar
    assert re.findall(r'width="([\d.]+)"', bar) == ["240.0", "80.0", "0.0"]
    assert "<rect" in mos_bar({MosBand.POOR: 0})


def test_a_link_keeps_what_is_chosen() -> None:
    """And leaves out what is empty."""
    query = QualityQuery(agent="a b", loss="5")

    assert (query.link(loss=""), query.link(network="::/0")) == ("agent=a+b", "agent=a+b&loss=5&network=%3A%3A%2F0")

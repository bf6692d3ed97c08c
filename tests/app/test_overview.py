"""The overview: figures with their change, calls by outcome, what fails, and the last failover."""

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, TOKEN, answered_call, busy_call, message, services_with
from tests.app.site import SiteSight

from everline.app import templates
from everline.app.course import OPEN, calls_link, course_of, top_codes
from everline.app.figures import Diff, change, longer, points, relative
from everline.app.web import create_app
from everline.calls.kpi import KpiBucket, KpiCounts, kpis_of
from everline.cluster.entry import Entry
from everline.errors import EverlineError

S = 1_000_000
NOW_US = round(NOW * S)


@pytest.mark.parametrize(
    ("now", "before", "diff", "words"),
    [
        pytest.param(112, 100, relative, "▲ 12 % on the day before", id="calls-in-per-cent"),
        pytest.param(50, 100, relative, "▼ 50 % on the day before", id="fewer"),
        pytest.param(1001, 1000, relative, "as the day before", id="less-than-half-a-per-cent-is-none"),
        pytest.param(7, 0, relative, "▲ 7 on the day before", id="no-per-cent-of-nothing"),
        pytest.param(0, 0, relative, "as the day before", id="nothing-then-and-now"),
        pytest.param(0.471, 0.5, points, "▼ 2.9 points on the day before", id="ratios-in-points"),
        pytest.param(1.4, 1.2, longer, "▲ 200 ms on the day before", id="times-in-time"),
        pytest.param(None, 1.2, longer, "", id="no-figure"),
        pytest.param(1.4, None, longer, "none the day before", id="none-to-compare-with"),
    ],
)
def test_a_change_in_words(now: float | None, before: float | None, diff: Diff, words: str) -> None:
    """A shape for the direction, how far, and since when."""
    assert change(now, before, diff=diff) == words


def step(at_us: int, attempts: int, **outcomes: int) -> KpiBucket:
    """A step of a series."""
    return KpiBucket(at_us, kpis_of(KpiCounts(attempts, outcomes.get("answered", 0), outcomes=outcomes)))


def test_calls_by_outcome() -> None:
    """Only outcomes that there were, answered first; what has none yet is counted; the last step may be shorter."""
    course = course_of([step(0, 3, failed=1, answered=2), step(60 * S, 2, busy=1)], until_us=90 * S, step_s=60)

    assert [(one.key, one.calls) for one in course.columns] == [("answered", 2), ("busy", 1), ("failed", 1), (OPEN, 1)]
    assert [one.calls for one in course.steps] == [(2, 0, 1, 0), (0, 1, 0, 1)]
    assert [(one.since_us, one.until_us) for one in course.steps] == [(0, 60 * S), (60 * S, 90 * S)]


def test_codes_by_how_often_they_were_met() -> None:
    """The first six; the lower code first where two are as frequent."""
    counts = KpiCounts(statuses={503: 2, 404: 5, 486: 2, 480: 1, 487: 1, 500: 1, 603: 1})

    assert top_codes(kpis_of(counts)) == [(404, 5), (486, 2), (503, 2), (480, 1), (487, 1), (500, 1)]


CALLS = [
    *answered_call(), *busy_call("busy@test", start_ms=-60_000), *busy_call("yesterday@test", start_ms=-86_400_000),
    message("INVITE", 1000, call_id="open@test"),
]  # fmt: skip


def page(path: str = "/", *, sight: SiteSight | None = None) -> str:
    """The page as text."""
    services = replace(services_with(CALLS), cluster=sight)
    return TestClient(create_app(services), headers={"Authorization": f"Bearer {TOKEN}"}).get(path).text


def test_every_count_of_the_table_leads_to_its_calls() -> None:
    """A reader without the chart gets as far: each link of the table finds as many calls as it says."""
    table = re.search(r'<table id="course-table">.*?</table>', page(), re.DOTALL)
    assert table is not None
    links = re.findall(r'<td class="number"><a href="([^"]+)">(\d+)</a>', table[0])

    assert len(links) == 2
    assert all(page(link.replace("&amp;", "&")).count("<td><a href=") == int(calls) for link, calls in links)
    assert "no outcome yet" in table[0]


def test_figures_are_compared_with_the_same_hours_of_the_day_before() -> None:
    """But for long ranges, which would have to be read twice."""
    assert "▲ 200 % on the day before" in page()
    assert "▲ 200 % on the day before" in page("/?last=4h")
    assert "the day before" not in page("/?last=24h")


def test_what_failed_leads_to_the_calls() -> None:
    """By code, and by destination."""
    text = page()

    assert re.search(r'status=486">486 Busy Here</a></td><td class="number">1<', text)
    assert re.search(r'callee=%2B49302&amp;status=486">\+49302</a>', text)


@pytest.mark.parametrize("has_charts", [True, False])
def test_without_the_library_the_table_is_open(has_charts: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """A node that was set up without npm says the same, and asks browsers for nothing that is not there."""
    monkeypatch.setitem(templates._ENVIRONMENT.globals, "has_charts", has_charts)
    text = page()

    assert ("/static/vendor/" in text, "<canvas" in text) == (has_charts, has_charts)
    assert ("<details open><summary>As a table" in text) is not has_charts


def test_the_last_failover_and_what_it_cost() -> None:
    """Of a cluster: the sentence, its times, and the calls that began before it was over."""
    text = page(sight=SiteSight.of_two_regions())

    assert "e2-ingest was dead; over after 9.0 s." in text
    assert "Detected after 1.0 s, recovered after 9.0 s." in text
    assert "What it cost: 0 <a" in text
    assert "Packet ledger" not in text


class SightWithoutLog(SiteSight):
    """A cluster whose failover log can't be read."""

    async def entries(self, since_us: int, limit: int) -> list[Entry]:  # noqa: ARG002 - of the protocol
        """No server answers."""
        raise EverlineError("no ClickHouse server answers")


def test_a_log_that_cannot_be_read_takes_nothing_else_away() -> None:
    """The page says so in its place."""
    text = page(sight=SightWithoutLog.of_two_regions())

    assert "no ClickHouse server answers" in text
    assert "3 calls began" in text


def test_a_link_leads_to_the_calls_that_were_counted() -> None:
    """The same ends to the microsecond, and only filters that say something."""
    link = calls_link(NOW_US, NOW_US + 1, outcome="busy", status=0, callee="")

    assert link == ("/calls?since=2026-09-21T14%3A13%3A20.000000Z&until=2026-09-21T14%3A13%3A20.000001Z&outcome=busy")

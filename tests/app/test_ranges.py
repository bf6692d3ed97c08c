"""The time range: in the address, chosen in the top line, kept between the pages that have one."""

from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, TOKEN, busy_call, services_with

from everline.app.problems import ProblemError
from everline.app.range_menu import LASTS, RangeMenu, range_menu
from everline.app.ranges import Range, day_before, range_us
from everline.app.web import create_app

S = 1_000_000
NOW_US = round(NOW * S)
DAY_US = 86_400 * S


@pytest.mark.parametrize(
    ("asked", "span_s", "step_s"),
    [
        ({}, 3600, 60),
        ({"last": "15m"}, 900, 60),
        ({"last": "1h"}, 3600, 60),
        ({"last": "4h"}, 14_400, 300),
        ({"last": "24h"}, 86_400, 3600),
        ({"last": "7d"}, 604_800, 21_600),
        ({"since": str(NOW - 600)}, 600, 10),
        ({"since": str(NOW - 600), "until": str(NOW - 300)}, 300, 10),
    ],
)
def test_a_range_has_some_sixty_steps(asked: dict[str, str], span_s: int, step_s: int) -> None:
    """However long it is; without any it is the last hour."""
    span = Range.model_validate(asked)
    since_us, until_us = span.bounds_us(NOW)

    assert (until_us - since_us, span.step_of(since_us, until_us)) == (span_s * S, step_s)


@pytest.mark.parametrize("asked", [("2h", "", ""), ("1h", str(NOW - 9), ""), ("1h", "", str(NOW)), ("", "noon", "")])
def test_what_is_no_range_or_two_of_them(asked: tuple[str, str, str]) -> None:
    """Refused, with what to do."""
    with pytest.raises(ProblemError) as refused:
        range_us(*asked, now=NOW)

    assert (refused.value.status, bool(refused.value.next_step)) == (400, True)


@pytest.mark.parametrize(("span_s", "is_compared"), [(1, True), (3600, True), (14_400, True), (14_401, False)])
def test_what_a_range_is_compared_with(span_s: int, is_compared: bool) -> None:  # noqa: FBT001
    """The same hours of the day before; a long one with nothing."""
    ends = NOW_US - span_s * S, NOW_US

    assert day_before(*ends) == ((ends[0] - DAY_US, ends[1] - DAY_US) if is_compared else None)


def menu_of(address: str) -> RangeMenu:
    """The menu of a page."""
    parts = urlsplit(address)
    menu = range_menu(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})
    assert menu is not None
    return menu


@pytest.mark.parametrize(
    ("address", "label", "query"),
    [
        ("/", "Last 1 h", ""),
        ("/?last=7d", "Last 7 days", "last=7d"),
        ("/calls", "All time", ""),
        ("/calls?outcome=busy", "All time", ""),
        ("/calls?last=15m&outcome=busy", "Last 15 min", "last=15m"),
        (
            "/?since=2026-09-21T03:00Z&until=2026-09-21T04:30Z", "2026-09-21 03:00 – 04:30",
            "since=2026-09-21T03%3A00Z&until=2026-09-21T04%3A30Z",
        ),
        ("/?since=2026-09-21T03:00&until=2026-09-22T03:00", "2026-09-21 03:00 – 2026-09-22 03:00",
         "since=2026-09-21T03%3A00&until=2026-09-22T03%3A00"),
        ("/calls?since=1790000000", "2026-09-21 14:13:20 – now", "since=1790000000"),
        ("/calls?until=1790000000", "until 2026-09-21 14:13:20", "until=1790000000"),
        ("/?last=%3Cscript%3E", "All time", "last=%3Cscript%3E"),
        ("/?since=noon", "All time", "since=noon"),
    ],
)  # fmt: skip
def test_the_menu_says_what_is_chosen(address: str, label: str, query: str) -> None:
    """Also of an address that is wrong, since its error page has the menu as well."""
    menu = menu_of(address)

    assert (menu.label, menu.query) == (label, query)


def test_a_choice_keeps_the_filters_and_begins_at_the_first_page() -> None:
    """The page after the first is one of another range."""
    menu = menu_of("/calls?outcome=busy&last=1h&after=xyz")

    assert [one.label for one in menu.choices if one.is_current] == ["1 h"]
    assert [one.href for one in menu.choices] == [
        *(f"/calls?outcome=busy&last={name}" for name in LASTS), "/calls?outcome=busy",
    ]  # fmt: skip
    assert menu.kept == (("outcome", "busy"),)


@pytest.mark.parametrize("path", ["/live", "/calls/a@b", "/cluster", "/login"])
def test_a_page_without_a_range_has_no_menu(path: str) -> None:
    """It would promise what nothing heeds."""
    assert range_menu(path, {"last": "1h"}) is None


@pytest.mark.parametrize("query", ["last=15m", "last=4h", f"since={NOW - 900}"])
def test_the_range_goes_along_and_is_heeded(query: str) -> None:
    """From the overview to calls by the rail; pages, API and export count the same calls."""
    calls = [*busy_call("new@test", start_ms=0), *busy_call("old@test", start_ms=-3_600_000)]
    client = TestClient(create_app(services_with(calls)), headers={"Authorization": f"Bearer {TOKEN}"})
    wanted = 2 if query == "last=4h" else 1

    assert f'href="/calls?{query}"' in client.get(f"/?{query}").text
    assert f'href="/?{query}"' in client.get(f"/calls?{query}").text
    assert client.get(f"/calls?{query}").text.count("486 Busy Here") == wanted
    assert len(client.get(f"/api/v1/calls?{query}").json()["calls"]) == wanted
    assert client.get(f"/api/v1/kpis?{query}").json()["attempts"] == wanted
    assert len(client.get(f"/api/v1/calls.jsonl?{query}").text.splitlines()) == wanted

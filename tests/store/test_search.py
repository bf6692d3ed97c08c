"""Searching: complete, newest first, without doubles, and safe whatever is asked for."""

import random
from dataclasses import replace
from typing import Any

import pytest
from tests.store.making import DAY_US, HOUR_US, SECOND_US, answered, event, failed, insert, records_of

from everline.calls.event import Event
from everline.calls.record import CallRecord, Outcome, State
from everline.store import search
from everline.store.filters import CallFilter, PageKey
from everline.store.queries import Window
from everline.store.store import Store


async def all_pages(store: Store, wanted: CallFilter, *, limit: int) -> list[CallRecord]:
    """Every page of a search, one after the other."""
    found: list[CallRecord] = []
    after = None
    for _ in range(1000):
        page = await store.search(wanted, limit=limit, after=after)
        found += page.records
        after = page.next
        if after is None:
            return found
    raise AssertionError("paging does not end")


def some_day(era_us: int, *, calls: int = 60) -> list[Event]:
    """Calls of a day: several with one start, some over hours, some with a re-INVITE or a MESSAGE hours later."""
    chance = random.Random(era_us)
    events: list[Event] = []
    for index in range(calls):
        start_us = (
            era_us + chance.choice([0, HOUR_US - 1, HOUR_US, 5 * HOUR_US, 23 * HOUR_US]) + chance.choice([0, 0, 7])
        )
        call_id = f"{era_us}-{index}"
        who: dict[str, Any] = {"from_user": f"49{index % 7}", "to_user": f"1{index % 5}0"}
        if index % 3:
            its = answered(call_id, start_us, talk_s=chance.choice([10, 4000, 9000]), **who)
            its += [event(call_id, start_us + 2 * HOUR_US, cseq=2, to_tag="tt", **who)] * (index % 2)
            its += [event(call_id, start_us + 3 * HOUR_US, "MESSAGE", **who)]
        else:
            its = failed(call_id, start_us, chance.choice([486, 503]), **who)
        events += its
    chance.shuffle(events)
    return events


@pytest.mark.parametrize("limit", [1, 7, 1000])
@pytest.mark.parametrize("window_rows", [1, 20_000])
async def test_pages_follow_each_other_without_gap_or_double(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch, limit: int, window_rows: int
) -> None:
    """Calls of one start are told apart by Call-ID, and a long call shows up in the hour of its start only."""
    monkeypatch.setattr(search, "WINDOW_ROWS", window_rows)
    monkeypatch.setattr(search, "FIRST_ROWS", min(window_rows, search.FIRST_ROWS))
    events = some_day(era_us, calls=25)
    await insert(store, events[:40], events[40:])

    found = await all_pages(store, CallFilter(since_us=era_us, until_us=era_us + DAY_US), limit=limit)

    assert found == records_of(events)


@pytest.mark.parametrize("few", [0, 2000])
@pytest.mark.parametrize("chunk", [3, 4000])
async def test_a_rare_call_is_found_step_by_step(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch, few: int, chunk: int
) -> None:
    """However little is looked at in one go, all pages together hold what a filter matches."""
    monkeypatch.setattr(search, "FEW_PAGES", few)
    monkeypatch.setattr(search, "CHUNK", chunk)
    monkeypatch.setattr(search, "MAX_LOOKED_AT", 4)
    events = some_day(era_us)
    await insert(store, events)

    day = CallFilter(since_us=era_us, until_us=era_us + DAY_US)
    for wanted in (replace(day, status=486), replace(day, number="493"), replace(day, outcome=Outcome.FAILED)):
        matching = {
            record.call_id
            for record in records_of(events)
            if wanted.status in {None, record.status}
            and wanted.number in {None, record.caller}
            and wanted.outcome in {None, record.outcome}
        }
        found = await all_pages(store, wanted, limit=2)
        assert found == [record for record in records_of(events) if record.call_id in matching]
        assert found


async def test_a_failure_in_the_hour_after_the_start_is_found(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up leads to the hour of the response, the page is that of the INVITE."""
    monkeypatch.setattr(search, "FEW_PAGES", 0)
    await insert(store, failed(f"late-{era_us}", era_us + HOUR_US - 1, 599))

    page = await store.search(CallFilter(since_us=era_us, until_us=era_us + HOUR_US, status=599))

    assert [record.call_id for record in page.records] == [f"late-{era_us}"]


FILTERS = [
    pytest.param(CallFilter(), "abcd", id="nothing-narrows"),
    pytest.param(CallFilter(number="4930123"), "ac", id="number-of-either-side"),
    pytest.param(CallFilter(number="4930*"), "acd", id="number-begins"),
    pytest.param(CallFilter(number="*0123"), "ac", id="number-ends"),
    pytest.param(CallFilter(number="*3012*"), "acd", id="number-holds"),
    pytest.param(CallFilter(number="*"), "abcd", id="any-number"),
    pytest.param(CallFilter(number="49301"), "", id="a-part-needs-a-star"),
    pytest.param(CallFilter(number="49_0123"), "", id="an-underscore-is-itself"),
    pytest.param(CallFilter(number="4%"), "", id="a-percent-sign-is-itself"),
    pytest.param(CallFilter(caller="4930123"), "a", id="caller"),
    pytest.param(CallFilter(callee="4930123"), "c", id="callee"),
    pytest.param(CallFilter(caller="host.example"), "b", id="without-a-user-the-host-stands-for-the-caller"),
    pytest.param(CallFilter(state=State.ENDED), "ac", id="state-ended"),
    pytest.param(CallFilter(state=State.TRYING), "d", id="state-trying"),
    pytest.param(CallFilter(state=State.ANSWERED), "b", id="state-answered"),
    pytest.param(CallFilter(outcome=Outcome.ANSWERED), "a", id="outcome-answered"),
    pytest.param(CallFilter(outcome=Outcome.BUSY), "c", id="outcome-busy"),
    pytest.param(CallFilter(status=200), "ab", id="status-200"),
    pytest.param(CallFilter(status=486), "c", id="status-486"),
    pytest.param(CallFilter(ip="192.0.2.7"), "a", id="source-address"),
    pytest.param(CallFilter(ip="10.0.0.2"), "abcd", id="destination-address"),
    pytest.param(CallFilter(user_agent="ASTERISK"), "a", id="user-agent-of-the-caller-whatever-the-case"),
    pytest.param(CallFilter(user_agent="phone ü"), "b", id="user-agent-of-the-callee"),
    pytest.param(CallFilter(number="4930123", status=486), "c", id="two-at-once"),
]


@pytest.mark.parametrize("few", [0, 2000])
@pytest.mark.parametrize(("wanted", "expected"), FILTERS)
async def test_filters(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch, wanted: CallFilter, expected: str, few: int
) -> None:
    """What each filter finds, by looking it up and by going through the hours."""
    monkeypatch.setattr(search, "FEW_PAGES", few)
    name = f"{era_us}-".__add__
    a = answered(name("a"), era_us, from_user="4930123", src_ip="192.0.2.7", user_agent="Asterisk PBX 20")
    b = answered(name("b"), era_us, from_user="", from_host="host.example")[:2]
    b.append(event(name("b"), era_us + 9, status=200, from_user="", from_host="host.example", user_agent="Phone Ü 1"))
    c = failed(name("c"), era_us, 486, to_user="4930123")
    d = [event(name("d"), era_us, to_user="49301299"), event(name("other"), era_us, "OPTIONS")]
    await insert(store, a + b, c + d)

    page = await store.search(replace(wanted, since_us=era_us, until_us=era_us + HOUR_US))

    assert sorted(record.call_id[-1] for record in page.records) == list(expected)


HOSTILE = [
    "'",
    "\\",
    "\\'",
    "' OR 1=1 --",
    "\x00",
    "a\x00b",
    "\n\t\r",
    "%",
    "_",
    "*\\*",
    "\udcff",
    "é'😀",
    "\\x27",
    "{x:String}",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_hostile_texts_are_only_texts(store: Store, era_us: int, value: str) -> None:
    """A filter finds the call that has exactly this text, and no other."""
    kept = value.encode(errors="backslashreplace").decode()
    odd = failed(f"{era_us}-{kept}", era_us, 486, from_user=kept, user_agent=f"x{kept}y", src_ip=kept)
    await insert(store, odd + failed(f"{era_us}-plain", era_us, 486))
    now = CallFilter(since_us=era_us, until_us=era_us + 1)
    part = f"*{value.strip('*')}*"

    for wanted in (
        CallFilter(call_id=f"{era_us}-{value}"),
        replace(now, caller=part if "*" in value else value),
        replace(now, number=part),
        replace(now, ip=value),
        replace(now, user_agent=value),
    ):
        page = await store.search(wanted, after=PageKey(era_us + 1, value))
        assert page.records == tuple(records_of(odd))
    assert await store.call(f"{era_us}-{value}") == records_of(odd)[0]
    assert await store.messages(f"{era_us}-{value}") == odd


async def test_odd_bounds_find_nothing_and_break_nothing(store: Store) -> None:
    """Times before 1970, ends before beginnings, and limits out of range."""
    for wanted in (
        CallFilter(since_us=-5, until_us=-1),
        CallFilter(since_us=2, until_us=1),
        CallFilter(since_us=2**70),
        CallFilter(since_us=0, until_us=0),
    ):
        assert (await store.search(wanted, limit=0)).records == ()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param([], [], id="nothing-there"),
        pytest.param([(9, 5)], [(8, 9)], id="one-hour-and-the-one-before"),
        pytest.param([(9, 30_000), (8, 1), (2, 1)], [(9, 9), (1, 8)], id="a-full-hour-is-a-window"),
        pytest.param([(9, 1), (4, 30_000)], [(4, 9), (3, 3)], id="no-gap-between-windows"),
        pytest.param([(9, 300), (8, 300), (7, 600), (6, 9)], [(9, 9), (7, 8), (5, 6)], id="windows-grow"),
        pytest.param([(30, 1), (9, 1)], [(8, 20)], id="hours-after-the-range-only-lead-to-it"),
        pytest.param([(30, 30_000), (20, 30_000), (5, 3)], [(20, 20), (4, 19)], id="a-full-hour-after-the-range"),
    ],
)
def test_windows(counts: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    """Newest first, no hour twice, none left out in which a call may have begun."""
    assert search.windows(counts, Window(1, 20)) == [Window(*one) for one in expected]


@pytest.mark.parametrize("text", ["", ":", "5", "x:y", "-1:a", "5:", "٣:a", "1" * 30 + ":a"])
def test_page_keys_that_are_none(text: str) -> None:
    """What is not ours is refused."""
    with pytest.raises(ValueError, match="Call-ID"):
        PageKey.parse(text)


def test_page_keys_as_text() -> None:
    """A key survives being a text, whatever the Call-ID."""
    key = PageKey(5 * SECOND_US, "a:b@c")

    assert PageKey.parse(key.text()) == key

"""The RTCP of a time range over all calls, on one engine and on four servers."""

from typing import Any

import pytest
from tests.store.making import DAY_US, HOUR_US, SECOND_US, answered, event, insert

from everline.calls.agreed import Described
from everline.calls.event import RTCP, Event
from everline.store import queries, reports
from everline.store.queries import MAX_DESCRIBED
from everline.store.store import Store


def report(call_id: str, at_us: int, **fields: Any) -> Event:  # any field
    """One stored RTCP packet."""
    return event(call_id, at_us, "RTCP", protocol=RTCP, **fields)


async def test_reports_of_a_range_newest_first_each_once(store: Store, era_us: int) -> None:
    """Those of other times, and other messages, are not there; one that was inserted twice is there once."""
    wanted = [report(f"{era_us}-{index % 3}", era_us + index * SECOND_US, payload=bytes([index])) for index in range(9)]
    before, after = report("before", era_us - 1), report("after", era_us + HOUR_US)
    await insert(store, [*wanted, before], [after, *wanted[:4]], answered(f"{era_us}-0", era_us))

    found = await store.reports(era_us, era_us + HOUR_US)

    assert list(found.events) == wanted[::-1]
    assert (found.since_us, found.is_cut, found.partial) == (era_us, False, False)


async def test_only_the_newest_are_read_and_it_is_said_from_when_on(store: Store, era_us: int) -> None:
    """A limit is kept whatever lies behind it, also where packets lie twice."""
    events = [report(str(era_us), era_us + index * SECOND_US) for index in range(10)]
    await insert(store, events, events)

    found = await store.reports(era_us, era_us + HOUR_US, limit=4)
    exact = await store.reports(era_us, era_us + HOUR_US, limit=10)

    assert 0 < len(found.events) <= 4
    assert list(found.events) == events[::-1][: len(found.events)]
    assert (found.is_cut, found.since_us > era_us) == (True, True)
    assert [one.captured_us for one in events if one.captured_us >= found.since_us] == [
        one.captured_us for one in found.events[::-1] if one.captured_us >= found.since_us
    ]
    assert len(exact.events) <= 10


async def test_one_moment_may_hold_more_than_are_read(store: Store, era_us: int) -> None:
    """Packets of one capture time are cut by their keys, and nothing is read without a bound."""
    await insert(store, [report(f"{era_us}-{index}", era_us, event_key=index) for index in range(50)])

    found = await store.reports(era_us, era_us + 1, limit=5)

    assert (len(found.events), found.is_cut) == (5, True)


@pytest.mark.parametrize(("name", "value"), [("PAGE", 3), ("MAX_BYTES", 10)])
async def test_reports_are_read_page_by_page_until_there_is_enough(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    """Pages change nothing but the size of a question; with too many bytes read, no further page is."""
    monkeypatch.setattr(reports, "PAGE", 3)
    monkeypatch.setattr(reports, name, value)
    events = [report(str(era_us), era_us + index, payload=b"12345") for index in range(10)]
    await insert(store, events)

    found = await store.reports(era_us, era_us + HOUR_US)

    if name == "PAGE":
        assert (list(found.events), found.is_cut) == (events[::-1], False)
    else:
        assert (list(found.events), found.is_cut, found.since_us) == (events[:6:-1], True, era_us + 7)


async def test_a_range_over_days_is_read_day_by_day(store: Store, era_us: int) -> None:
    """From the newest on, until there are enough."""
    days = [report(str(era_us), era_us + day * DAY_US) for day in range(5)]
    await insert(store, days)
    bounds = (era_us, era_us + 5 * DAY_US)

    assert list((await store.reports(*bounds)).events) == days[::-1]
    assert list((await store.reports(*bounds, limit=2)).events) == days[:2:-1]


async def test_an_impatient_question_says_how_far_it_came(
    store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older days are left out once it took too long."""
    monkeypatch.setattr(reports, "PATIENCE_S", -1.0)
    days = [report(str(era_us), era_us + day * DAY_US) for day in range(5)]
    await insert(store, days)

    found = await store.reports(era_us, era_us + 5 * DAY_US)

    assert (list(found.events), found.is_cut, found.since_us) == ([days[-1]], True, era_us + 4 * DAY_US)


async def test_what_calls_described_comes_with_their_reports(store: Store, era_us: int) -> None:
    """Status and codecs of INVITEs with a description, each once; nothing of calls without reports."""
    name = f"{era_us}-'sdp"
    sdp = answered(name, era_us, codecs="PCMA/8000,PCMU/8000")
    await insert(store, [*sdp, report(name, era_us + SECOND_US)], answered("other", era_us, codecs="G729/8000"), sdp)

    found = await store.reports(era_us, era_us + HOUR_US)

    assert {call_id: set(seen) for call_id, seen in found.described.items()} == {
        name: {Described(status, "PCMA/8000,PCMU/8000") for status in (0, 180, 200)}
    }


async def test_descriptions_of_one_call_are_bounded(store: Store, era_us: int) -> None:
    """A call may describe itself anew as often as it likes."""
    name = str(era_us)
    many = [event(name, era_us + index, codecs=f"X/{index}") for index in range(MAX_DESCRIBED * 2)]
    await insert(store, [*many, report(name, era_us)])

    found = await store.reports(era_us, era_us + HOUR_US)

    assert len(found.described[name]) == MAX_DESCRIBED


async def test_many_calls_are_asked_about_in_parts(store: Store, era_us: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No question grows with the number of calls without a bound."""
    monkeypatch.setattr(reports, "CHUNK", 3)
    names = [f"{era_us}-{index}" for index in range(8)]
    for name in names:
        await insert(store, [event(name, era_us, codecs="PCMU/8000"), report(name, era_us)])

    assert set((await store.reports(era_us, era_us + HOUR_US)).described) == set(names)


async def test_nothing_seen_is_an_answer(store: Store, era_us: int) -> None:
    """No reports, not cut; also for ranges that no calendar has."""
    for bounds in ((era_us, era_us + HOUR_US), (0, 1), (2**63, 2**64), (era_us, era_us)):
        found = await store.reports(*bounds)
        assert (list(found.events), dict(found.described), found.is_cut) == ([], {}, False)


def test_the_question_names_its_days() -> None:
    """Only partitions of these days are opened."""
    sql = queries.reports(DAY_US, 2 * DAY_US, limit=1)

    assert "day >= toDate(toUInt16(1)) AND day <= toDate(toUInt16(1))" in sql

"""What the embedded store keeps, counts and forgets."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from statistics import median

import pytest
from tests.store.making import DAY_US, HOUR_US, SECOND_US, answered, event, failed, insert, records_of

from everline.calls.event import RTCP, EventBatch
from everline.calls.facts import facts_of
from everline.calls.record import Outcome, is_challenge
from everline.calls.timeout import Patience
from everline.store.clickhouse import ClickHouseStore
from everline.store.errors import StoreDeadlineError
from everline.store.filters import CallFilter, FailedTarget
from everline.store.late_calls import late_calls
from everline.store.store import MAX_MESSAGES, Store

HALF_HOUR_US = HOUR_US // 2


async def test_messages_come_back_byte_for_byte(store: Store, era_us: int) -> None:
    """Whatever the method and protocol, by capture time and event key, each once."""
    name = f"bytes-{era_us}"
    events = [
        event(name, era_us, payload=bytes(range(256)), user_agent="\\xff\x00é", event_key=2),
        event(name, era_us, payload=b"", event_key=1),
        event(name, era_us + DAY_US, "REGISTER", event_key=2**64 - 1, cseq=2**32 - 1),
        event(name, era_us + 1, "", protocol=RTCP, payload=b'{"ssrc":1}'),
    ]
    await insert(store, events, events[::-1])

    assert await store.messages(name) == [events[1], events[0], events[3], events[2]]
    assert await store.messages(name, limit=2) == [events[1], events[0]]


async def test_what_is_no_call_has_no_record(store: Store, era_us: int) -> None:
    """Registrations, quality reports and pings are kept and make no call, whatever their Call-ID."""
    name = f"none-{era_us}"
    await insert(
        store, [event(name, era_us, "REGISTER"), event(name, era_us, "OPTIONS"), event(name, era_us, protocol=RTCP)]
    )

    assert await store.call(name) is None
    assert (await store.search(CallFilter(since_us=era_us, until_us=era_us + 1))).records == ()


async def test_inserting_again_changes_nothing(store: Store, era_us: int) -> None:
    """A retry, a mirrored packet or a replay is harmless."""
    events = answered(f"again-{era_us}", era_us) + failed(f"again2-{era_us}", era_us, 404)
    await insert(store, events)
    bounds = (era_us, era_us + HOUR_US)
    before = await store.search(CallFilter(since_us=era_us, until_us=bounds[1])), await store.kpis(*bounds)

    await insert(store, events, events[:3], [])

    assert (await store.search(CallFilter(since_us=era_us, until_us=bounds[1])), await store.kpis(*bounds)) == before
    assert before[0].records == tuple(records_of(events))


async def test_a_call_over_midnight_is_one_call(store: Store, era_us: int) -> None:
    """Its rows lie in two hours and two days; every question joins them."""
    events = answered(f"midnight-{era_us}", era_us + DAY_US - 6 * SECOND_US, talk_s=7200)
    await insert(store, events)
    [expected] = records_of(events)
    day = (era_us, era_us + DAY_US)

    assert await store.call(expected.call_id) == expected
    assert (await store.search(CallFilter(since_us=day[0], until_us=day[1]))).records == (expected,)
    assert (await store.search(CallFilter(since_us=day[1], until_us=day[1] + DAY_US))).records == ()
    assert (await store.kpis(*day)).acd_s == 7200
    assert (await store.kpis(day[1], day[1] + DAY_US)).attempts == 0


async def test_figures_are_those_of_the_records(store: Store, era_us: int) -> None:
    """The engine counts what Python would count from the records."""
    chance = random.Random(5)
    events = [event(f"{era_us}-re", era_us, to_tag="tt")]  # Only a re-INVITE was seen: no new attempt.
    for index in range(80):
        name, start_us = f"{era_us}-{index}", era_us + chance.randrange(2 * HOUR_US)
        if index % 4:
            events += answered(name, start_us, talk_s=chance.randrange(600))[: chance.randrange(1, 5)]
        else:
            events += failed(name, start_us, chance.choice([302, 401, 404, 480, 486, 487, 503]))
        if index % 10 == 1:
            events.append(event(name, start_us + 3 * SECOND_US, "CANCEL"))
    chance.shuffle(events)
    await insert(store, events[:100], events[100:])
    records = [one for one in records_of(events) if not one.call_id.endswith("-re")]

    whole = await store.kpis(era_us, era_us + 2 * HOUR_US)
    steps = await store.series(era_us, era_us + 2 * HOUR_US, 700)

    assert whole.attempts == len(records)
    assert whole.answered == sum(one.answered_us is not None for one in records)
    assert whole.outcomes == {
        name.value: calls for name in Outcome if (calls := sum(one.outcome is name for one in records))
    }
    assert whole.talk_s == pytest.approx(sum(one.talk_s or 0 for one in records))
    seizures = len(records) - sum(map(is_challenge, records))
    assert whole.asr_ratio == pytest.approx(whole.answered / seizures)
    assert whole.pdd_p50_s == median(one.pdd_s for one in records if one.pdd_s is not None)
    assert [one.start_us for one in steps] == [era_us + step * 700 * SECOND_US for step in range(11)]
    assert [one.kpis.attempts for one in steps] == [
        sum(one.start_us <= record.start_us < one.start_us + 700 * SECOND_US for record in records) for one in steps
    ]
    assert sum(one.kpis.answered for one in steps) == whole.answered


async def test_an_attempt_is_counted_in_the_range_of_its_start(store: Store, era_us: int) -> None:
    """Tried again across the hour, a call is counted in the hour before, and there alone."""
    name = f"{era_us}-edge"
    await insert(store, [
        event(name, era_us + HOUR_US - 1),
        event(name, era_us + HOUR_US - 1, status=407, to_tag="p"),
        event(name, era_us + HOUR_US + 1, cseq=2),
        event(name, era_us + HOUR_US + 2, cseq=2, status=200, to_tag="t"),
    ])  # fmt: skip

    hours = await store.series(era_us, era_us + 3 * HOUR_US, 3600)

    assert [(one.kpis.attempts, one.kpis.answered) for one in hours] == [(1, 1), (0, 0), (0, 0)]
    assert (await store.kpis(era_us + HOUR_US, era_us + 2 * HOUR_US)).attempts == 0


async def test_without_calls_there_are_no_ratios(store: Store, era_us: int) -> None:
    """Nothing attempted: None, not zero."""
    figures = await store.kpis(era_us, era_us + HOUR_US)

    assert (figures.attempts, figures.asr_ratio, figures.acd_s, figures.pdd_p50_s) == (0, None, None, None)
    assert (await store.kpis(era_us, era_us)).attempts == 0


async def test_a_delay_of_no_calls_is_no_delay(store: Store, era_us: int) -> None:
    """A call that never rang, and one without any response, say nothing of delays; zero would be the best of all."""
    await insert(store, failed(f"{era_us}-silent", era_us, 503), [event(f"{era_us}-mute", era_us + HOUR_US)])

    hours = await store.series(era_us, era_us + 2 * HOUR_US, 3600)

    assert [one.kpis.attempts for one in hours] == [1, 1]
    assert [(one.kpis.pdd_p50_s, one.kpis.pdd_p95_s) for one in hours] == [(None, None)] * 2
    assert hours[0].kpis.srd_p50_s is not None
    assert (hours[1].kpis.srd_p50_s, hours[1].kpis.srd_p95_s) == (None, None)


async def test_a_series_of_too_many_steps_is_refused(store: Store, era_us: int) -> None:
    """The answer is bounded."""
    for step_s in (0, 1):
        with pytest.raises(ValueError, match="steps"):
            await store.series(era_us, era_us + DAY_US, step_s)


async def test_top_failures(store: Store, era_us: int) -> None:
    """Destinations by how often they were not reached."""
    for index, (callee, status) in enumerate([("1", 503), ("1", 503), ("2", 404), ("1", 486), ("3", 404), ("2", 404)]):
        await insert(store, failed(f"{era_us}-{index}", era_us + index, status, to_user=callee))

    found = await store.top_failures(era_us, era_us + HOUR_US, limit=3)

    assert found == [FailedTarget("1", 503, 2), FailedTarget("2", 404, 2), FailedTarget("1", 486, 1)]


async def test_stale_calls_are_those_that_went_silent(store: Store, era_us: int) -> None:
    """
    For longer than their state allows, oldest first.

    Ended calls, and calls of which anything was heard since, are not among them; a timeout ends them.
    """
    silent, older = f"{era_us}-silent", f"{era_us}-older"
    events = [
        *answered(silent, era_us)[:3],
        *answered(older, era_us - SECOND_US)[:3],
        *answered(f"{era_us}-ended", era_us),
        *answered(f"{era_us}-heard", era_us)[:3],
        event(f"{era_us}-heard", era_us + 2 * HOUR_US, "OPTIONS"),
    ]
    await insert(store, events)
    bounds = {"since_us": era_us - HOUR_US, "now_us": era_us + HOUR_US}
    patience = Patience(ringing_us=SECOND_US, answered_us=HALF_HOUR_US)
    open_calls = [one for one in records_of(events) if one.call_id in {silent, older}][::-1]

    assert await store.stale(patience, **bounds) == open_calls
    assert await store.stale(patience, **bounds, limit=1) == open_calls[:1]
    assert await store.stale(replace(patience, answered_us=2 * HOUR_US), **bounds) == []
    await insert(store, [event(silent, era_us + HOUR_US, "TIMEOUT")])
    assert await store.stale(patience, **bounds) == open_calls[:1]
    record = await store.call(silent)
    assert record is not None
    assert (record.outcome, record.ended_us) == (Outcome.TIMED_OUT, era_us + HOUR_US)


async def test_late_calls_are_those_that_go_on_or_have_just_ended(store: Store, era_us: int) -> None:
    """With their facts as Python joins them: live state is rebuilt from these."""
    events = [
        *answered(f"{era_us}-old", era_us),
        *answered(f"{era_us}-going-on", era_us + SECOND_US)[:3],
        *answered(f"{era_us}-just-ended", era_us + HOUR_US),
    ]
    await insert(store, events)

    late = late_calls(store.ask, era_us, ended_since_us=era_us + HOUR_US, limit=10_000)
    found = [one async for one in late if one[0].startswith(f"{era_us}-")]  # Other tests' eras are later.

    by_call = {call_id: [one for one in events if one.call_id == call_id] for call_id, _ in found}
    assert sorted(by_call) == [f"{era_us}-going-on", f"{era_us}-just-ended"]
    assert dict(found) == {call_id: facts_of(its) for call_id, its in by_call.items()}


async def test_old_days_are_dropped_whole(store: Store) -> None:
    """Nothing of what is kept is touched; look-ups of a week that is half gone lead to no harm."""
    wednesday = date(2001, 5, 16)
    noon_us = int(datetime.combine(wednesday, datetime.min.time(), UTC).timestamp() + 43_200) * SECOND_US
    old, kept = failed("old", noon_us - DAY_US, 404), failed("kept", noon_us, 404)
    await insert(store, old + kept + failed("long ago", noon_us - 30 * DAY_US, 404))

    assert await store.drop_before(wednesday) == 5  # messages and calls of two days, look-ups of one week
    assert await store.drop_before(wednesday) == 0
    assert await store.messages("old") == []
    assert await store.call("old") is None
    assert (await store.search(CallFilter(until_us=noon_us + 1, status=404))).records == tuple(records_of(kept))
    assert await store.drop_before(wednesday + timedelta(days=1)) == 2


async def test_events_of_many_days_fit_one_batch(store: Store) -> None:
    """An old capture may hold more days than the engine takes by default."""
    start_us = 700_000_000 * SECOND_US
    await store.insert(EventBatch.of(event(f"day-{day}", start_us + day * DAY_US) for day in range(150)))

    assert len((await store.search(CallFilter(until_us=start_us + 200 * DAY_US), limit=1000)).records) == 150
    await store.drop_before(date(2000, 1, 1))


async def test_a_store_answers_while_it_takes(store: Store, era_us: int) -> None:
    """Reading and writing have a thread each."""

    async def write(part: int) -> None:
        for index in range(8):
            await insert(store, answered(f"{era_us}-{part}-{index}", era_us + index))

    async def read() -> list[int]:
        bounds = CallFilter(since_us=era_us, until_us=era_us + HOUR_US)
        return [len((await store.search(bounds)).records) for _ in range(8)]

    _, _, seen = await asyncio.gather(write(1), write(2), read())

    assert seen == sorted(seen)
    assert len((await store.search(CallFilter(since_us=era_us, until_us=era_us + HOUR_US))).records) == 16


async def test_a_batch_of_any_size_is_taken(store: Store, era_us: int) -> None:
    """A large one is written piece by piece."""
    name = f"large-{era_us}"
    await store.insert(EventBatch.of(event(name, era_us + index, "INFO") for index in range(60_000)))
    await insert(store, [event(name, era_us)])

    record = await store.call(name)

    assert record is not None
    assert record.messages == 60_001
    assert len(await store.messages(name)) == MAX_MESSAGES


async def test_a_question_has_a_deadline(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with an error that says what to do, and the store goes on."""
    asking = store._reader if isinstance(store, ClickHouseStore) else store
    monkeypatch.setattr(asking, "_query_s" if isinstance(store, ClickHouseStore) else "_deadline_s", 1)
    with pytest.raises(StoreDeadlineError, match="ask for a shorter time"):
        await store.ask("SELECT count() FROM system.numbers")
    monkeypatch.undo()
    assert await store.call("none") is None


async def test_what_a_late_question_has_answered_is_not_in_the_next_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine may have given a part of it before its time was up."""
    asking = store._reader if isinstance(store, ClickHouseStore) else store
    monkeypatch.setattr(asking, "_query_s" if isinstance(store, ClickHouseStore) else "_deadline_s", 0.5)
    with pytest.raises(StoreDeadlineError):
        await store.ask("SELECT number, cityHash64(number) AS hash FROM system.numbers WHERE hash % 10 = 3")
    monkeypatch.undo()
    assert list((await store.ask("SELECT toUInt8(7) AS seven")).column("seven")) == [7]

"""The verdict finds what is missing, what is there twice, and what is wrong; and nothing else."""

from dataclasses import replace

import pytest
from rich.console import Console
from tests.drill.making import GAP_US, NOW_US, keep, sent_run

from everline.calls.event import EventBatch
from everline.calls.record import State
from everline.calls.timeout import Patience, timeout_event
from everline.drill.held import Held, read_held
from everline.drill.ledger import Outage, SendLedger, events_of
from everline.drill.recovery import Moment, Recovery, most_lost, stored_again, until_recovered
from everline.drill.report import DrillResult, table_of
from everline.drill.verdict import Verdict, compare, verdict_when_equal
from everline.errors import EverlineError
from everline.store.answer import Answer
from everline.store.embedded import EmbeddedStore
from everline.store.errors import StoreError

WITHIN_S = 20.0


async def held_of(store: EmbeddedStore, ledger: SendLedger) -> Held:
    """What a store holds of a run."""
    return await read_held(store.ask, ledger.run, since_us=ledger.sent[0].sent_us)


async def test_a_run_that_is_stored_whole_is_clean(store: EmbeddedStore) -> None:
    """In any order, and twice: it is merged."""
    ledger = sent_run("clean")
    await keep(store, ledger.sent[::-1])
    await keep(store, ledger.sent[100:200])
    verdict = await verdict_when_equal(store.ask, ledger, within_s=WITHIN_S)

    assert verdict.is_clean
    assert verdict.sent == verdict.stored == len(ledger.sent)
    assert verdict.converged_after_s is not None


async def test_another_run_is_not_this_one(store: EmbeddedStore) -> None:
    """Nor one whose name begins alike, or would match a pattern."""
    ledger = sent_run("mine")
    for run in ("mine", "mine2", "m_ne", "%"):
        await keep(store, sent_run(run).sent)

    assert compare(ledger, await held_of(store, ledger)).is_clean
    assert compare(sent_run("%"), await held_of(store, sent_run("%"))).is_clean


async def test_an_event_that_was_dropped_is_found_with_its_node(store: EmbeddedStore) -> None:
    """And the record without it is not called wrong as well."""
    ledger = sent_run("dropped")
    gone = ledger.sent.pop(150)
    await keep(store, ledger.sent)
    ledger.sent.insert(150, gone)
    verdict = compare(ledger, await held_of(store, ledger))

    assert verdict.lost == (gone,)
    assert verdict.is_equal
    assert not verdict.is_clean
    [lost] = verdict.lost_by_node()
    assert (lost.node, lost.events, lost.first_us, lost.last_us) == ("n1", 1, gone.sent_us, gone.sent_us)


async def test_what_a_dead_node_was_sent_is_not_lost(store: EmbeddedStore) -> None:
    """Nobody had accepted it: it is counted by itself."""
    ledger = sent_run("outage")
    await keep(store, [*ledger.sent[:100], *ledger.sent[120:]])
    outage = Outage("n1", NOW_US + 100 * GAP_US, NOW_US + 119 * GAP_US)
    verdict = compare(ledger, await held_of(store, ledger), outages=[outage])

    assert verdict.is_clean
    assert (verdict.undelivered, verdict.stored) == (20, len(ledger.sent) - 20)


async def test_an_event_that_is_kept_under_two_times_is_a_double(store: EmbeddedStore) -> None:
    """One key, two capture times: merging can't make one of them."""
    ledger = sent_run("doubled")
    await keep(store, ledger.sent)
    [event] = events_of(ledger.sent[7:8])
    await store.insert(EventBatch.of([event._replace(captured_us=event.captured_us + 1)]))
    verdict = compare(ledger, await held_of(store, ledger))

    assert verdict.duplicated == ((event.call_id, event.event_key),)
    assert not verdict.is_equal


async def test_an_event_that_nobody_sent_is_found(store: EmbeddedStore) -> None:
    """It has the run's name and is not in its ledger."""
    ledger = sent_run("foreign")
    await keep(store, ledger.sent)
    unknown = ledger.sent.pop(3)

    assert compare(ledger, await held_of(store, ledger)).unknown == ((unknown.call_id, unknown.event_key),)


async def test_a_record_that_differs_in_a_field_is_found(store: EmbeddedStore) -> None:
    """By call, field, and both values; records that are missing or too many likewise."""
    ledger = sent_run("changed")
    await keep(store, ledger.sent)
    held = await held_of(store, ledger)
    records = dict(held.records)
    first, second, *_ = records
    records[first] = replace(records[first], cause=99)
    records["stranger"] = records.pop(second)
    verdict = compare(ledger, replace(held, records=records))

    [wrong] = verdict.wrong
    assert (wrong.call_id, wrong.field, wrong.expected, wrong.found) == (first, "cause", "0", "99")
    assert verdict.missing_calls == (second,)
    assert verdict.extra_calls == ("stranger",)


async def test_a_call_that_was_given_up_meanwhile_is_not_wrong(store: EmbeddedStore) -> None:
    """The timeout that a leader wrote belongs to the call."""
    ledger = sent_run("silent")
    await keep(store, ledger.sent)
    records = (await held_of(store, ledger)).records.values()
    open_call = next(record for record in records if record.state is not State.ENDED)
    timeout = timeout_event(open_call, Patience(1, 1), now_us=open_call.last_us + 10, node="leader")
    assert timeout is not None
    await store.insert(EventBatch.of([timeout]))

    assert compare(ledger, await held_of(store, ledger)).is_clean


async def test_waiting_ends_when_the_last_event_is_stored(store: EmbeddedStore) -> None:
    """A store that can't be asked for a while is asked again."""
    ledger = sent_run("late")
    await keep(store, ledger.sent[:-1])
    answers = 0

    async def ask(sql: str) -> Answer:
        nonlocal answers
        answers += 1
        if answers == 1:
            raise StoreError("away")
        if answers == 3:
            await keep(store, ledger.sent[-1:])
        return await store.ask(sql)

    verdict = await verdict_when_equal(ask, ledger, within_s=WITHIN_S)

    assert verdict.is_clean
    assert verdict.converged_after_s
    assert verdict.converged_after_s > 0.5


async def test_waiting_ends_at_the_deadline_with_what_was_found(store: EmbeddedStore) -> None:
    """And a store that can't be asked even then is an error."""
    ledger = sent_run("never")
    await keep(store, ledger.sent[:-1])

    async def away(_: str) -> Answer:
        raise StoreError("away")

    verdict = await verdict_when_equal(store.ask, ledger, within_s=0)
    assert verdict.lost == (ledger.sent[-1],)
    assert verdict.converged_after_s is None
    with pytest.raises(StoreError, match="away"):
        await verdict_when_equal(away, ledger, within_s=0)


async def test_a_loss_that_the_formula_allows_is_accepted_once_it_grows_no_smaller(store: EmbeddedStore) -> None:
    """Two readings must agree."""
    ledger = sent_run("allowed")
    await keep(store, ledger.sent[:-3])
    verdict = await verdict_when_equal(store.ask, ledger, within_s=WITHIN_S, most_lost=5)

    assert len(verdict.lost) == 3
    assert verdict.converged_after_s is not None


async def test_while_events_still_come_the_loss_is_not_settled(store: EmbeddedStore) -> None:
    """Though it is below what is allowed from the first reading on."""
    ledger = sent_run("coming")
    await keep(store, ledger.sent[:-3])
    readings = 0

    async def ask(sql: str) -> Answer:
        nonlocal readings
        found = await store.ask(sql)
        readings += 1
        if readings == 1:
            await keep(store, ledger.sent[-3:])
        return found

    verdict = await verdict_when_equal(ask, ledger, within_s=WITHIN_S, most_lost=5)

    assert verdict.is_clean


async def test_what_is_not_equal_does_not_converge(store: EmbeddedStore) -> None:
    """Nothing is lost, and one event is there twice."""
    ledger = sent_run("unequal")
    await keep(store, ledger.sent)
    [event] = events_of(ledger.sent[:1])
    await store.insert(EventBatch.of([event._replace(captured_us=event.captured_us + 1)]))
    verdict = await verdict_when_equal(store.ask, ledger, within_s=0.1)

    assert verdict.converged_after_s is None
    assert not verdict.is_equal


def test_the_most_that_a_killed_node_may_lose() -> None:
    """One batch that fills, one that is being inserted, and what the kernel holds."""
    assert most_lost(rate_per_s=100, batch_ms=100, insert_ms=50) == 15
    assert most_lost(rate_per_s=100, batch_ms=100, insert_ms=50, in_kernel=7) == 22


async def test_recovery_is_the_first_event_that_was_sent_after_the_fault(store: EmbeddedStore) -> None:
    """Of each node that is named; what was sent before says nothing."""
    ledger = sent_run("again")
    await keep(store, ledger.sent[:300])
    moment = Moment.now()
    fault = replace(moment, epoch_us=NOW_US + 299 * GAP_US)
    looks = 0

    async def probe() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            await keep(store, ledger.sent[300:])
        return await stored_again(store.ask, "again", fault, nodes=frozenset({"drill"}))()

    recovery = await until_recovered("first event", probe, since=fault, within_s=WITHIN_S)

    assert looks == 2
    assert 0 < recovery.rto_s < WITHIN_S
    assert not await stored_again(store.ask, "again", fault, nodes=frozenset({"n7"}))()
    assert not await stored_again(store.ask, "nothing was sent", fault)()


async def test_what_comes_back_late_is_told_with_its_time() -> None:
    """A figure says more than that there was none."""
    late = replace(Moment.now(), monotonic_s=Moment.now().monotonic_s - 5)

    async def at_once() -> bool:
        return True

    recovery = await until_recovered("writes resume", at_once, since=late, within_s=2)

    assert recovery.rto_s >= 5
    assert not recovery.is_in_time


async def test_what_does_not_come_back_is_an_error() -> None:
    """It says what was waited for."""

    async def never() -> bool:
        return False

    with pytest.raises(EverlineError, match="within 0 s: writes resume"):
        await until_recovered("writes resume", never, since=Moment.now(), within_s=0)


@pytest.mark.parametrize(
    ("rto_s", "lost", "most", "double", "passed"),
    [
        pytest.param(2.0, 0, 0, False, True, id="clean"),
        pytest.param(2.1, 0, 0, False, False, id="not-in-time"),
        pytest.param(None, 0, 0, False, False, id="never"),
        pytest.param(1.0, 1, 0, False, False, id="lossy"),
        pytest.param(1.0, 1, 1, False, True, id="no-more-lost-than-allowed"),
        pytest.param(1.0, 0, 0, True, False, id="not-equal"),
    ],
)
def test_what_passes(*, rto_s: float | None, lost: int, most: int, double: bool, passed: bool) -> None:
    """In time, no more lost than allowed, and all equal."""
    ledger = sent_run("passes", 3)
    recovery = None if rto_s is None else Recovery("first event", rto_s, 2)
    verdict = Verdict(3, 0, 3, lost=tuple(ledger.sent[:lost]), duplicated=(("call", 1),) if double else ())

    result = DrillResult("a fault", recovery, verdict, most)
    assert result.is_passed is passed
    assert result.is_only_late is (rto_s == 2.1)


def test_the_report_says_what_was_found() -> None:
    """For people and for programs."""
    ledger = sent_run("report", 10)
    clean = DrillResult("clean", Recovery("first event", 1.25, 2), Verdict(10, 0, 10, converged_after_s=0.5))
    lossy = DrillResult("lossy", None, Verdict(10, 0, 9, lost=(ledger.sent[0],)))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table_of([clean, lossy]))
    text = capture.get()

    assert clean.is_passed
    assert not lossy.is_passed
    assert "1.2 s (≤ 2)" in text
    assert "never" in text
    assert lossy.as_json()["verdict"]["lost_by_node"][0]["node"] == "n1"
    assert clean.as_json()["recovery"] == {"what": "first event", "rto_s": 1.25, "within_s": 2}

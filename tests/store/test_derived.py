"""The facts and the record of a call are the same in SQL and in Python, whatever happens to its events."""

from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.making import DAY_US, HOUR_US, SECOND_US, any_call, event, insert
from tests.store.merging import as_columns, as_stored, facts_and_columns

from everline.calls.event import Event
from everline.calls.facts import facts_of
from everline.calls.record import State, is_call, record_of
from everline.store.derived import ENDED_IN_ROW
from everline.store.filters import CallFilter
from everline.store.literals import texts
from everline.store.store import Store

START_US = 1_480_000_000 * SECOND_US // DAY_US * DAY_US + 20 * HOUR_US
_numbers = count()


@st.composite
def some_calls(draw: st.DrawFn) -> dict[str, list[Event]]:
    """A few calls with Call-IDs never used before."""
    names = [f"any-{next(_numbers)}" for _ in range(draw(st.integers(1, 6)))]
    return {name: draw(any_call(name, START_US)) for name in names}


async def maybe_open(store: Store, names: Iterable[str]) -> set[str]:
    """Calls with a row that does not show their end: no call in progress may be missing among them."""
    where = f"in_call = 1 AND call_id IN {texts(names)} AND NOT ({ENDED_IN_ROW})"
    return set((await store.ask(f"SELECT DISTINCT call_id FROM everline.calls WHERE {where}")).column("call_id"))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=some_calls(), data=st.data())
async def test_facts_and_records_are_those_of_python(
    store: Store, calls: dict[str, list[Event]], data: st.DataObject
) -> None:
    """In any order, with repetitions, and split over batches in any way (DESIGN: a call is a merge)."""
    events = [one for its in calls.values() for one in its]
    again = data.draw(st.lists(st.sampled_from(events), max_size=8))
    order = data.draw(st.permutations(events + again))
    cut = data.draw(st.integers(0, len(order)))
    await insert(store, order[:cut], order[cut:])

    expected = {name: facts_of(its) for name, its in calls.items() if is_call(facts_of(its))}
    found = await facts_and_columns(store.ask, list(calls))

    assert {name: facts for name, (facts, _) in found.items()} == {k: as_stored(v) for k, v in expected.items()}
    records = {name: record_of(name, facts) for name, facts in expected.items()}
    assert {name: columns for name, (_, columns) in found.items()} == {k: as_columns(v) for k, v in records.items()}
    assert {name for name, one in records.items() if one.state is not State.ENDED} <= await maybe_open(store, calls)
    for name in calls:
        assert await store.call(name) == records.get(name)
        page = await store.search(CallFilter(call_id=name, since_us=START_US))
        assert page.records == ((records[name],) if name in records else ())


@pytest.mark.parametrize(
    ("rest", "state", "outcome", "status"),
    [
        pytest.param([], State.TRYING, None, None, id="only-an-invite"),
        pytest.param([(1, "INVITE", 180, {})], State.RINGING, None, None, id="ringing"),
        pytest.param([(1, "INVITE", 407, {})], State.ENDED, "failed", 407, id="a-challenge-is-the-last-word"),
        pytest.param(
            [(1, "INVITE", 407, {}), (2, "INVITE", 0, {"cseq": 2})], State.TRYING, None, None,
            id="a-new-attempt-voids-the-challenge",
        ),
        pytest.param(
            [(1, "INVITE", 486, {"dst_ip": "x"}), (2, "INVITE", 503, {}), (3, "INVITE", 404, {"dst_ip": "x"})],
            State.ENDED, "failed", 503, id="of-a-fork-what-the-caller-was-told",
        ),
        pytest.param(
            [(1, "INVITE", 200, {"to_tag": "t"}), (2, "INVITE", 491, {"cseq": 2})], State.ANSWERED, None, 200,
            id="a-refused-re-invite-ends-no-call",
        ),
        pytest.param([(1, "CANCEL", 0, {})], State.ENDED, "cancelled", None, id="cancelled-by-the-caller"),
        pytest.param([(1, "CANCEL", 0, {"src_ip": "x"})], State.TRYING, None, None, id="a-proxy-cancels-a-branch"),
        pytest.param([(9, "TIMEOUT", 0, {})], State.ENDED, "timed_out", None, id="silence"),
        pytest.param([(9, "TIMEOUT", 0, {}), (10, "ACK", 0, {})], State.TRYING, None, None, id="not-silent-after-all"),
    ],
)  # fmt: skip
async def test_the_same_rules_as_the_record(
    store: Store,
    era_us: int,
    rest: list[tuple[int, str, int, dict[str, Any]]],
    state: State,
    outcome: str | None,
    status: int | None,
) -> None:
    """The cases that a reader would ask for by name."""
    name = f"case-{era_us}"
    events = [event(name, era_us)]
    events += [event(name, era_us + at * SECOND_US, method, code, **fields) for at, method, code, fields in rest]
    await insert(store, events[::-1])

    [(_, columns)] = (await facts_and_columns(store.ask, [name])).values()

    assert (columns["state"], columns["outcome"] or None, columns["status"] or None) == (state, outcome, status)
    assert columns == as_columns(record_of(name, facts_of(events)))

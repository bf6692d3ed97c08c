"""Live state: each step of a call is told once, whatever arrives in whatever order, and memory is bounded."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.calls.dialogs import START_US, disordered, flow

from everline.bus.memory import LINGER_US, MAX_MEMBERS, STRAY_US, SWEEP_EVERY_US, MemoryBus
from everline.bus.transition import ANSWER, CREATE, HANGUP, RINGING
from everline.calls.event import Event, EventBatch
from everline.calls.facts import facts_of
from everline.calls.record import State, is_challenge, record_of

ANSWERED: Final = "0 A>B INVITE\n1 B>A 180\n5 B>A 200\n5.1 A>B ACK\n60 A>B BYE\n60.1 B>A 200/BYE"
REFUSED: Final = "0 A>B INVITE\n0.1 B>A 100\n1 B>A 180\n9 B>A 486\n9.1 A>B ACK"
CANCELLED: Final = "0 A>B INVITE\n1 B>A 180\n9 A>B CANCEL\n9.1 B>A 200/CANCEL\n9.2 B>A 487"
CHALLENGED: Final = (
    "0 A>P INVITE\n0.1 P>A 407 tag=p\n0.2 A>P ACK tag=p\n0.3 A>P INVITE cseq=2\n1 P>A 180 cseq=2\n"
    "5 P>A 200 cseq=2\n60 B>A BYE"
)
FORKED: Final = (
    "0 A>P INVITE\n0.1 P>B INVITE\n0.1 P>C INVITE\n1 B>P 180\n1.1 P>A 180 tag=b\n3 B>P 486\n"
    "5 C>P 200\n5.1 P>A 200 tag=c\n60 A>C BYE"
)
TIMED_OUT: Final = "0 A>B INVITE\n1 B>A 180\n301 A>B TIMEOUT"
FLOWS: Final = {
    "answered": ANSWERED, "refused": REFUSED, "cancelled": CANCELLED,
    "challenged": CHALLENGED, "forked": FORKED, "timed-out": TIMED_OUT,
}  # fmt: skip


async def give(bus: MemoryBus, events: Sequence[Event], *, at_us: int | None = None) -> None:
    """Insert one batch, received when it was captured unless told otherwise."""
    if at_us is not None:
        events = [one._replace(received_us=at_us) for one in events]
    await bus.insert(EventBatch.of(events))


def told(bus: MemoryBus, call_id: str = "") -> list[str]:
    """Types of all transitions, or of those of one call, in order."""
    return [one.event_type for one in bus.transitions_after(0) or () if call_id in {"", one.call_id}]


def steps_of(events: Iterable[Event]) -> set[str]:
    """What must be told of a call once all of it was seen."""
    record = record_of("x", facts_of(events))
    steps = {CREATE: True, RINGING: record.ringing_us, ANSWER: record.answered_us}
    steps[HANGUP] = record.state is State.ENDED and not is_challenge(record)
    return {name for name, is_reached in steps.items() if is_reached}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("answered", [CREATE, RINGING, ANSWER, HANGUP]),
        ("refused", [CREATE, RINGING, HANGUP]),
        ("cancelled", [CREATE, RINGING, HANGUP]),
        ("challenged", [CREATE, RINGING, ANSWER, HANGUP]),
        ("timed-out", [CREATE, RINGING, HANGUP]),
    ],
)
async def test_the_steps_of_a_call_are_told_in_order(name: str, expected: list[str]) -> None:
    """Message by message, or all of it in one batch."""
    events = flow(FLOWS[name])
    one_by_one, at_once = MemoryBus(), MemoryBus()
    for event in events:
        await give(one_by_one, [event])
    await give(at_once, events)

    assert told(one_by_one) == told(at_once) == expected
    assert [one.stream_id for one in at_once.transitions_after(0) or ()] == list(range(1, len(expected) + 1))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FLOWS)), st.randoms(use_true_random=False))
async def test_each_step_is_told_exactly_once(name: str, random: Random) -> None:
    """In any order, with repetitions, in any batches; the call comes first, and all of its steps come."""
    events = disordered(flow(FLOWS[name]), random)
    bus = MemoryBus()
    while events:
        size = random.randint(1, len(events))
        await give(bus, events[:size], at_us=START_US)
        events = events[size:]

    assert max(Counter(told(bus)).values()) == 1
    assert told(bus)[0] == CREATE
    # A step told may be undone by what comes later (a branch that failed, then an answer); none is missing.
    assert set(told(bus)) >= steps_of(flow(FLOWS[name]))
    final = record_of("x", facts_of(flow(FLOWS[name])))
    assert bus.in_progress == (final.state is not State.ENDED)


async def test_a_transition_has_one_id_wherever_it_is_published() -> None:
    """Two nodes that see the same step publish the same event."""
    buses = [MemoryBus(), MemoryBus()]
    for bus, events in zip(buses, (flow(ANSWERED), flow(ANSWERED)[::-1]), strict=True):
        await give(bus, events)
    ids = [{one.event_type: one.event_id for one in bus.transitions_after(0) or ()} for bus in buses]

    assert ids[0] == ids[1]
    assert len(set(ids[0].values())) == 4
    first = next(iter(buses[0].transitions_after(0) or ()))
    assert first.message() == {
        "event_type": CREATE,
        "event_id": first.event_id,
        "call_id": first.call_id,
        "caller_uri": "sip:alice@a.example",
        "callee_uri": "sip:bob@b.example",
        "timestamp": START_US / 1e6,
    }


async def test_a_challenge_is_no_hangup() -> None:
    """The caller is about to try again."""
    bus = MemoryBus()
    await give(bus, flow("0 A>P INVITE\n0.1 P>A 407 tag=p\n0.2 A>P ACK tag=p"))

    assert told(bus) == [CREATE]


async def test_a_call_that_was_given_up_and_speaks_again_is_live_again() -> None:
    """It was silent for long and had not ended; when it does, nothing is told twice."""
    bus = MemoryBus()
    await give(bus, flow("0 A>B INVITE\n5 B>A 200\n14405 A>B TIMEOUT"))
    assert (told(bus), bus.live()) == ([CREATE, ANSWER, HANGUP], [])

    await give(bus, flow("14500 A>B OPTIONS"))
    assert [one.state for one in bus.live()] == [State.ANSWERED]
    assert bus.in_progress == 1

    await give(bus, flow("14600 A>B BYE"))
    assert (told(bus), bus.in_progress) == ([CREATE, ANSWER, HANGUP], 0)


async def test_late_messages_of_an_ended_call_make_no_new_one() -> None:
    """For as long as they may come: the call is remembered for a while, then forgotten."""
    bus = MemoryBus()
    await give(bus, flow(ANSWERED), at_us=START_US)
    await give(bus, flow("99 A>B INVITE", call_id="other"), at_us=START_US + LINGER_US)
    await give(bus, flow(ANSWERED), at_us=START_US + LINGER_US)
    assert len(told(bus)) == 5

    await give(bus, flow("0 A>B OPTIONS", call_id="ping"), at_us=START_US + 3 * LINGER_US)
    assert len(bus._calls) == 2


@pytest.mark.parametrize("stray", ["OPTIONS", "MESSAGE", "BYE"])
async def test_messages_without_a_call_tell_nothing_and_expire(stray: str) -> None:
    """They are kept as long as their INVITE may still come."""
    bus = MemoryBus()
    await give(bus, [one for index in range(50) for one in flow(f"0 A>B {stray}", call_id=f"{index}")], at_us=START_US)
    assert (bus.last_id, bus.live(), len(bus._calls)) == (0, [], 50)

    await give(bus, flow("0 A>B INVITE"), at_us=START_US + STRAY_US + SWEEP_EVERY_US)

    assert len(bus._calls) == 1


async def test_registrations_and_quality_reports_are_no_live_state() -> None:
    """They are not even remembered."""
    bus = MemoryBus()
    await give(bus, flow("0 A>B REGISTER\n0.1 B>A 200/REGISTER"))

    assert len(bus._calls) == 0


async def test_a_bye_that_comes_before_its_invite_is_joined_with_it() -> None:
    """The order of arrival does not matter."""
    bus = MemoryBus()
    for event in flow(ANSWERED)[::-1]:
        await give(bus, [event], at_us=START_US)

    assert set(told(bus)) == {CREATE, RINGING, ANSWER, HANGUP}
    assert bus.live() == []


async def test_a_flood_of_call_ids_stays_bounded() -> None:
    """What is forgotten is counted, the ended ones first and the oldest first."""
    bus = MemoryBus(max_calls=100)
    await give(bus, flow(ANSWERED, call_id="ended"), at_us=START_US + 5)
    await give(bus, flow("0 A>B INVITE", call_id="oldest"), at_us=START_US)
    for index in range(1_000):
        await give(bus, flow("0 A>B INVITE", call_id=f"{index}"), at_us=START_US + 10 + index)
        assert len(bus._calls) <= 101

    assert "ended" not in bus._calls
    assert "oldest" not in bus._calls
    assert "999" in bus._calls
    assert bus.evicted + len(bus._calls) == 1_002


async def test_one_call_id_with_endless_messages_stays_bounded() -> None:
    """Some devices ping for ever with one Call-ID; the end of a call is still seen."""
    bus = MemoryBus()
    await give(bus, flow("0 A>B INVITE"))
    for start in range(0, 3 * MAX_MEMBERS, 500):
        pings = [flow(f"{second} A>B OPTIONS ua=agent-{second}")[0] for second in range(start + 1, start + 501)]
        await give(bus, pings)
    [call] = bus._calls.values()
    assert max(len(value) for value in call.values if isinstance(value, set)) <= MAX_MEMBERS

    await give(bus, flow("9999 A>B CANCEL\n9999.1 B>A 487"))
    assert told(bus) == [CREATE, HANGUP]


async def test_who_missed_too_much_is_told_so() -> None:
    """None, never a stream with a hole; a position of another bus is none of ours."""
    bus = MemoryBus(max_transitions=5)
    for index in range(8):
        await give(bus, flow("0 A>B INVITE", call_id=f"{index}"))

    assert [one.stream_id for one in bus.transitions_after(3) or ()] == [4, 5, 6, 7, 8]
    assert bus.transitions_after(8) == []
    assert bus.transitions_after(2) is None
    assert bus.transitions_after(9) is None
    assert bus.transitions_after(-1) is None
    assert MemoryBus().epoch != bus.epoch


async def test_waiting_ends_with_the_next_transition() -> None:
    """For all who wait; at once if there is one already; when time is up if there is none."""
    bus = MemoryBus()
    waiting = [asyncio.create_task(bus.wait(0, 3600)) for _ in range(3)]
    await asyncio.sleep(0)
    await give(bus, flow("0 A>B OPTIONS", call_id="stray"))
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)

    await give(bus, flow("0 A>B INVITE"))

    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
        await bus.wait(0, 3600)
        await bus.wait(1, 0.001)


async def test_a_message_that_changes_nothing_wakes_nobody() -> None:
    """A retransmission, or a new ringing that tells no new step."""
    bus = MemoryBus()
    await give(bus, flow("0 A>B INVITE\n2 B>A 180"))
    waiting = asyncio.create_task(bus.wait(bus.last_id, 3600))
    await asyncio.sleep(0)

    await give(bus, flow("0 A>B INVITE\n1 B>A 180"))
    await asyncio.sleep(0)

    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_live_calls_are_given_newest_first() -> None:
    """By the time they began, not by when they were heard of; as they are now; at most so many."""
    bus = MemoryBus()
    for name in ("3", "1", "2"):
        await give(bus, flow(f"{name} A>B INVITE", call_id=name))
    await give(bus, flow("0 A>B INVITE\n1 B>A 486", call_id="over"))
    await give(bus, flow("9 B>A 200", call_id="1"))

    assert [one.call_id for one in bus.live()] == ["3", "2", "1"]
    assert [one.call_id for one in bus.live(2)] == ["3", "2"]
    assert bus.live()[-1].state is State.ANSWERED
    assert bus.live()[-1].messages == 2
    assert bus.in_progress == 3

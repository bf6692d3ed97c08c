"""Live state: each step of a call is told once, whatever arrives in whatever order, through whichever bus."""

import asyncio
from collections import Counter
from random import Random

import pytest
from tests.bus.flows import ANSWERED, FLOWS, give, steps_of, told, transitions
from tests.calls.dialogs import START_US, disordered, flow

from everline.bus.live import LiveBus, Position
from everline.bus.memory import MemoryBus
from everline.bus.steps import LINGER_US
from everline.bus.transition import ANSWER, CREATE, HANGUP, RINGING
from everline.calls.facts import facts_of
from everline.calls.record import State, record_of


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
async def test_the_steps_of_a_call_are_told_in_order(bus: LiveBus, name: str, expected: list[str]) -> None:
    """Message by message, or all of it in one batch."""
    start = await bus.position()
    for event in flow(FLOWS[name], call_id="one-by-one"):
        await give(bus, [event])
    await give(bus, flow(FLOWS[name], call_id="at-once"))

    assert await told(bus, start, "one-by-one") == await told(bus, start, "at-once") == expected
    ids = [one.stream_id for one in await transitions(bus, start)]
    assert len(set(ids)) == len(ids) == 2 * len(expected)


@pytest.mark.parametrize("name", sorted(FLOWS))
@pytest.mark.parametrize("seed", range(25))
async def test_each_step_is_told_exactly_once(bus: LiveBus, name: str, seed: int) -> None:
    """In any order, with repetitions, in any batches; the call comes first, and all of its steps come."""
    random, start = Random(seed), await bus.position()
    events = disordered(flow(FLOWS[name]), random)
    while events:
        size = random.randint(1, len(events))
        await give(bus, events[:size], at_us=START_US)
        events = events[size:]

    names = await told(bus, start)
    assert max(Counter(names).values()) == 1
    assert names[0] == CREATE
    # A step told may be undone by what comes later (a branch that failed, then an answer); none is missing.
    assert set(names) >= steps_of(flow(FLOWS[name]))
    final = record_of(flow(FLOWS[name])[0].call_id, facts_of(flow(FLOWS[name])))
    assert await bus.live() == ([final] if final.state is not State.ENDED else [])
    assert await bus.in_progress() == (final.state is not State.ENDED)


async def test_a_transition_has_one_id_wherever_it_is_published(bus: LiveBus) -> None:
    """Two nodes that see the same step publish the same event."""
    other = MemoryBus()
    starts = [await bus.position(), await other.position()]
    for one, events in zip((bus, other), (flow(ANSWERED), flow(ANSWERED)[::-1]), strict=True):
        await give(one, events)
    news = [await transitions(*one) for one in zip((bus, other), starts, strict=True)]
    ids = [{one.event_type: one.event_id for one in list_} for list_ in news]

    assert ids[0] == ids[1]
    assert len(set(ids[0].values())) == 4
    first = news[0][0]
    assert first.message() == {
        "event_type": CREATE,
        "event_id": first.event_id,
        "call_id": first.call_id,
        "caller_uri": "sip:alice@a.example",
        "callee_uri": "sip:bob@b.example",
        "timestamp": START_US / 1e6,
    }


async def test_a_challenge_is_no_hangup(bus: LiveBus) -> None:
    """The caller is about to try again."""
    start = await bus.position()
    await give(bus, flow("0 A>P INVITE\n0.1 P>A 407 tag=p\n0.2 A>P ACK tag=p"))

    assert await told(bus, start) == [CREATE]


async def test_a_call_that_was_given_up_and_speaks_again_is_live_again(bus: LiveBus) -> None:
    """It was silent for long and had not ended; when it does, nothing is told twice."""
    start = await bus.position()
    await give(bus, flow("0 A>B INVITE\n5 B>A 200\n14405 A>B TIMEOUT"))
    assert (await told(bus, start), await bus.live()) == ([CREATE, ANSWER, HANGUP], [])

    await give(bus, flow("14500 A>B OPTIONS"))
    assert [one.state for one in await bus.live()] == [State.ANSWERED]
    assert await bus.in_progress() == 1

    await give(bus, flow("14600 A>B BYE"))
    assert (await told(bus, start), await bus.in_progress()) == ([CREATE, ANSWER, HANGUP], 0)


async def test_late_messages_of_an_ended_call_make_no_new_one(bus: LiveBus) -> None:
    """For as long as they may come."""
    start = await bus.position()
    await give(bus, flow(ANSWERED), at_us=START_US)
    await give(bus, flow("99 A>B INVITE", call_id="other"), at_us=START_US + LINGER_US)
    await give(bus, flow(ANSWERED), at_us=START_US + LINGER_US)

    assert len(await told(bus, start)) == 5


async def test_a_bye_that_comes_before_its_invite_is_joined_with_it(bus: LiveBus) -> None:
    """The order of arrival does not matter."""
    start = await bus.position()
    for event in flow(ANSWERED)[::-1]:
        await give(bus, [event], at_us=START_US)

    assert set(await told(bus, start)) == {CREATE, RINGING, ANSWER, HANGUP}
    assert await bus.live() == []


@pytest.mark.parametrize("stray", ["OPTIONS", "MESSAGE", "BYE", "REGISTER"])
async def test_messages_without_a_call_tell_nothing(bus: LiveBus, stray: str) -> None:
    """Nor are they live calls."""
    start = await bus.position()
    await give(bus, [one for index in range(50) for one in flow(f"0 A>B {stray}", call_id=f"{index}")])

    assert (await told(bus, start), await bus.live(), await bus.in_progress()) == ([], [], 0)


@pytest.mark.parametrize("what", ["{other}:{id}", "{epoch}:9999999999999", "{other}:0"])
async def test_a_position_of_no_transition_of_ours_is_said_to_be_none(bus: LiveBus, what: str) -> None:
    """None, never a stream with a hole."""
    await give(bus, flow(ANSWERED))
    here = await bus.position()
    text = what.format(epoch=here.epoch, id=here.stream_id, other="0" * len(here.epoch))
    position = Position.parse(text)
    assert position is not None

    assert await bus.transitions_after(position) is None
    assert await bus.transitions_after(here) == []


async def test_the_stream_goes_on_from_any_of_its_transitions(bus: LiveBus) -> None:
    """By the id of the last one seen."""
    start = await bus.position()
    await give(bus, flow(ANSWERED))
    news = await transitions(bus, start)

    for seen, last in enumerate(news, 1):
        assert await transitions(bus, Position(start.epoch, last.stream_id)) == news[seen:]
    assert (await bus.position()).stream_id == news[-1].stream_id


async def test_waiting_ends_with_the_next_transition(bus: LiveBus) -> None:
    """For all who wait; at once if there is one already; when time is up if there is none."""
    start = await bus.position()
    waiting = [asyncio.create_task(bus.wait(start, 3600)) for _ in range(3)]
    await asyncio.sleep(0)
    await give(bus, flow("0 A>B OPTIONS", call_id="stray"))
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)

    await give(bus, flow("0 A>B INVITE"))

    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
        await bus.wait(start, 3600)
        await bus.wait(await bus.position(), 0.001)


async def test_a_message_that_changes_nothing_wakes_nobody(bus: LiveBus) -> None:
    """A retransmission, or a new ringing that tells no new step."""
    await give(bus, flow("0 A>B INVITE\n2 B>A 180"))
    waiting = asyncio.create_task(bus.wait(await bus.position(), 3600))
    await asyncio.sleep(0)

    await give(bus, flow("0 A>B INVITE\n1 B>A 180"))
    await asyncio.sleep(0)

    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_live_calls_are_given_newest_first(bus: LiveBus) -> None:
    """By the time they began, not by when they were heard of; as they are now; at most so many."""
    for name in ("3", "1", "2"):
        await give(bus, flow(f"{name} A>B INVITE", call_id=name))
    await give(bus, flow("0 A>B INVITE\n1 B>A 486", call_id="over"))
    await give(bus, flow("9 B>A 200", call_id="1"))

    assert [one.call_id for one in await bus.live()] == ["3", "2", "1"]
    assert [one.call_id for one in await bus.live(2)] == ["3", "2"]
    assert (await bus.live())[-1].state is State.ANSWERED
    assert (await bus.live())[-1].messages == 2
    assert await bus.in_progress() == 3

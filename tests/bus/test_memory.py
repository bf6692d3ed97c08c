"""The bus in memory stays bounded: what is forgotten is forgotten in a good order, and counted."""

import pytest
from tests.bus.flows import ANSWERED, give, told
from tests.calls.dialogs import START_US, flow

from everline.bus.live import Position
from everline.bus.memory import SWEEP_EVERY_US, MemoryBus
from everline.bus.steps import LINGER_US, MAX_MEMBERS, STRAY_US
from everline.bus.transition import CREATE, HANGUP


async def test_an_ended_call_is_remembered_for_a_while_then_forgotten() -> None:
    """As long as late messages of it may come."""
    bus = MemoryBus()
    await give(bus, flow(ANSWERED), at_us=START_US)
    await give(bus, flow("99 A>B INVITE", call_id="other"), at_us=START_US + LINGER_US)
    assert len(bus._calls) == 2

    await give(bus, flow("0 A>B OPTIONS", call_id="ping"), at_us=START_US + 3 * LINGER_US)
    assert len(bus._calls) == 2


@pytest.mark.parametrize("stray", ["OPTIONS", "MESSAGE", "BYE"])
async def test_messages_without_a_call_expire(stray: str) -> None:
    """They are kept as long as their INVITE may still come."""
    bus = MemoryBus()
    await give(bus, [one for index in range(50) for one in flow(f"0 A>B {stray}", call_id=f"{index}")], at_us=START_US)
    assert len(bus._calls) == 50

    await give(bus, flow("0 A>B INVITE"), at_us=START_US + STRAY_US + SWEEP_EVERY_US)

    assert len(bus._calls) == 1


async def test_registrations_are_not_even_remembered() -> None:
    """They are no live state."""
    bus = MemoryBus()
    await give(bus, flow("0 A>B REGISTER\n0.1 B>A 200/REGISTER"))

    assert len(bus._calls) == 0


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
    assert bus.counts.evicted + len(bus._calls) == 1_002


async def test_one_call_id_with_endless_messages_stays_bounded() -> None:
    """Some devices ping for ever with one Call-ID; the end of a call is still seen."""
    bus = MemoryBus()
    start = await bus.position()
    await give(bus, flow("0 A>B INVITE"))
    for first in range(0, 3 * MAX_MEMBERS, 500):
        pings = [flow(f"{second} A>B OPTIONS ua=agent-{second}")[0] for second in range(first + 1, first + 501)]
        await give(bus, pings)
    [call] = bus._calls.values()
    assert max(len(value) for value in call.values if isinstance(value, set)) <= MAX_MEMBERS

    await give(bus, flow("9999 A>B CANCEL\n9999.1 B>A 487"))
    assert await told(bus, start) == [CREATE, HANGUP]


async def test_who_missed_too_much_is_told_so() -> None:
    """None, never a stream with a hole; a position of another bus is none of ours."""
    bus = MemoryBus(max_transitions=5)
    epoch = (await bus.position()).epoch
    for index in range(8):
        await give(bus, flow("0 A>B INVITE", call_id=f"{index}"))

    kept = await bus.transitions_after(Position(epoch, "3"))
    assert [one.stream_id for one in kept or ()] == ["4", "5", "6", "7", "8"]
    assert await bus.transitions_after(Position(epoch, "8")) == []
    for unknown in ("2", "9", "1-1"):
        assert await bus.transitions_after(Position(epoch, unknown)) is None
    assert (await MemoryBus().position()).epoch != epoch

"""The bus on Redis: any number of nodes merge into it, each step is told once, and it comes back from every loss."""

import asyncio
import json
import logging
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random
from time import monotonic

import pytest
from tests.bus.conftest import redis_bus
from tests.bus.flows import ANSWERED, FLOWS, give, steps_of, told, transitions
from tests.calls.dialogs import disordered, flow
from tests.rigs.redis import RedisRig

from everline.bus.discovery import RedisPrimary
from everline.bus.errors import BusError
from everline.bus.live import LiveBus, Position
from everline.bus.redis import RedisBus
from everline.bus.scripts import CALL, EVENTS, IDLE, LIVE, UNTOLD
from everline.bus.steps import KEYS, MAX_MEMBERS
from everline.bus.transition import CREATE, HANGUP
from everline.calls.event import Event, EventBatch
from everline.calls.facts import Facts, facts_of
from everline.calls.record import State, record_of

RECOVERY_S = 20.0
RINGING_CALLS = 20


@pytest.fixture
def empty(rig: RedisRig) -> RedisRig:
    """Redis with nothing in it, for tests that do it no harm."""
    rig.primary().ask("FLUSHALL")
    return rig


async def insert_until_taken(bus: LiveBus, events: Sequence[Event]) -> float:
    """As a lane does: again until it is taken. Seconds that it took."""
    began_s = monotonic()
    async with asyncio.timeout(RECOVERY_S):
        while True:
            try:
                await bus.insert(EventBatch.of(events))
            except BusError:
                await asyncio.sleep(0.05)
                continue
            return monotonic() - began_s


async def open_calls(events: Sequence[Event], *, counted: str = "") -> AsyncIterator[tuple[str, Facts]]:
    """What a store would say of these; perhaps only how many events there are."""
    for call_id in sorted({one.call_id for one in events}):
        facts = facts_of([one for one in events if one.call_id == call_id])
        yield call_id, (*facts[:KEYS], len(facts[KEYS]), *facts[KEYS + 1 :]) if counted else facts


@pytest.mark.parametrize("seed", range(20))
async def test_two_nodes_with_the_same_or_different_packets_tell_each_step_once(empty: RedisRig, seed: int) -> None:
    """All flows at once, dealt to two nodes in any order, with repetitions, in any batches, at the same time."""
    random = Random(seed)
    calls = {f"{name}-{number}": flow(FLOWS[name], call_id=f"{name}-{number}") for name in FLOWS for number in range(5)}
    every = [event for events in calls.values() for event in events]
    async with redis_bus(empty) as one, redis_bus(empty) as other:
        start = await one.position()

        async def bring(bus: RedisBus, events: list[Event]) -> None:
            while events:
                size = random.randint(1, 60)
                await give(bus, events[:size])
                del events[:size]

        mirrored = random.random()
        dealt: tuple[list[Event], list[Event]] = ([], [])
        for event in every:
            for share in dealt if random.random() < mirrored else (random.choice(dealt),):
                share.append(event)
        await asyncio.gather(bring(one, disordered(dealt[0], random)), bring(other, disordered(dealt[1], random)))

        news = await transitions(other, start)
        assert max(Counter((item.call_id, item.event_type) for item in news).values()) == 1
        for call_id, events in calls.items():
            assert {item.event_type for item in news if item.call_id == call_id} >= steps_of(events), call_id
        merged = [record_of(call_id, facts_of(events)) for call_id, events in calls.items()]
        going_on = {record.call_id: record for record in merged if record.state is not State.ENDED}
        for bus in (one, other):
            assert {record.call_id: record for record in await bus.live()} == going_on
        assert await one.in_progress() == len(going_on)
        assert empty.primary().ask("ZCARD", UNTOLD).endswith(":0\r\n")


async def test_a_call_split_over_two_nodes_is_one_call(empty: RedisRig) -> None:
    """Neither has seen all of it; the end that one of them saw ends it for both."""
    invite, ringing, answer, *_, bye, _ = flow(ANSWERED)
    async with redis_bus(empty) as one, redis_bus(empty) as other:
        start = await one.position()
        await give(one, [invite])
        await give(other, [ringing])
        await give(one, [answer])
        assert [record.state for record in await other.live()] == [State.ANSWERED]
        await give(other, [bye])

        assert await told(one, start) == ["call_create", "caller_ringing", "call_answer", "call_hangup"]
        assert await one.live() == []
        last = (await transitions(one, start))[-1].record
        assert (last.talk_s, last.caller_uri) == (55.0, "sip:alice@a.example")


async def test_odd_bytes_survive(empty: RedisRig) -> None:
    """A Call-ID or a header that is no Unicode, NULs, quotes: records are the same as without Redis."""
    odd = "a\0b\1\"\\/é\udcff€'"
    events = [
        one._replace(from_user=odd, user_agent=odd, to_tag=one.to_tag and odd, agent=odd)
        for one in flow("0 A>B INVITE\n1 B>A 180\n2 B>A 200", call_id=odd)
    ]
    async with redis_bus(empty) as one, redis_bus(empty) as other:
        start = await one.position()
        for event in events:
            await give(one, [event])

        assert await other.live() == [record_of(odd, facts_of(events))]
        assert (await transitions(other, start))[-1].record == record_of(odd, facts_of(events))


async def test_a_step_is_published_to_who_listens(empty: RedisRig) -> None:
    """On the channel of its call, as JSON."""
    async with redis_bus(empty) as bus:
        async with bus._primary.connect().pubsub() as listening:
            await listening.subscribe("call:event:x")
            await give(bus, flow("0 A>B INVITE", call_id="x"))
            await give(bus, flow("0 A>B INVITE", call_id="other"))
            heard: list[dict[str, bytes]] = []
            async with asyncio.timeout(5):
                while not heard:
                    said = await listening.get_message(ignore_subscribe_messages=True, timeout=0.1)
                    heard += [said] if said else []
        message = json.loads(heard[0]["data"])
        assert {"event_type", "call_id", "event_id", "caller_uri", "callee_uri", "timestamp"} <= set(message)
        assert (message["event_type"], message["call_id"]) == (CREATE, "x")


async def test_one_node_hears_what_another_tells(empty: RedisRig) -> None:
    """All who wait there wake, and go on from where they were, on that node or another."""
    async with redis_bus(empty) as one, redis_bus(empty) as other:
        start = await other.position()
        waiting = [asyncio.create_task(other.wait(start, 60)) for _ in range(50)]
        await asyncio.sleep(0)
        await give(one, flow(ANSWERED))
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)

        news = await other.transitions_after(start)
        assert news
        assert await transitions(one, Position(start.epoch, news[0].stream_id)) == (await transitions(one, start))[1:]


async def test_a_stream_that_was_cut_off_says_so(empty: RedisRig) -> None:
    """None, never a stream with a hole."""
    async with redis_bus(empty, max_transitions=100) as bus:
        start = await bus.position()
        await give(bus, flow("0 A>B INVITE", call_id="first"))
        first = await bus.position()
        for number in range(10):
            await give(bus, [flow("0 A>B INVITE", call_id=f"{number}-{index}")[0] for index in range(100)])

        assert await bus.transitions_after(start) is None
        assert await bus.transitions_after(first) is None
        length = int(empty.primary().ask("XLEN", EVENTS).split(":")[-1])
        assert length < 400


async def test_an_empty_redis_is_another_stream(empty: RedisRig) -> None:
    """Positions of the one before are none."""
    async with redis_bus(empty) as bus:
        await give(bus, flow(ANSWERED))
        before = await bus.position()
        waiting = asyncio.create_task(bus.wait(before, 60))
        await asyncio.sleep(0.1)
        empty.primary().ask("FLUSHALL")

        async with asyncio.timeout(5):
            await waiting
        assert (await bus.position()).epoch != before.epoch
        assert await bus.transitions_after(before) is None


async def test_a_flood_of_call_ids_stays_bounded(empty: RedisRig) -> None:
    """Ended and stray ones go first, then those that began first."""
    async with redis_bus(empty, max_calls=200) as bus:
        await give(bus, flow(ANSWERED, call_id="ended"))
        for number in range(20):
            await give(bus, [flow(f"{number} A>B INVITE", call_id=f"{number}-{index}")[0] for index in range(50)])

        primary = empty.primary()
        assert await bus.in_progress() == 200
        assert {one.call_id.split("-")[0] for one in await bus.live()} == {"16", "17", "18", "19"}
        assert primary.ask("EXISTS", f"{CALL}ended").endswith(":0\r\n")
        assert primary.ask("ZCARD", IDLE).endswith(":0\r\n")
        assert bus.counts.evicted == 801


async def test_what_is_over_expires(empty: RedisRig) -> None:
    """Ended calls and strays after their time, calls in progress never."""
    async with redis_bus(empty) as bus:
        await give(bus, flow(ANSWERED, call_id="ended"))
        await give(bus, flow("0 A>B OPTIONS", call_id="stray"))
        await give(bus, flow("0 A>B INVITE", call_id="live"))

        ttl = {name: int(empty.primary().ask("TTL", CALL + name).split(":")[-1]) for name in ("ended", "stray", "live")}
        assert 110 <= ttl["ended"] <= 120
        assert 25 <= ttl["stray"] <= 32
        assert ttl["live"] == -1


async def test_one_call_id_with_endless_messages_stays_bounded(empty: RedisRig) -> None:
    """Some devices ping for ever with one Call-ID; the end of a call is still seen."""
    async with redis_bus(empty) as bus:
        start = await bus.position()
        await give(bus, flow("0 A>B INVITE"))
        for first in range(0, 3 * MAX_MEMBERS, 500):
            await give(bus, [flow(f"{at} A>B OPTIONS ua=agent-{at}")[0] for at in range(first + 1, first + 501)])
        for first in range(0, 3 * MAX_MEMBERS, 500):
            await give(bus, [flow(f"{5000 + at} A>B CANCEL")[0] for at in range(first + 1, first + 501)])
        size = int(empty.primary().ask("HLEN", CALL + flow("0 A>B INVITE")[0].call_id).split(":")[-1])
        assert size < 6 * MAX_MEMBERS

        await give(bus, flow("9999 A>B CANCEL\n9999.1 B>A 487"))
        assert await told(bus, start) == [CREATE, HANGUP]


async def test_steps_whose_teller_is_gone_are_told_by_a_sweep(empty: RedisRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that merged beside another one, and died before it had looked."""
    monkeypatch.setattr("everline.bus.redis.UNTOLD_S", 0.0)
    invite, *_, bye, _ = flow(ANSWERED)
    async with redis_bus(empty) as one, redis_bus(empty) as other, redis_bus(empty) as leader:
        start = await one.position()
        await give(one, [invite])
        rows = [other._merging.row(bye.call_id, facts_of([bye]))]
        assert (await other._merged(rows))[2:] == [1]  # It is to look, and doesn't.
        assert await told(one, start) == [CREATE]
        await asyncio.sleep(0.01)

        assert await leader.retell() == 1

        assert await told(one, start) == [CREATE, HANGUP]
        assert await leader.retell() == 0


async def test_a_late_leader_is_refused(empty: RedisRig) -> None:
    """Whoever has a lower token than one that was seen writes nothing."""
    async with redis_bus(empty) as bus:
        assert await bus.fenced_set("everline:test", "first", 2**53 + 1)
        assert await bus.fenced_set("everline:test", "second", 2**53 + 2)
        assert not await bus.fenced_set("everline:test", "late", 2**53 + 1)
        assert await bus.fenced_set("everline:test", "again", 2**53 + 2)
        assert await bus._primary.command("GET", "everline:test") == b"again"


async def test_what_redis_can_not_now_is_an_error_to_try_again(empty: RedisRig) -> None:
    """No memory, too few replicas: nothing is lost, since the lane gives it again; nothing is suspected."""
    primary = empty.primary()
    async with redis_bus(empty) as bus:
        for key, bad, good in (("maxmemory", "1", "0"), ("min-replicas-to-write", "5", "0")):
            primary.ask("CONFIG", "SET", key, bad)
            with pytest.raises(BusError, match="can't now"):
                await give(bus, flow(ANSWERED, call_id=key))
            primary.ask("CONFIG", "SET", key, good)
            await give(bus, flow(ANSWERED, call_id=key))
            assert await told(bus, replace(await bus.position(), stream_id="0-0"), key)


async def test_a_batch_that_was_half_taken_is_given_again(empty: RedisRig) -> None:
    """The answer was lost: what was merged stays, the rest comes, nothing is told twice."""
    async with redis_bus(empty) as bus:
        start = await bus.position()
        await bus._merged([bus._merging.row(one[0].call_id, facts_of(one)) for one in [flow(ANSWERED)]])
        await give(bus, flow(ANSWERED))
        await give(bus, flow(ANSWERED)[:2])

        assert len(await told(bus, start)) == 4


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["kill -9", "SIGSTOP"])
async def test_when_the_primary_is_lost_then_live_state_and_subscribers_go_on(
    redis: RedisRig, fault: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls in progress are known as before, what comes meanwhile waits, and those who listen hear it."""
    caplog.set_level(logging.ERROR)
    calls = [event for number in range(RINGING_CALLS) for event in flow("0 A>B INVITE\n1 B>A 180", call_id=f"{number}")]
    answers = [event for number in range(RINGING_CALLS) for event in flow("5 B>A 200", call_id=f"{number}")]
    async with redis_bus(redis) as node, redis_bus(redis) as app:
        await give(node, calls)
        start = await app.position()
        listening = asyncio.create_task(app.wait(start, 60))
        await node._primary.command("WAIT", 2, 300)
        lost = redis.primary()
        began_s = monotonic()
        lost.kill() if fault is signal.SIGKILL else lost.signal(fault)

        took_s = await insert_until_taken(node, answers)
        async with asyncio.timeout(RECOVERY_S):
            await listening
        heard_s = monotonic() - began_s

        print(f"Redis primary {fault.name}: merges again after {took_s:.2f} s, subscriber hears after {heard_s:.2f} s")
        news = await transitions(app, start)
        assert Counter(one.event_type for one in news) == {"call_answer": RINGING_CALLS}
        assert {one.state for one in await app.live()} == {State.ANSWERED}
        assert await app.in_progress() == RINGING_CALLS
        assert await app.needs_rebuild()


async def test_a_batch_that_comes_before_there_is_a_primary_waits_for_it(empty: RedisRig) -> None:
    """It need not be given again: that would cost the pause between two tries."""
    primary = RedisPrimary(empty.settings())
    inserting = asyncio.create_task(RedisBus(primary).insert(EventBatch.of(flow(ANSWERED))))
    await asyncio.sleep(0)
    assert primary.trouble
    watching = asyncio.create_task(primary.run())

    async with asyncio.timeout(RECOVERY_S):
        await inserting

    watching.cancel()
    await asyncio.wait([watching])


@pytest.mark.parametrize("counted", ["", "the store only counts events"])
async def test_when_all_of_redis_comes_back_empty_then_live_state_is_rebuilt(redis: RedisRig, counted: str) -> None:
    """From what the store knows, silently; what happens afterwards is told, once."""
    calls = [event for number in range(RINGING_CALLS) for event in flow("0 A>B INVITE\n1 B>A 180", call_id=f"{number}")]
    ends = [event for number in range(RINGING_CALLS) for event in flow("9 B>A 486", call_id=f"{number}")]
    async with redis_bus(redis) as node, redis_bus(redis) as leader:
        assert await leader.needs_rebuild()
        assert await leader.rebuild(open_calls([])) == 0
        await give(node, calls)
        before = await leader.position()
        assert not await leader.needs_rebuild()

        redis.kill_all()
        with pytest.raises(BusError):
            await leader.live()
        await asyncio.to_thread(redis.start)
        began_s = monotonic()
        async with asyncio.timeout(RECOVERY_S):
            await node._primary.ready(RECOVERY_S)
            await leader._primary.ready(RECOVERY_S)
        async with redis_bus(redis) as fresh:  # A leader that knows nothing of these calls itself.
            assert await fresh.needs_rebuild()
            assert await fresh.live() == []
            assert await fresh.rebuild(open_calls(calls, counted=counted)) == RINGING_CALLS
            print(f"all of Redis back empty: {RINGING_CALLS} calls rebuilt {monotonic() - began_s:.2f} s after")
            assert not await fresh.needs_rebuild()

            start = await fresh.position()
            assert start.epoch != before.epoch
            assert await fresh.transitions_after(before) is None
            assert (await fresh.in_progress(), await told(fresh, start)) == (RINGING_CALLS, [])
            await insert_until_taken(node, calls)
            async with redis_bus(redis) as newcomer:  # And one that sees only the ends of them.
                await asyncio.gather(insert_until_taken(node, ends), insert_until_taken(newcomer, ends))
            assert Counter(await told(fresh, start)) == {HANGUP: RINGING_CALLS}
            assert await fresh.in_progress() == 0


async def test_a_node_that_saw_the_calls_heals_an_empty_redis_too(redis: RedisRig) -> None:
    """It gives what it knows of a call when Redis knows less, and tells nothing twice."""
    async with redis_bus(redis) as node:
        await give(node, flow("0 A>B INVITE\n1 B>A 180"))
        redis.primary().ask("FLUSHALL")
        await give(node, flow("5 B>A 200"))

        start = replace(await node.position(), stream_id="0-0")
        assert await told(node, start) == ["call_answer"]
        assert await node.live() == [record_of(flow(ANSWERED)[0].call_id, facts_of(flow(ANSWERED)[:3]))]


async def test_merges_lost_in_a_failover_are_healed_by_a_rebuild(redis: RedisRig) -> None:
    """What the old primary took with it is joined again from the store; a step lost with it is told, with its id."""
    known, lost = flow("0 A>B INVITE", call_id="x"), flow("3 B>A 180", call_id="x")
    async with redis_bus(redis) as leader:
        await leader.rebuild(open_calls([]))
        await give(leader, known)
    redis.primary().ask("CONFIG", "REWRITE")
    async with redis_bus(redis) as leader:
        start = await leader.position()
        assert not await leader.needs_rebuild()
        redis.primary().kill()
        await insert_until_taken(leader, flow("0 A>B OPTIONS", call_id="y"))

        assert await leader.needs_rebuild()
        await leader.rebuild(open_calls([*known, *lost]))

        assert await told(leader, start) == ["caller_ringing"]
        assert not await leader.needs_rebuild()


@pytest.mark.parametrize("again", ["by its node, with the next message", "by the leader, from the store"])
async def test_an_end_that_was_told_by_a_primary_that_took_it_along_is_told_again(redis: RedisRig, again: str) -> None:
    """Else a page that goes on at the next primary would show the call for ever."""
    talk, end = flow("0 A>B INVITE\n3 B>A 200", call_id="x"), flow("9 A>B BYE", call_id="x")
    async with redis_bus(redis) as node, redis_bus(redis) as leader:
        await leader.rebuild(open_calls([]))
        await give(node, talk)
        start = await node.position()
        kept = await node._primary.command("DUMP", f"{CALL}x")
        await give(node, end)
        assert await told(node, start) == [HANGUP]
        [(lost, _)] = await node._primary.command("XREVRANGE", EVENTS, "+", "-", "COUNT", 1)
        redis.primary().kill()
        await insert_until_taken(leader, flow("0 A>B OPTIONS", call_id="y"))
        # What the next primary would have if it had not heard of the end in time.
        await leader._primary.command("XDEL", EVENTS, lost)
        await leader._primary.command("RESTORE", f"{CALL}x", 0, kept, "REPLACE")
        await leader._primary.command("ZADD", LIVE, 0, "x")

        if "leader" in again:
            assert await leader.rebuild(open_calls([*talk, *end])) == 0
        else:
            await insert_until_taken(node, end)

        assert await told(leader, start) == [HANGUP]
        assert await leader.in_progress() == 0

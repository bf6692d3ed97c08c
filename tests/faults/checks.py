"""What must be so while a fault lasts, and after it."""

import asyncio
import json
import math
from collections.abc import Sequence
from functools import partial

from tests.faults.acts import forgotten_hour, hit_of, untouched
from tests.faults.eyes import until
from tests.faults.fault import RATE_PER_S, VIP_BACK_S, LateError, Story

from everline.cluster.entry import Kind
from everline.drill.recovery import Moment, Probe, most_lost, until_recovered
from everline.topology.model import Node, Role

UNDISTURBED_S = 3.0
"""A store that is not concerned stores what is sent within this time: a batch, an insert, and a look at it."""
ELECTED_S = 20.0
REPLICATED_S = 90.0


def all_of(*probes: Probe) -> Probe:
    """Whether all of it has come back."""

    async def probe() -> bool:
        return all(await asyncio.gather(*(one() for one in probes)))

    return probe


# --- probes: the first act that shows recovery -----------------------------------------------------------------------


def transitions_come(story: Story) -> Probe:
    """A call's step that was made after the fault stands in the stream of a Redis that it left alone."""
    return story.site.tells_transitions(story.run, story.fault, story.hit)


def transitions_come_after_heal(story: Story) -> Probe:
    """The same, counted from the heal."""
    return story.site.tells_transitions(story.run, story.healed)


def all_ingest_stores(story: Story) -> Probe:
    """Of every ingest node, something that was sent after the fault is stored."""
    return story.site.stores_again(story.run, story.fault)


def all_ingest_stores_after_heal(story: Story) -> Probe:
    """The same, counted from the heal."""
    return story.site.stores_again(story.run, story.healed)


def another_leads(story: Story) -> Probe:
    """Somebody leads by a later token."""
    assert story.term is not None
    return story.site.leads_after(story.term)


def others_go_on(story: Story) -> Probe:
    """All that was not hit stores, tells transitions, and has a leader that was not hit."""
    survivors = untouched(story, Role.INGEST)
    return all_of(
        story.site.stores_again(story.run, story.fault, survivors), transitions_come(story), _led_by_untouched(story)
    )


def _led_by_untouched(story: Story) -> Probe:
    hit = {node.name for node in story.hit}

    async def probe() -> bool:
        now = await story.site.leader()
        return now is not None and now.node not in hit

    return probe


def balancers_left_it(story: Story) -> Probe:
    """No balancer sends to the ingest node that was hit."""
    [node] = hit_of(story, Role.INGEST)
    return story.site.left_by_balancers(node, story.fault)


def another_balances(story: Story) -> Probe:
    """What agents send comes to another balancer."""

    async def probe() -> bool:
        return await story.site.balanced(story.hit) > story.balanced

    return probe


def replicas_are_equal(story: Story) -> Probe:
    """No replica lacks what another has, and no call what its messages say."""
    return story.site.lacks_nothing()


def the_day_is_there_again(story: Story) -> Probe:
    """All copies of what was forgotten are equal."""
    return story.site.lacks_nothing(forgotten_hour())


# --- meanwhile -------------------------------------------------------------------------------------------------------


async def the_store_goes_on(story: Story) -> None:
    """Ingest and store are not concerned."""
    since = Moment.now()
    found = await until_recovered(
        "stored", story.site.stores_again(story.run, since), since=since, within_s=UNDISTURBED_S
    )
    story.figures.append(f"meanwhile stored after {found.rto_s:.1f} s")
    if not found.is_in_time:
        raise LateError(f"the store took {found.rto_s:.1f} s, and should not be disturbed")


async def the_spool_takes_over(story: Story) -> None:
    """Every ingest node keeps what it can't store, and goes on to be ready."""
    nodes = story.site.topology.nodes_of(Role.INGEST)
    await _spool(story, nodes)
    assert await story.site.are_ready(nodes)()


async def the_cut_side_says_so(story: Story) -> None:
    """Its ingest nodes keep what they take in their spools; all miss Keeper, and say that they do not lead."""
    await _spool(story, hit_of(story, Role.INGEST))
    nodes = hit_of(story, Role.INGEST, Role.APP)
    assert not any(await asyncio.gather(*map(story.site.reaches_keeper, nodes)))
    assert not any(await asyncio.gather(*map(story.site.leads_by_its_own_word, nodes)))


async def _spool(story: Story, nodes: Sequence[Node]) -> None:
    for node in nodes:
        await until(story.site.spools(node), within_s=ELECTED_S, what=f"{node.name} keeps batches in its spool")


# --- afterwards ------------------------------------------------------------------------------------------------------


async def the_spools_are_empty(story: Story) -> None:
    """What they kept has gone to the store by itself."""
    for node in story.site.topology.nodes_of(Role.INGEST):
        await until(
            partial(story.site.has_empty_spool, node), within_s=ELECTED_S, what=f"the spool of {node.name} is empty"
        )


async def replicas_become_equal(story: Story) -> None:
    """On every server."""
    found = await until_recovered(
        "replicas equal", replicas_are_equal(story), since=story.healed, within_s=REPLICATED_S, every_s=1.0
    )
    story.figures.append(f"replicas equal {found.rto_s:.1f} s after the heal")
    if not found.is_in_time:
        raise LateError(f"replicas were equal only {found.rto_s:.1f} s after the heal")


async def live_state_is_rebuilt(story: Story) -> None:
    """The calls that were open when Redis forgot them were put back by the leader."""
    rebuilt = [one for one in await story.site.history(story.fault) if one.kind is Kind.BUS_REBUILT]
    calls = [json.loads(one.details)["calls"] for one in rebuilt]
    assert calls, "the failover log has no bus_rebuilt"
    assert calls[0] > 0
    story.figures.append(f"{calls[0]} calls live again")


async def the_cut_side_never_led(story: Story) -> None:
    """Nobody of it was elected from the cut to the heal."""
    hit = {node.name for node in story.hit}
    elected = [one for one in await story.site.history(story.fault) if one.kind is Kind.LEADER_ELECTED]
    assert not [one for one in elected if one.node in hit and one.at_us < story.healed.epoch_us]


async def the_old_leader_is_refused(story: Story) -> None:
    """Its token is too old for the store: what it writes late is not written."""
    assert story.term is not None
    assert await story.site.is_refused(story.term), f"a write with token {story.term.token} was taken"


# --- what may be lost ------------------------------------------------------------------------------------------------


def while_the_vip_moves(story: Story) -> int:
    """What is sent to a VIP that nobody has is lost: rate × the time in which it must be back."""
    bound = math.ceil(RATE_PER_S * VIP_BACK_S)
    story.figures.append(f"may lose {RATE_PER_S:g}/s × {VIP_BACK_S:g} s = {bound} events")
    return bound


def by_the_formula(story: Story) -> int:
    """
    An ingest node that is killed takes what it had not flushed: rate × (batch + insert) + what the kernel held.

    The rate is that of this very time: calls come in bursts.
    """
    [node] = hit_of(story, Role.INGEST)
    topology = story.site.topology
    batch_ms = topology.ingest.batch_ms + topology.store.insert_every_ms
    insert_ms = topology.timers.hedge_ms
    before_us = 1000 * (batch_ms + insert_ms)
    rate = story.load.ledger.per_s(node.name, story.fault.epoch_us - before_us, story.fault.epoch_us)
    bound = most_lost(rate_per_s=rate, batch_ms=batch_ms, insert_ms=insert_ms)
    story.figures.append(f"may lose {math.ceil(rate)}/s × ({batch_ms} ms + {insert_ms} ms) = {bound} events")
    return bound

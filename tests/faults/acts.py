"""How faults are made and ended. Every act that makes one notes when it was and what it hit."""

import asyncio
import time
from collections.abc import Sequence

from tests.faults.eyes import until
from tests.faults.fault import Story

from everline.cluster.candidacy import Term
from everline.drill.ledger import Outage
from everline.drill.recovery import Moment
from everline.store.schema import HOUR_US
from everline.topology.model import Node, Role

NOTICED_S = 20.0
READY_S = 30.0
"""For a node that was restarted."""


def _hit(story: Story, nodes: Sequence[Node]) -> None:
    story.hit = tuple(nodes)
    story.fault = Moment.now()
    story.outages += [
        Outage(node.name, story.fault.epoch_us, story.fault.epoch_us + 3_600_000_000)
        for node in nodes
        if node.role is Role.INGEST
    ]


async def _kill(story: Story, nodes: Sequence[Node]) -> None:
    """All at once, as far as that can be."""
    _hit(story, nodes)
    await story.site.kill(nodes)


async def start_again(story: Story) -> None:
    """Start what was killed."""
    await story.site.start(story.hit)


# --- Redis -----------------------------------------------------------------------------------------------------------


async def kill_redis_primary(story: Story) -> None:
    """SIGKILL."""
    await _kill(story, [await story.site.redis_primary()])


async def freeze_redis_primary(story: Story) -> None:
    """SIGSTOP: its connections stay open, and nothing answers."""
    _hit(story, [await story.site.redis_primary()])
    await story.site.pause(story.hit)


async def let_go(story: Story) -> None:
    """SIGCONT."""
    await story.site.resume(story.hit)


async def cut_redis_primary(story: Story) -> None:
    """Its host's link: silence, nothing is refused."""
    _hit(story, [await story.site.redis_primary()])
    await story.site.cut(*(node.host for node in story.hit))


async def heal_links(story: Story) -> None:
    """Every link carries again."""
    await story.site.heal()


async def kill_all_redis(story: Story) -> None:
    """All of them."""
    await _kill(story, story.site.topology.nodes_of(Role.REDIS))


async def start_redis_empty(story: Story) -> None:
    """With nothing of what they held."""
    for node in story.hit:
        await story.site.forget_calls(node)
    await story.site.start(story.hit)


# --- ClickHouse ------------------------------------------------------------------------------------------------------


def _replica(story: Story, shard: int, number: int) -> Node:
    return story.site.topology.shards[shard][number]


async def kill_replica(story: Story) -> None:
    """One of the first shard's."""
    await _kill(story, [_replica(story, 1, 0)])


async def kill_shard(story: Story) -> None:
    """Both replicas of the first."""
    await _kill(story, story.site.topology.shards[1])


async def kill_all_clickhouse(story: Story) -> None:
    """Every server."""
    await _kill(story, story.site.topology.nodes_of(Role.CLICKHOUSE))


async def wipe_replica(story: Story) -> None:
    """Its data directory is gone with it."""
    await _kill(story, [_replica(story, 2, 1)])
    await story.site.wipe(story.hit[0])


async def repair_store(story: Story) -> None:
    """As an operator does: start the server, and tell Everline to bring it back."""
    await story.site.start(story.hit)
    await story.site.everline("store", "repair", story.hit[0].name)


def forgotten_hour() -> int:
    """An hour of yesterday, since the epoch: nothing merges its parts, by which a replica would fetch them again."""
    return time.time_ns() // 1000 // HOUR_US - 24


async def forget_day(story: Story) -> None:
    """Its parts of a day are gone from disk and Keeper: it comes up without, calls itself well, and never gets them."""
    hour = forgotten_hour()
    sibling, forgetful = story.site.topology.shards[1]
    await story.site.keep_calls_of(hour, [sibling, forgetful])
    await until(story.site.lacks_nothing(hour), within_s=NOTICED_S, what="both have the calls of yesterday")
    await _kill(story, [forgetful])
    await story.site.forget_day(forgetful, hour // 24)
    await story.site.start(story.hit)
    await until(story.site.lacks_messages(forgetful, hour), within_s=NOTICED_S, what="the replica is up, without them")
    story.fault = Moment.now()


# --- Keeper and the leader -------------------------------------------------------------------------------------------


async def _keeper_leader(story: Story) -> Node:
    found = await until(story.site.keeper_leader, within_s=NOTICED_S, what="Keeper has a leader")
    assert found is not None
    return found


async def _leader(story: Story) -> Term:
    found = await until(story.site.leader, within_s=NOTICED_S, what="somebody leads")
    assert found is not None
    return found


async def kill_keeper_leader(story: Story) -> None:
    """The leader of the quorum."""
    await _kill(story, [await _keeper_leader(story)])


async def kill_keeper_quorum(story: Story) -> None:
    """All but one, the leader among them."""
    leader = await _keeper_leader(story)
    others = [node for node in story.site.topology.nodes_of(Role.KEEPER) if node != leader]
    await _kill(story, [leader, *others[: story.site.topology.majority(Role.KEEPER) - 1]])


async def freeze_leader(story: Story) -> None:
    """SIGSTOP for longer than its session."""
    story.term = await _leader(story)
    _hit(story, [story.site.topology.node(story.term.node)])
    await story.site.pause(story.hit)


# --- behind balancers ------------------------------------------------------------------------------------------------


async def freeze_ingest(story: Story) -> None:
    """SIGSTOP: its kernel takes what comes and refuses nothing."""
    _hit(story, story.site.topology.nodes_of(Role.INGEST)[:1])
    await story.site.pause(story.hit)


async def kill_balancer(story: Story) -> None:
    """The one that has the VIP of the agents."""
    holder = await story.site.holder(story.site.front_vip)
    story.balanced = await story.site.balanced([holder])
    await _kill(story, [holder])


async def restart_all_in_turn(story: Story) -> None:
    """Every ingest node, then every balancer of the agents' VIP, each once the one before is back."""
    for node in story.site.topology.nodes_of(Role.INGEST):
        await story.site.restart([node])
        await until(
            story.site.balancers_have(node, is_in=True), within_s=READY_S, what=f"balancers send to {node.name} again"
        )
    for node in story.site.front_vip.nodes:
        await story.site.restart([node])
        await until(story.site.are_ready([node]), within_s=READY_S, what=f"{node.name} is ready")
    story.fault = Moment.now()


# --- ingest nodes, racks, regions ------------------------------------------------------------------------------------


async def kill_ingest(story: Story) -> None:
    """In the middle of a batch: with a steady load there is always one."""
    await _kill(story, story.site.topology.nodes_of(Role.INGEST)[:1])


async def start_until_ready(story: Story) -> None:
    """Start everything that was hit; what was sent to its ingest nodes until they are ready did not arrive."""
    await story.site.start(story.hit)
    ingest = [node for node in story.hit if node.role is Role.INGEST]
    await until(story.site.are_ready(ingest), within_s=3 * NOTICED_S, what="the ingest nodes are ready again")
    now_us = time.time_ns() // 1000
    story.outages = [Outage(one.node, one.since_us, now_us) for one in story.outages]


async def lose_rack(story: Story) -> None:
    """The rack of the Redis primary: all its hosts are cut at once, and then killed."""
    rack = (await story.site.redis_primary()).rack
    nodes = [node for node in story.site.topology.nodes if node.rack == rack]
    story.load.readiness.bar(node.name for node in nodes)
    story.term = await story.site.leader()
    _hit(story, nodes)
    await story.site.cut(rack)
    await story.site.kill(nodes)


async def give_rack_back(story: Story) -> None:
    """Its links first, then all that was on it."""
    await story.site.heal()
    await start_until_ready(story)
    story.load.readiness.bar([])


async def cut_region(story: Story) -> None:
    """The region of the Redis primary: from the other one and from the witness. Agents reach both sides."""
    region = (await story.site.redis_primary()).region
    story.term = await story.site.leader()
    story.hit = tuple(node for node in story.site.topology.nodes if node.region == region)
    story.fault = Moment.now()
    await story.site.cut(region)


async def cascade(story: Story) -> None:
    """One ClickHouse server and one ingest node die while Sentinel replaces the Redis primary."""
    primary = await story.site.redis_primary()
    others = [_replica(story, 2, 0), story.site.topology.nodes_of(Role.INGEST)[1]]
    _hit(story, [primary, *others])
    await story.site.kill([primary])
    await asyncio.sleep(story.site.topology.timers.redis_down_after_ms / 1000)
    await story.site.kill(others)


def hit_of(story: Story, *roles: Role) -> list[Node]:
    """What was hit, of some roles."""
    return [node for node in story.hit if node.role in roles]


def untouched(story: Story, role: Role) -> list[Node]:
    """What was not."""
    return [node for node in story.site.topology.nodes_of(role) if node not in story.hit]

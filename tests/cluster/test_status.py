"""The cluster at one moment."""

import asyncio
import json
import os

from tests.cluster.test_heart import MEMBERS, Listened, beating, until

from everline.cluster.candidacy import Candidate
from everline.cluster.drain import Drains
from everline.cluster.election import Election, State
from everline.cluster.heart import MemoryBeatChannel
from everline.cluster.keeper import Keeper
from everline.cluster.status import view_cluster


async def test_a_view_shows_who_leads_who_is_heard_and_who_is_drained(keeper: Keeper) -> None:
    """C is silent."""
    cluster, channel = f"c{os.urandom(4).hex()}", MemoryBeatChannel()
    election = Election(keeper, cluster, Candidate("a", "ingest", "north"))
    task = asyncio.create_task(election.run())
    async with beating(Listened("a", channel), Listened("b", channel)):
        await until(lambda: election.state is State.LEADER)
        await Drains(keeper, cluster).drain("b", who="ann", at_us=5, reason="new disk")
        view = await view_cluster(cluster, keeper, channel, MEMBERS, heartbeat_ms=100)
    task.cancel()
    await asyncio.wait([task])

    shown = json.loads(json.dumps(view.as_json()))
    assert view.keeper.leader == election.leader
    assert shown["leader"]["node"] == "a"
    assert [one["node"] for one in shown["candidates"]] == ["a"]
    assert shown["drains"] == [{"node": "b", "who": "ann", "at_us": 5, "reason": "new disk"}]
    assert {one["node"]: one["presence"] for one in shown["nodes"]} == {"a": "alive", "b": "alive", "c": "unheard"}
    assert not shown["keeper_fault"] + shown["bus_fault"]


async def test_what_cannot_be_reached_is_said_in_the_view() -> None:
    """The rest is shown all the same."""
    nowhere = Keeper(["127.0.0.1:1"], session_ms=2_000)
    nowhere.start()
    try:
        view = await view_cluster("c", nowhere, MemoryBeatChannel(), MEMBERS, heartbeat_ms=20)
    finally:
        await nowhere.close()

    assert "Keeper did not answer" in view.keeper.fault
    assert "no heartbeat at all" in view.beats.fault
    assert [row.member.node for row in view.beats.rows] == ["a", "b", "c"]

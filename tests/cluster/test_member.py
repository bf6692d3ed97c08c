"""Whole members of a cluster, on a real Keeper: what they do together, and what they write about it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cluster.conftest import keeper_of
from tests.cluster.test_heart import until
from tests.rigs.zookeeper import Ensemble

from everline.bus.discovery import PrimaryChange
from everline.bus.settings import Address
from everline.cluster.drain import Drains
from everline.cluster.entry import Entry, Kind, episodes
from everline.cluster.heart import MemoryBeatChannel
from everline.cluster.journal import MemoryLog
from everline.cluster.member import ClusterMember, Place, keeper_servers, members_of, place_of
from everline.cluster.table import Member, Presence
from everline.topology.parse import parse_topology
from everline.topology.settings import Hook, HookEvent, Timers

TIMERS = Timers(heartbeat_ms=60, suspect_ms=300, dead_ms=900)
MEMBERS = (
    Member("a", "app", "north", "r1", "h1"), Member("b", "app", "south", "r2", "h2"),
    Member("i", "ingest", "south", "r2", "h3"),
)  # fmt: skip


class Cluster:
    """What its members share."""

    def __init__(self, ensemble: Ensemble, directory: Path, hooks: tuple[Hook, ...] = ()) -> None:
        self.name = f"c{os.urandom(4).hex()}"
        self.channel, self.log = MemoryBeatChannel(), MemoryLog()
        self._ensemble, self._directory, self._hooks = ensemble, directory, hooks

    @asynccontextmanager
    async def member(self, number: int) -> AsyncIterator[ClusterMember]:
        """One of them runs."""
        me = MEMBERS[number]
        priority = 0 if me.role == "app" else None
        place = Place(self.name, me, MEMBERS, priority, "0.1.0", TIMERS, self._hooks)
        async with keeper_of(self._ensemble) as keeper:
            member = ClusterMember(
                place, keeper=keeper, channel=self.channel, log_sink=self.log, journal_dir=self._directory / me.node
            )
            task = asyncio.create_task(member.run())
            try:
                yield member
            finally:
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

    async def until_logged(self, *kinds: Kind) -> list[Entry]:
        """The log once it has all these."""
        await until(lambda: set(kinds) <= {one.kind for one in self.log.kept()})
        return self.log.kept()


async def test_when_the_leader_stops_another_leads_and_the_log_says_why(ensemble: Ensemble, tmp_path: Path) -> None:
    """Nobody takes a node that said good-bye for dead."""
    called = tmp_path / "called"
    called.touch()
    program = tmp_path / "hook"
    program.write_text(f'#!/bin/sh\necho "$EVERLINE_EVENT $EVERLINE_NODE $EVERLINE_TOKEN" >> {called}\n')
    program.chmod(0o700)
    hook = Hook(on=(HookEvent.LEADER_ELECTED,), command=(str(program),))
    cluster = Cluster(ensemble, tmp_path, (hook,))
    async with cluster.member(1) as b:
        async with cluster.member(2) as ingest:
            await until(b.token)
            async with cluster.member(0) as a:
                await until(lambda: a.table.presence("b") is b.table.presence("a") is Presence.ALIVE)
                await Drains(b.election._keeper, cluster.name).drain("b", who="ann", at_us=1, reason="test")
                await until(a.token)
                await Drains(b.election._keeper, cluster.name).undrain("b")
                # Stopped before that, it would leave the call to the next leader, which looks every 15 s.
                await until(lambda: len(called.read_text().splitlines()) == 2)
            await until(b.token)
            entries = await cluster.until_logged(Kind.NODE_STOPPED, Kind.HOOK_DONE)
            assert ingest.token() == 0
            assert ingest.election.leader is None
        await until(lambda: len(called.read_text().splitlines()) == 3)

    told = [(str(one.kind), one.node, one.reason) for one in entries if one.kind.startswith("leader")]
    assert told == [
        ("leader_elected", "b", "first"), ("leader_resigned", "b", "drained"), ("leader_elected", "a", "drained"),
        ("leader_resigned", "a", "stopping"), ("leader_elected", "b", "stopping"),
    ]  # fmt: skip
    assert ("node_stopped", "a", "b") in [(str(one.kind), one.node, one.by) for one in entries]
    assert Kind.NODE_DEAD not in {one.kind for one in entries}
    assert [line.split()[:2] for line in called.read_text().splitlines()] == [
        ["leader_elected", "b"], ["leader_elected", "a"], ["leader_elected", "b"]]  # fmt: skip
    found = [one for one in episodes(entries) if one.kind is Kind.LEADER_RESIGNED]
    assert [one.recover_s is not None and one.recover_s < 2 for one in found] == [True, True]


async def test_only_the_leader_writes_that_a_node_died(ensemble: Ensemble, tmp_path: Path) -> None:
    """All see it; the log has it once. i never was there: its region is not lost, b is in it."""
    cluster = Cluster(ensemble, tmp_path)
    async with cluster.member(0) as a, cluster.member(1) as b:
        await until(lambda: a.token() or b.token())
        await until(lambda: a.table.presence("i") is b.table.presence("i") is Presence.DEAD)
        for one in (a, b):
            one.primary_changed(PrimaryChange(None, Address("x", 1), 1, 0.0))
            one.primary_changed(PrimaryChange(Address("x", 1), Address("y", 1), 2, 1.5))
        entries = await cluster.until_logged(Kind.NODE_DEAD, Kind.REDIS_FAILOVER)

    dead = [one for one in entries if one.kind is Kind.NODE_DEAD]
    failovers = [one for one in entries if one.kind is Kind.REDIS_FAILOVER]
    assert [(one.node, one.region) for one in dead] == [("i", "south")]
    assert [(one.node, one.by) for one in failovers] == [("y:1", dead[0].by)]
    assert episodes(failovers)[0].recover_s == pytest.approx(1.5)
    assert Kind.REGION_LOST not in {one.kind for one in entries}


def test_places_come_from_the_cluster_file() -> None:
    """App nodes before the witness; others beat and do not stand."""
    path = Path(__file__).parents[2] / "examples" / "two-regions-and-witness.yaml"
    topology = parse_topology(path.read_text(encoding="utf-8"), source=str(path))
    members = members_of(topology)
    priorities = {one.role: place_of(topology, one.node, version="0.1.0").priority for one in members}

    assert priorities == {"app": 0, "witness": 1, "ingest": None, "balancer": None}
    assert len(keeper_servers(topology)) == 3
    assert all(one.endswith(":2181") for one in keeper_servers(topology))

"""
One node's part in the cluster, put together: it beats and listens, stands for election, does duties, keeps its log.

Stopping is in order: first the seat is given up (its duties have ended by then), then the node says good-bye, then what
it wrote is put on the disk.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns, time_ns
from typing import Final

from everline.bus.discovery import PrimaryChange
from everline.cluster.beat import Activity, Health
from everline.cluster.candidacy import Candidate
from everline.cluster.chronicle import Chronicle
from everline.cluster.drain import Drain, Drains
from everline.cluster.election import Election
from everline.cluster.entry import Entry
from everline.cluster.heart import BeatChannel, Heart
from everline.cluster.hooks import Hooks
from everline.cluster.journal import Journal, LogSink
from everline.cluster.keeper import Keeper
from everline.cluster.keeper_watch import KeeperWatch
from everline.cluster.leader import Duty, Fence, LeaderDuties, Mandate
from everline.cluster.table import Member, NodeTable
from everline.errors import EverlineError
from everline.topology.model import Hook, KeeperOptions, Node, Role, Timers, Topology

log = logging.getLogger(__name__)

MEMBER_ROLES: Final = (Role.BALANCER, Role.INGEST, Role.APP, Role.WITNESS)
"""Roles that are processes of Everline: they beat."""
PRIORITIES: Final[Mapping[Role, int]] = {Role.APP: 0, Role.WITNESS: 1}
"""Roles that stand for election, the preferred first."""
HOOKS_LOOK_BACK_US: Final = 600 * 1_000_000
_HOOKS_EVERY_S: Final = 15.0
_HOOKS_DEADLINE_S: Final = 12.0
_GOOD_BYE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Which node this is, and among whom. `priority`: None if it does not stand for election."""

    cluster: str
    me: Member
    members: tuple[Member, ...]
    priority: int | None
    version: str
    timers: Timers = field(default_factory=Timers)
    hooks: tuple[Hook, ...] = ()


def member_of(node: Node) -> Member:
    """A node of cluster.yaml as heartbeats know it."""
    return Member(node.name, str(node.role), node.region, node.rack, node.host)


def members_of(topology: Topology) -> tuple[Member, ...]:
    """All that beat, in the order of the file."""
    return tuple(member_of(node) for node in topology.nodes if node.role in MEMBER_ROLES)


def place_of(topology: Topology, name: str, *, version: str) -> Place:
    """
    The place of a node in its cluster.

    Raises:
        TopologyError: There is no such node.
    """
    node = topology.node(name)
    return Place(
        topology.cluster, member_of(node), members_of(topology), PRIORITIES.get(node.role), version,
        topology.timers, topology.hooks,
    )  # fmt: skip


def keeper_servers(topology: Topology) -> tuple[str, ...]:
    """`host:port` of every Keeper."""
    nodes = topology.nodes_of(Role.KEEPER)
    return tuple(f"{one.address}:{one.options_as(KeeperOptions).client_port}" for one in nodes)


class ClusterMember:
    """
    One node, in its cluster. `run` does all; the parts are there to be asked.

    Args:
        keeper: Started, and closed, by whoever made it.
        health: What the node says of itself in its heartbeats; the token is added.
        unfit: Why it should not lead now, empty if it may: store and bus out of reach.
        drained: Called when the operator has drained this node, and when he has taken it back.
    """

    def __init__(
        self,
        place: Place,
        *,
        keeper: Keeper,
        channel: BeatChannel,
        log_sink: LogSink,
        journal_dir: Path,
        duties: Sequence[Duty] = (),
        fences: Sequence[Fence] = (),
        health: Callable[[int], Health] = lambda token: Health(leader_token=token),
        unfit: Callable[[], str] = lambda: "",
        drained: Callable[[bool], None] = lambda _: None,
    ) -> None:
        me, timers = place.me, place.timers
        self.place = place
        self._drained = drained
        self._is_drained = False
        self._is_stopping = False
        self.table = NodeTable(
            me.node, place.members, suspect_us=timers.suspect_ms * 1000, dead_us=timers.dead_ms * 1000,
            at_us=monotonic_ns() // 1000,
        )  # fmt: skip
        self.journal = Journal.open(journal_dir, log_sink)
        self.chronicle = Chronicle(me, self.table, note=self.journal.add, token=self.token)
        self.drains = Drains(keeper, place.cluster, told=self._drains_changed)
        self.election = Election(
            keeper,
            place.cluster,
            Candidate(me.node, me.role, me.region, place.priority or 0),
            health=unfit,
            is_drained=lambda: self._is_drained,
            told=self.chronicle.election_changed,
        )
        self.hooks = Hooks(place.hooks, cluster=place.cluster, node=me.node, token=self.token, note=self.journal.add)
        self.journal.added.append(self._offer_to_hooks)
        own = [Duty("missed hooks", _HOOKS_EVERY_S, _HOOKS_DEADLINE_S, self._call_missed_hooks)] if place.hooks else []
        self.duties = LeaderDuties(self.election, [*duties, *own], fences=fences, acting=self.chronicle.acting)
        self.heart = Heart(
            channel,
            me,
            self.table,
            version=place.version,
            heartbeat_ms=timers.heartbeat_ms,
            suspect_ms=timers.suspect_ms,
            health=lambda: health(self.token()),
            activity=self._activity,
            told=self.chronicle.table_changed,
            cut=self.chronicle.cut,
        )

        self.keeper_watch = KeeperWatch(keeper, self.chronicle.keeper_cut, patience_s=timers.dead_ms / 1000)

    def token(self) -> int:
        """The token if this node leads and can be sure of it, else 0."""
        term = self.election.term
        return term.token if term else 0

    def primary_changed(self, change: PrimaryChange) -> None:
        """For `RedisPrimary.listen`."""
        self.chronicle.primary_changed(change)

    async def run(self) -> None:
        """For ever. Cancelled, the inner groups end before the outer ones."""
        async with asyncio.TaskGroup() as last:
            last.create_task(self.journal.run(), name="failover log")
            async with asyncio.TaskGroup() as middle:
                middle.create_task(self.drains.run(), name="drains")
                middle.create_task(self.hooks.run(), name="hooks")
                middle.create_task(self.keeper_watch.run(), name="keeper watch")
                middle.create_task(self.heart.run(), name="heart")
                middle.create_task(self.duties.run(), name="duties of the leader")
                try:
                    async with asyncio.TaskGroup() as first:
                        first.create_task(self._stand(), name="election")
                finally:
                    await self._say_good_bye()

    async def _stand(self) -> None:
        if self.place.priority is None:
            await asyncio.Event().wait()
        await self.election.run()

    async def _say_good_bye(self) -> None:
        self._is_stopping = True
        with suppress(EverlineError, TimeoutError):  # Then the others find out by its silence.
            async with asyncio.timeout(_GOOD_BYE_S):
                await self.heart.beat()

    def _activity(self) -> Activity:
        if self._is_stopping:
            return Activity.STOPPING
        return Activity.DRAINED if self._is_drained else Activity.UP

    def _drains_changed(self, drains: Mapping[str, Drain]) -> None:
        is_drained = self.place.me.node in drains
        if is_drained == self._is_drained:
            return
        self._is_drained = is_drained
        log.warning("cluster.drained" if is_drained else "cluster.undrained", extra={"node": self.place.me.node})
        self._drained(is_drained)
        self.election.poke()

    def _offer_to_hooks(self, entry: Entry) -> None:
        if self.token():
            self.hooks.offer(entry)

    async def _call_missed_hooks(self, _: Mandate) -> None:
        """What others wrote (a leader that left), and what a former leader did not come to."""
        self.hooks.catch_up(await self.journal.history(time_ns() // 1000 - HOOKS_LOOK_BACK_US, 1_000))

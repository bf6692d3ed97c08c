"""The cluster at one moment, for `everline cluster status`: what Keeper holds, and who is heard for two heartbeats."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from time import monotonic_ns, time_ns
from typing import Final

from everline.cluster.beat import BeatError, parse_beat
from everline.cluster.candidacy import Candidate, Term, parse_candidate, parse_term, paths_of
from everline.cluster.drain import Drain, Drains
from everline.cluster.heart import BeatChannel
from everline.cluster.keeper import Keeper
from everline.cluster.table import Member, NodeTable, Presence, Row
from everline.errors import EverlineError

BEATS: Final = 2.5
"""How many heartbeats are waited for: two, and what a late one may take."""
_OPEN_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class KeeperView:
    """
    What Keeper holds.

    Args:
        fault: Why it could not be asked; then nobody knows who leads.
    """

    leader: Term | None = None
    candidates: tuple[Candidate, ...] = ()
    drains: tuple[Drain, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class BeatView:
    """
    Who was heard.

    Args:
        fault: Why nobody could be heard; then silence means nothing.
    """

    rows: tuple[Row, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Both, at `at_us`."""

    cluster: str
    at_us: int
    keeper: KeeperView
    beats: BeatView

    def as_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "cluster": self.cluster,
            "at_us": self.at_us,
            "leader": asdict(self.keeper.leader) if self.keeper.leader else None,
            "candidates": [asdict(one) for one in self.keeper.candidates],
            "drains": [asdict(one) for one in self.keeper.drains],
            "keeper_fault": self.keeper.fault,
            "bus_fault": self.beats.fault,
            "nodes": [row_as_json(row) for row in self.beats.rows],
        }


def row_as_json(row: Row) -> dict[str, object]:
    """One node."""
    beat = row.beat
    return asdict(row.member) | {
        "presence": str(row.presence),
        "known": row.is_known,
        "skew_s": None if row.skew_us is None else row.skew_us / 1e6,
        "skewed": row.is_skewed,
        "boot": beat.boot if beat else None,
        "activity": str(beat.activity) if beat else None,
        "version": beat.version if beat else None,
        "health": asdict(beat.health) if beat else None,
    }


async def view_cluster(
    cluster: str, keeper: Keeper, channel: BeatChannel, members: Sequence[Member], *, heartbeat_ms: int
) -> ClusterView:
    """Ask and listen at the same time; what can't be reached is a fault in the view, not an error."""
    held, heard = await asyncio.gather(
        view_keeper(cluster, keeper), listen(channel, members, seconds=BEATS * heartbeat_ms / 1000)
    )
    return ClusterView(cluster, time_ns() // 1000, held, heard)


async def view_keeper(cluster: str, keeper: Keeper) -> KeeperView:
    """What Keeper holds."""
    paths = paths_of(cluster)
    try:
        await keeper.connected(within_s=_OPEN_S)
        seat = await keeper.get(paths["leader"])
        candidates = [parse_candidate(one.data) for one in await keeper.below(paths["candidates"])]
        drains = await Drains(keeper, cluster).read()
    except EverlineError as fault:
        return KeeperView(fault=str(fault))
    leader = parse_term(seat.data, seat.czxid) if seat else None
    return KeeperView(leader, tuple(one for one in candidates if one), tuple(drains.values()))


async def listen(channel: BeatChannel, members: Iterable[Member], *, seconds: float) -> BeatView:
    """Who is heard for so long; the others are unheard, and nothing is said of how long they have been silent."""
    silence_us = int(seconds * 1e6)
    table = NodeTable("", members, suspect_us=silence_us, dead_us=silence_us, at_us=monotonic_ns() // 1000)
    try:
        async with asyncio.timeout(_OPEN_S + seconds):
            await _observe(channel, table, seconds)
    except TimeoutError:
        return BeatView(tuple(table.rows()), f"the bus did not answer within {_OPEN_S + seconds:g} s")
    except EverlineError as fault:
        return BeatView(tuple(table.rows()), str(fault))
    rows = tuple(table.rows())
    if not any(row.presence is Presence.ALIVE for row in rows):
        return BeatView(rows, f"no heartbeat at all within {seconds:g} s: nothing runs, or the bus can't be heard")
    return BeatView(rows)


async def _observe(channel: BeatChannel, table: NodeTable, seconds: float) -> None:
    async with channel.listen() as messages:
        try:
            async with asyncio.timeout(seconds):
                async for data in messages:
                    try:
                        beat = parse_beat(data)
                    except BeatError:
                        continue
                    table.observe(beat, at_us=monotonic_ns() // 1000, wall_us=time_ns() // 1000)
        except TimeoutError:
            return

"""Which shard a call belongs to, and which servers are asked to keep its events, in which order. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from clickhouse_cityhash.cityhash import CityHash64

from everline.calls.event import EventBatch
from everline.topology.model import ClickHouseOptions, Node, Topology


@dataclass(frozen=True, slots=True)
class Target:
    """
    A server as the writer sees it.

    Attributes:
        distance: 0 on the writer's own host, 1 in its rack, 2 in its region, 3 elsewhere.
    """

    name: str
    shard: int
    replica: int
    distance: int


def targets_of(topology: Topology, home: Node) -> tuple[Target, ...]:
    """Every ClickHouse server of a cluster, as seen from a node."""
    return tuple(
        Target(node.name, shard, node.options_as(ClickHouseOptions).replica, home.distance_to(node))
        for shard, nodes in topology.shards.items()
        for node in nodes
    )


def candidates(targets: Iterable[Target], shard: int) -> tuple[Target, ...]:
    """
    Whom to ask to keep events of a shard: its own replicas, nearest first, then those of the others.

    Which of the others comes first differs from shard to shard, so that the load of a shard that is gone is spread.
    """
    known = list(targets)
    shards = sorted({one.shard for one in known})
    after = {number: (shards.index(number) - shards.index(shard)) % len(shards) for number in shards}
    return tuple(sorted(known, key=lambda one: (one.shard != shard, one.distance, after[one.shard], one.replica)))


def shard_of(call_id: str, shards: Sequence[int]) -> int:
    """
    The shard that a Distributed table keyed by cityHash64(call_id) takes, when all have one weight.

    Args:
        call_id: The Call-ID.
        shards: Numbers of all shards, in the order of the servers' configuration.
    """
    number: int = CityHash64(call_id.encode("utf-8", "surrogatepass")) % len(shards)
    return shards[number]


def split(batch: EventBatch, shards: Sequence[int]) -> Mapping[int, EventBatch]:
    """A batch as one for each shard that has something in it; the events of one keep their order."""
    call_ids = batch.column("call_id")
    shard_by_call = {call_id: shard_of(call_id, shards) for call_id in dict.fromkeys(call_ids)}
    found = sorted(set(shard_by_call.values()))
    if len(found) <= 1:
        return dict.fromkeys(found, batch)
    chosen = [shard_by_call[call_id] for call_id in call_ids]
    return {shard: _only(batch, [one == shard for one in chosen]) for shard in found}


def _only(batch: EventBatch, chosen: Sequence[bool]) -> EventBatch:
    return EventBatch(tuple(tuple(compress(column, chosen)) for column in batch.columns))

"""
Whether what a cluster needs is there, and stands far enough apart.

The rule that decides between a fault and a warning: what lets one host or rack stop a cluster that could be spread
better is refused, since moving a role costs nothing. Where only another rack or site would help, or where law or
distance may forbid it (both replicas of a shard in one region), it is a warning that says what will happen.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from everline.topology.collisions import grouped
from everline.topology.errors import TopologyFault
from everline.topology.model import AppOptions, ClickHouseOptions, Node, Role, Topology

QUORUMS: Final = (Role.KEEPER, Role.SENTINEL)
DATA: Final = frozenset(Role) - {Role.WITNESS, Role.KEEPALIVED, *QUORUMS}
"""Roles that carry data or traffic; a witness stands apart from them."""
_SPREAD: Final = (Role.REDIS, Role.INGEST, Role.APP, Role.BALANCER, Role.HAPROXY, Role.NGINX)
"""Roles of which one is enough, so that they must not all be lost together."""


def gaps(topology: Topology) -> Iterator[TopologyFault]:
    """What is missing, or can't work as it is placed: refused."""
    for role in QUORUMS:
        yield from _quorum_size(topology, role)
        yield from _quorum_place(topology, role, refused=True)
    yield from _shard_numbers(topology)
    for shard, servers in topology.shards.items():
        yield from _shard(topology, shard, servers)
    yield from _missing(topology)
    yield from _one_rack(topology)
    yield from _witnesses(topology)


def risks(topology: Topology) -> Iterator[TopologyFault]:
    """What works until a certain thing is lost: allowed, and shown."""
    if _rack_count(topology) == 1:
        rack = topology.regions[0].racks[0].name
        yield TopologyFault("regions", f"all hosts are in rack {rack}: its loss stops everything; add a second rack")
    for role in QUORUMS:
        yield from _quorum_place(topology, role, refused=False)
    yield from _one_region(topology)
    yield from _alone(topology)
    yield from _crowded(topology)


def _rack_count(topology: Topology) -> int:
    return sum(len(region.racks) for region in topology.regions)


def _data_racks(topology: Topology) -> set[str]:
    return {host.rack for host in topology.hosts if host.region in topology.data_regions}


def _odd(topology: Topology, role: Role) -> bool:
    count = len(topology.nodes_of(role))
    return count >= 3 and count % 2 == 1


def _quorum_size(topology: Topology, role: Role) -> Iterator[TopologyFault]:
    count = len(topology.nodes_of(role))
    if not _odd(topology, role):
        why = "no majority is left when one is lost" if count < 3 else "it survives no more losses than one less would"
        yield TopologyFault("regions", f"{count} {role} role{'s' if count != 1 else ''}: need 3, 5 or 7; {why}")


def _quorum_place(topology: Topology, role: Role, *, refused: bool) -> Iterator[TopologyFault]:
    """Racks and regions that hold a majority: refused where there are three, so that it could be spread."""
    nodes = topology.nodes_of(role)
    racks, regions = _rack_count(topology), len(topology.regions)
    data_regions = len(topology.data_regions)
    if not _odd(topology, role):
        return  # That is said already; once it is mended, the places are looked at.
    if racks > 1 and refused == (racks > 2):
        yield from _majorities(nodes, "rack", topology.majority(role), count=racks)
    if data_regions > 1 and refused == (regions > 2):
        yield from _majorities(nodes, "region", topology.majority(role), count=regions)


def _majorities(nodes: Sequence[Node], kind: str, majority: int, *, count: int) -> Iterator[TopologyFault]:
    places = grouped((node.rack if kind == "rack" else node.region, node) for node in nodes)
    for place, inside in places.items():
        if len(inside) >= majority:
            have = f"{len(inside)} of {len(nodes)} {inside[0].role} roles are in {kind} {place}"
            act = f"spread them over {count} {kind}s" if count > 2 else f"a third {kind} must hold some of them"
            act += ", such as a witness site" if kind == "region" and count == 2 else ""
            yield TopologyFault(inside[-1].path, f"{have}: its loss takes the majority; {act}")


def _shard_numbers(topology: Topology) -> Iterator[TopologyFault]:
    numbers = list(topology.shards)
    if not numbers:
        yield TopologyFault("regions", "no clickhouse role: need at least shard 1 with replicas 1 and 2")
    missing = sorted(set(range(1, len(numbers) + 1)) - set(numbers))
    if missing:
        have, lack = ", ".join(map(str, numbers)), ", ".join(map(str, missing))
        odd = topology.shards[numbers[-1]][0]
        yield TopologyFault(f"{odd.path}.shard", f"shards {have}: number them 1 to {len(numbers)}; {lack} is missing")


def _shard(topology: Topology, shard: int, servers: Sequence[Node]) -> Iterator[TopologyFault]:
    last = servers[-1]
    if len(servers) < 2:
        problem = f"shard {shard} has one server, {last.host}: need two, so that its loss loses nothing"
        yield TopologyFault(f"{last.path}.shard", problem)
        return
    for replica, same in grouped((node.options_as(ClickHouseOptions).replica, node) for node in servers).items():
        for node in same[1:]:
            problem = f"replica {replica} of shard {shard} is {same[0].host} too: give {node.host} another number"
            yield TopologyFault(f"{node.path}.replica", problem)
    if len({node.address for node in servers}) == 1:
        problem = f"shard {shard} has all its replicas on host {last.host} ({last.address}): put each on its own host"
        yield TopologyFault(f"{last.path}.shard", problem)
    elif len(_data_racks(topology)) > 1 and len({node.rack for node in servers}) == 1:
        problem = f"shard {shard} has all its replicas in rack {last.rack}: put one in another rack"
        yield TopologyFault(f"{last.path}.shard", problem)


def _missing(topology: Topology) -> Iterator[TopologyFault]:
    apps = topology.nodes_of(Role.APP)
    if not topology.nodes_of(Role.INGEST):
        yield TopologyFault("regions", "no ingest role: nothing would take packets in; give it to two hosts")
    if not apps:
        yield TopologyFault("regions", "no app role: nothing would serve pages; give it to two hosts")
    elif all(node.options_as(AppOptions).backup for node in apps):
        yield TopologyFault(f"{apps[0].path}.backup", "every app role is a backup: leave one that is none")
    redis = topology.nodes_of(Role.REDIS)
    if len(redis) < 2:
        have = "a single redis role" if redis else "no redis role"
        yield TopologyFault(redis[0].path if redis else "regions", f"{have}: need two or three, on different hosts")


def _one_rack(topology: Topology) -> Iterator[TopologyFault]:
    for role in _SPREAD:
        nodes = topology.nodes_of(role)
        if len(nodes) > 1 and len(_data_racks(topology)) > 1 and len({node.rack for node in nodes}) == 1:
            problem = f"all {len(nodes)} {role} roles are in rack {nodes[0].rack}: move one to another rack"
            yield TopologyFault(nodes[-1].path, problem)


def _witnesses(topology: Topology) -> Iterator[TopologyFault]:
    for node in topology.nodes:
        if node.region in topology.witness_regions and node.role in DATA:
            problem = f"{node.role} on host {node.host} is in region {node.region}, which has a witness"
            act = "a witness site only votes (keeper, sentinel, witness); move one of the two to another region"
            yield TopologyFault(node.path, f"{problem}: {act}")


def _one_region(topology: Topology) -> Iterator[TopologyFault]:
    if len(topology.data_regions) < 2:
        return
    groups = {f"shard {shard}": servers for shard, servers in topology.shards.items()}
    groups |= {f"the role {role}": topology.nodes_of(role) for role in _SPREAD}
    for what, nodes in groups.items():
        if len(nodes) > 1 and len({node.region for node in nodes}) == 1:
            problem = f"{what} is in region {nodes[0].region} only, and gone when that is lost"
            yield TopologyFault(nodes[-1].path, f"{problem}; move one to another region unless law or distance forbid")


def _alone(topology: Topology) -> Iterator[TopologyFault]:
    for role in (Role.INGEST, Role.APP):
        nodes = topology.nodes_of(role)
        if len(nodes) == 1:
            yield TopologyFault(
                nodes[0].path, f"host {nodes[0].host} alone has the role {role}: give it to another too"
            )
    for role, front in ((Role.BALANCER, "capture agents"), (Role.NGINX, "browsers")):
        count = len(topology.nodes_of(role))
        if count < 2:
            have = f"no {role}" if count == 0 else f"a single {role}"
            yield TopologyFault("regions", f"{have}: {front} must change over by themselves when what they use is lost")


def _crowded(topology: Topology) -> Iterator[TopologyFault]:
    nodes = topology.nodes_of(Role.INGEST)
    racks = grouped((node.rack, node) for node in nodes)
    for rack, inside in racks.items():
        if len(racks) > 1 and 2 * len(inside) > len(nodes):
            problem = f"{len(inside)} of {len(nodes)} ingest roles are in rack {rack}: the rest must carry its load"
            yield TopologyFault(inside[-1].path, f"{problem} when it is lost; spread them evenly")

"""What two parts of a cluster can't both have: a name, an address, a port, a directory."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from ipaddress import ip_address
from itertools import combinations
from typing import TypeVar

from everline.topology.errors import TopologyFault
from everline.topology.model import Host, Node, Topology

KeyT = TypeVar("KeyT", bound=Hashable)
OneT = TypeVar("OneT")


def collisions(topology: Topology) -> Iterator[TopologyFault]:
    """Every fault of this kind."""
    yield from _names(topology)
    yield from _addresses(topology)
    for host in topology.hosts:
        yield from _ports(host)
        yield from _directories(host)


def grouped(pairs: Iterable[tuple[KeyT, OneT]]) -> dict[KeyT, list[OneT]]:
    """What belongs to each key, in order."""
    found: dict[KeyT, list[OneT]] = defaultdict(list)
    for key, one in pairs:
        found[key].append(one)
    return found


def _names(topology: Topology) -> Iterator[TopologyFault]:
    kinds = {
        "region": [(region.name, f"regions[{r}]") for r, region in enumerate(topology.regions)],
        "rack": [
            (rack.name, f"regions[{r}].racks[{k}]")
            for r, region in enumerate(topology.regions)
            for k, rack in enumerate(region.racks)
        ],
        "host": [(host.name, host.path) for host in topology.hosts],
        "node": [(node.name, node.path) for node in topology.nodes],
    }
    for kind, named in kinds.items():
        for name, paths in grouped(named).items():
            for path in paths[1:]:
                problem = f"{name!r} is the name of the {kind} at {paths[0]} too: every {kind} needs a name of its own"
                yield TopologyFault(f"{path}.name", problem)


def _addresses(topology: Topology) -> Iterator[TopologyFault]:
    for address, hosts in grouped((host.address, host) for host in topology.hosts).items():
        for host in hosts[1:]:
            problem = f"{address} is the address of host {hosts[0].name} too: give {host.name} its own"
            yield TopologyFault(f"{host.path}.address", problem)
        ip = ip_address(address)
        if ip.is_unspecified or ip.is_multicast or (ip.is_loopback and len(topology.hosts) > 1):
            problem = f"other hosts can't reach {hosts[0].name} at {address}: give the address of one of its interfaces"
            yield TopologyFault(f"{hosts[0].path}.address", problem)


def _ports(host: Host) -> Iterator[TopologyFault]:
    opened = [(node, one) for node in host.nodes for one in node.options.ports()]
    said: set[tuple[str, str]] = set()
    for (first, one), (second, other) in combinations(opened, 2):
        ours, theirs = f"{first.role}.{one.key}", f"{second.role}.{other.key}"
        if (one.protocol, one.port) == (other.protocol, other.port) and (ours, theirs) not in said:
            said.add((ours, theirs))
            problem = f"{other.port}/{other.protocol} is taken on host {host.name} by {ours}: choose another port"
            yield TopologyFault(f"{second.path}.{other.key}", problem)


def _directories(host: Host) -> Iterator[TopologyFault]:
    kept = [(node, f"{node.options.data_dir.rstrip('/')}/") for node in host.nodes if hasattr(node.options, "data_dir")]
    for (first, ours), (second, theirs) in combinations(kept, 2):
        if ours.startswith(theirs) or theirs.startswith(ours):
            problem = f"{theirs[:-1]} overlaps with {_directory(first)} of {first.role} on host {host.name}"
            yield TopologyFault(f"{second.path}.data_dir", f"{problem}: give each role a directory of its own")


def _directory(node: Node) -> str:
    return str(getattr(node.options, "data_dir", ""))

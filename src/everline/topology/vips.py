"""VIPs that can't do what they are for."""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise

from everline.topology.errors import TopologyFault
from everline.topology.model import NginxOptions, Node, Role, Topology, Vip


def unfit_vips(topology: Topology) -> Iterator[TopologyFault]:
    """VIPs that nobody could take over, or that belong to somebody else: refused."""
    for vip in topology.vips:
        yield from _nodes(topology, vip)
        yield from _address(topology, vip)
    yield from _half_of_haproxy(topology)
    yield from _half_of_https(topology)


def lonely_vips(topology: Topology) -> Iterator[TopologyFault]:
    """VIPs that a rack takes with it where there is no other one: allowed, and shown."""
    for vip in topology.vips:
        if len(vip.nodes) > 1 and len(_racks_of(topology, vip)) == 1:
            problem = f"all that could have {vip.address} are in the only rack of region {vip.region}: add a second one"
            yield TopologyFault(vip.path, problem)


def _racks_of(topology: Topology, vip: Vip) -> set[str]:
    return {host.rack for host in topology.hosts if host.region == vip.region}


def _nodes(topology: Topology, vip: Vip) -> Iterator[TopologyFault]:
    place = f"in region {vip.region}"
    if not vip.nodes:
        problem = f"no {vip.role} role is {place}: give it to two hosts there, or leave the VIP out"
        yield TopologyFault(vip.path, problem)
    elif len(vip.nodes) == 1:
        have = f"host {vip.nodes[0].host} alone has the role {vip.role} {place}"
        yield TopologyFault(vip.path, f"{have}: nobody could take {vip.address} over; give the role to another host")
    elif len({node.rack for node in vip.nodes}) == 1 and len(_racks_of(topology, vip)) > 1:
        have = f"all {len(vip.nodes)} {vip.role} roles {place} are in rack {vip.nodes[0].rack}"
        yield TopologyFault(vip.path, f"{have}, and {vip.address} goes with it: move one to another rack")


def _address(topology: Topology, vip: Vip) -> Iterator[TopologyFault]:
    ip = ip_address(vip.address)
    if ip.is_unspecified or ip.is_multicast or ip.is_loopback:
        yield TopologyFault(vip.path, f"{vip.address} can't be shared: need a free address of the hosts' network")
    for host in topology.hosts:
        if host.address == vip.address:
            problem = f"{vip.address} is the address of host {host.name}: need one that no host has"
            yield TopologyFault(vip.path, problem)
    for other in topology.vips:
        if other.address == vip.address and other.path < vip.path:
            yield TopologyFault(vip.path, f"{vip.address} is {other.path} too: need one of its own")
    for node in vip.nodes:
        if ip_address(node.address).version != ip.version:
            problem = f"{vip.address} is of another family than {node.address} of host {node.host}: use one for both"
            yield TopologyFault(vip.path, problem)


def _half_of_haproxy(topology: Topology) -> Iterator[TopologyFault]:
    """The VIP of the balancers is that of HAProxy too: it may come to none that has it not, if any has it."""
    with_haproxy = {node.host for node in topology.nodes_of(Role.HAPROXY)}
    for vip in topology.vips:
        hosts = [node.host for node in vip.nodes if vip.role == Role.BALANCER]
        lacking = [host for host in hosts if host not in with_haproxy]
        if lacking and len(lacking) < len(hosts):
            problem = f"host {lacking[0]} can have {vip.address} and has no haproxy, as others have: agents over TCP "
            yield TopologyFault(vip.path, f"{problem}would be refused there; give it to all of them, or to none")


def _half_of_https(topology: Topology) -> Iterator[TopologyFault]:
    """A browser that was told to come by https must find it at whichever host has the VIP."""
    for vip in topology.vips:
        for first, other in pairwise(vip.nodes if vip.role == Role.NGINX else ()):
            if _way_in(first) != _way_in(other):
                have = f"host {first.host} serves {vip.address} by {_way_in(first)}, {other.host} by {_way_in(other)}"
                yield TopologyFault(vip.path, f"{have}: browsers would be refused after a move; give both the same")


def _way_in(node: Node) -> str:
    options = node.options_as(NginxOptions)
    return f"https at port {options.https_port}" if options.tls_certificate else f"http at port {options.http_port}"

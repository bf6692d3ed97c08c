"""keepalived: VRRP between the hosts that share a VIP, and the question whether a host serves what the VIP is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from everline.topology.model import BalancerOptions, HaproxyOptions, Host, NginxOptions, Node, Role, Topology, Vip
from everline.topology.render.files import RenderedFile, render_template
from everline.topology.render.places import Places

PRIORITY: Final = 200
"""
Of every host, so that nobody who comes back takes the VIP away from who has it, though preemption is on.

It has to be on: with `nopreempt` a backup leaves even an unwell master alone. A high one makes a backup patient for a
shorter time: 3 advertisements and (256 - priority) / 256 of one.
"""
ADVERT_S: Final = 0.2
LATE_TABLE: Final = 9060
"""
Number of the routing table, and priority of the rule, by which a host takes datagrams to a VIP that it has not.

A move is two steps, the new host's word and the address's arrival, and those outside hear of it last. Without this, a
host that has given the VIP up drops what still comes to it (`InAddrErrors`): 3 packets of 2,000 a second, seldom.
"""
UNWELL: Final = -60
"""What a role that does not serve costs its host: more than any other lack."""
UNWELL_BESIDE: Final = -20
"""What HAProxy costs that does not serve beside a balancer which does."""


@dataclass(frozen=True, slots=True)
class Check:
    """A question to a role of this host, by HTTP at its own address."""

    name: str
    port: int
    path: str
    weight: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A VIP as one host sees it."""

    vip: Vip
    router_id: int
    peers: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def prefix(self) -> int:
        """The address alone: its network is that of the host's own address."""
        return 128 if ":" in self.vip.address else 32

    @property
    def is_late_taken(self) -> bool:
        """Whether what comes here without the VIP is of use: datagrams are, pieces of a host's connections are not."""
        return self.vip.role is Role.BALANCER


def render_keepalived(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """`keepalived.conf`, and `check.sh` that it runs."""
    host = topology.host(node.host)
    facts = {
        "node": node, "interface": places.interface or host.interface, "instances": instances_of(topology, host),
        "check_file": f"{places.config_dir(node)}/check.sh", "priority": PRIORITY, "advert_s": ADVERT_S,
        "late_table": LATE_TABLE, "user": places.user,
    }  # fmt: skip
    return {
        "keepalived.conf": RenderedFile(render_template("keepalived.conf", topology, **facts)),
        "check.sh": RenderedFile(render_template("check.sh", topology, **facts)),
    }


def instances_of(topology: Topology, host: Host) -> tuple[Instance, ...]:
    """The VIPs that may come to a host."""
    vips = [vip for vip in topology.vips if vip.region == host.region]
    numbers = router_ids([vip.address for vip in vips])
    return tuple(
        Instance(
            vip, numbers[vip.address], tuple(node.address for node in vip.nodes if node.host != host.name),
            tuple(check for node in host.nodes if (check := _check(node, vip.role))),
        )
        for vip in vips
        if vip.role in host.roles
    )  # fmt: skip


def router_ids(addresses: Sequence[str]) -> dict[str, int]:
    """
    The virtual router id of each VIP of a segment: 1 to 255, made from the address, so that it stays when others come.

    Two that would have the same are told apart in their order.
    """
    found: dict[str, int] = {}
    for address in sorted(addresses):
        number = sha256(address.encode()).digest()[0] % 255
        while number + 1 in found.values():
            number = (number + 1) % 255
        found[address] = number + 1
    return found


def _check(node: Node, role: Role) -> Check | None:
    """What a node of this host must answer for the VIP of a role to be here; None if it has nothing to do with it."""
    options = node.options
    match options:
        case BalancerOptions() if role == Role.BALANCER:
            return Check("balancer", options.http_port, "/readyz", UNWELL)
        case HaproxyOptions() if role == Role.BALANCER:
            return Check("haproxy", options.http_port, "/livez", UNWELL_BESIDE)
        case NginxOptions() if role == Role.NGINX:
            return Check("nginx", options.http_port, "/livez", UNWELL)
        case _:
            return None

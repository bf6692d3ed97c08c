"""
The network of a lab: a namespace for each host, a bridge for each region, and a core bridge that joins the regions.

Hosts have their own addresses, and reach each other over the data interface only. The root namespace reaches each at
the same address over an interface of its own, which no fault cuts: so it can load and question what is cut off.

A VIP is not an address of a host. The root namespace reaches it as those outside do: over the core bridge and the
region's, where it hears to which host it has moved, and where cuts apply.

Whatever is cut is silent: nothing is refused, frames are lost, since its port is taken out of the bridge. A port that
is set down would do as well, but a carrier that comes back is noticed by the kernel up to a second late.
That state is the kernel's; nothing of it is kept here.
"""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from typing import Final

from everline.lab.errors import LabError, UnfitError
from everline.lab.ip import ip_batch, ip_json, namespaces, tc
from everline.lab.names import (
    DATA,
    FABRIC,
    MANAGEMENT,
    fabric_of,
    front_address,
    front_link,
    namespace_of,
    root_address,
    root_link,
)
from everline.topology.model import Host, Topology

_BRIDGE: Final = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
_CORE: Final = "core"
_ROOT: Final = "root"
"""Port of the management bridge: its other end is in the root namespace."""
_FRONT: Final = "front"
"""Port of the core bridge: likewise."""
_AT_ONCE: Final = 4
_LOSE_ALL: Final = ("pfifo", "limit", "0")
_MUTED: Final = "77"
"""Group of links, as a mark that can be seen."""


class OneWay(StrEnum):
    """A host that hears nobody, or that nobody hears."""

    DEAF = "deaf"
    MUTE = "mute"


class Fabric:
    """The network of one cluster. Its methods block for some milliseconds, `build` for a second."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._cluster = topology.cluster
        self.namespace = fabric_of(topology.cluster)
        _look_at_names(topology)

    @cached_property
    def _hosts(self) -> dict[str, int]:
        return {host.name: number for number, host in enumerate(self._topology.hosts)}

    @cached_property
    def _regions(self) -> dict[str, int]:
        return {region.name: number for number, region in enumerate(self._topology.regions)}

    def host_namespace(self, host: str) -> str:
        """Where the programs of a host run."""
        return namespace_of(self._cluster, host)

    # --- build ---

    def build(self) -> None:
        """
        Make all of it.

        Raises:
            LabError: The kernel refused something; what was made so far is there.
        """
        ip_batch(f"netns add {name}" for name in self._all_namespaces())
        ip_batch(self._bridges(), namespace=self.namespace)
        ip_batch(self._root())
        ip_batch([f"link set {_ROOT} master {MANAGEMENT} up"], namespace=self.namespace)
        if self._topology.vips:
            ip_batch(self._front())
            ip_batch([f"link set {_FRONT} master {_CORE} up"], namespace=self.namespace)
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # Each is a process that mostly waits for the kernel.
            for _ in pool.map(self._set_up, self._topology.hosts):
                pass

    def _all_namespaces(self) -> list[str]:
        """The bridges' first: by it a lab is known, and so it is also the last to go."""
        return [self.namespace, *(self.host_namespace(host.name) for host in self._topology.hosts)]

    def _bridges(self) -> list[str]:
        lines = ["link set lo up", f"link add {_CORE} {_BRIDGE}", f"link add {MANAGEMENT} {_BRIDGE}"]
        for name, number in self._regions.items():
            lines += [
                f"link add r{number} alias {name} {_BRIDGE}",
                f"link add t{number} type veth peer name c{number}",
                f"link set t{number} master r{number}",
                f"link set c{number} master {_CORE}",
            ]
        for host in self._topology.hosts:
            lines += self._ports(host)
        up = [_CORE, MANAGEMENT, *(f"{kind}{number}" for number in self._regions.values() for kind in "rtc")]
        return lines + [f"link set {link} up" for link in up]

    def _ports(self, host: Host) -> list[str]:
        number, namespace = self._hosts[host.name], self.host_namespace(host.name)
        return [
            f"link add d{number} alias {host.name} type veth peer name {DATA} netns {namespace}",
            f"link set d{number} master r{self._regions[host.region]} up",
            f"link add m{number} alias {host.name} type veth peer name {MANAGEMENT} netns {namespace}",
            f"link set m{number} master {MANAGEMENT} up",
            # Hosts must not hear each other here, whatever their routes are.
            f"link set m{number} type bridge_slave isolated on",
        ]

    def _root(self) -> list[str]:
        link, address = root_link(self._cluster), root_address(self._cluster)
        return [
            f"link add {link} type veth peer name {_ROOT} netns {self.namespace}",
            f"address add {address}/32 dev {link}",
            f"link set {link} up",
            *(f"route add {host.address}/32 dev {link} src {address}" for host in self._topology.hosts),
        ]

    def _front(self) -> list[str]:
        link, address = front_link(self._cluster), front_address(self._cluster)
        return [
            f"link add {link} type veth peer name {_FRONT} netns {self.namespace}",
            f"address add {address}/32 dev {link}",
            f"link set {link} up",
            *(f"route add {vip.address}/32 dev {link} src {address}" for vip in self._topology.vips),
        ]

    def _set_up(self, host: Host) -> None:
        lines = [
            "link set lo up",
            f"address add {host.address}/32 dev {DATA}",
            f"link set {DATA} up",
            f"link set {MANAGEMENT} up",
            f"route add default dev {DATA} src {host.address}",
            f"route add {root_address(self._cluster)}/32 dev {MANAGEMENT} src {host.address}",
        ]
        ip_batch(lines, namespace=self.host_namespace(host.name))

    # --- faults ---

    def cut(self, *targets: str) -> None:
        """
        Cut hosts, or racks or regions from the rest.

        A rack is cut host by host: its hosts don't hear each other either, as when its switch is gone. A region is cut
        at its trunk: within it all goes on.

        Raises:
            LabError: No host, rack or region, or more than one of them, has that name.
        """
        self._plug(*self._meant(targets), is_in=False)

    def heal(self, *targets: str) -> None:
        """Let hosts, racks or regions be heard again, in both directions; everything if none is named."""
        hosts, regions = self._meant(targets) if targets else (list(self._hosts), list(self._regions))
        self._plug(hosts, regions, is_in=True)
        self._let_pass(hosts)

    def cut_one_way(self, host: str, way: OneWay) -> None:
        """
        Lose what a host should hear, or what it says; the other direction is left as it is.

        Raises:
            LabError: No host has that name.
        """
        if host not in self._hosts:
            raise LabError(f"no host has the name {host!r}; there are {', '.join(self._hosts)}")
        namespace, link = self._one_way_port(host, way)
        tc("qdisc", "replace", "dev", link, "root", *_LOSE_ALL, namespace=namespace)
        if way is OneWay.MUTE:
            ip_batch([f"link set d{self._hosts[host]} group {_MUTED}"], namespace=self.namespace)

    def cuts(self) -> list[str]:
        """Which hosts and regions are cut now, as the kernel has it."""
        unplugged = {
            link["ifname"] for link in ip_json("link", "show", namespace=self.namespace) if "master" not in link
        }
        hosts = [name for name, number in self._hosts.items() if f"d{number}" in unplugged]
        return hosts + [name for name, number in self._regions.items() if f"t{number}" in unplugged]

    def one_way_cuts(self) -> list[tuple[str, OneWay]]:
        """Hosts that are deaf or mute now. One look finds them: a muted host's own interface is marked at its port."""
        links = {link["ifname"]: link for link in ip_json("link", "show", namespace=self.namespace)}
        ports = {name: links[f"d{number}"] for name, number in self._hosts.items()}
        deaf = [(name, OneWay.DEAF) for name, port in ports.items() if port["qdisc"] == _LOSE_ALL[0]]
        return deaf + [(name, OneWay.MUTE) for name, port in ports.items() if port["group"] == _MUTED]

    def _plug(self, hosts: Iterable[str], regions: Iterable[str], *, is_in: bool) -> None:
        """Put the ports of hosts, and the trunks of regions, into their bridges or take them out."""
        homes = {host.name: self._regions[host.region] for host in self._topology.hosts}
        ports = {f"d{self._hosts[host]}": f"r{homes[host]}" for host in hosts}
        ports |= {f"t{self._regions[region]}": f"r{self._regions[region]}" for region in regions}
        where = {port: f"master {bridge}" if is_in else "nomaster" for port, bridge in ports.items()}
        ip_batch((f"link set {port} {place}" for port, place in where.items()), namespace=self.namespace)

    def _meant(self, targets: Iterable[str]) -> tuple[list[str], list[str]]:
        """The hosts whose own links some names stand for, and the regions whose trunks."""
        hosts: list[str] = []
        regions: list[str] = []
        for target in targets:
            found = self._hosts_of(target)
            hosts += found
            regions += [] if found else [target]
        return hosts, regions

    def _hosts_of(self, target: str) -> Sequence[str]:
        """The hosts that a name stands for; none for a region, which is cut at its trunk."""
        racks = self._racks()
        meanings = [target in self._hosts, target in racks, target in self._regions]
        if sum(meanings) == 1:
            return [target] if target in self._hosts else racks.get(target, [])
        raise LabError(self._unknown(target) if not any(meanings) else self._ambiguous(target))

    def _racks(self) -> dict[str, list[str]]:
        racks: dict[str, list[str]] = {}
        for host in self._topology.hosts:
            racks.setdefault(host.rack, []).append(host.name)
        return racks

    def _one_way_port(self, host: str, way: OneWay) -> tuple[str, str]:
        """What the host hears leaves the bridge at its port; what it says leaves the host."""
        if way is OneWay.DEAF:
            return self.namespace, f"d{self._hosts[host]}"
        return self.host_namespace(host), DATA

    def _let_pass(self, hosts: Collection[str]) -> None:
        """End cuts of one direction."""
        for host, way in self.one_way_cuts():
            if host in hosts:
                namespace, link = self._one_way_port(host, way)
                tc("qdisc", "delete", "dev", link, "root", namespace=namespace)
                if way is OneWay.MUTE:
                    ip_batch([f"link set d{self._hosts[host]} group default"], namespace=self.namespace)

    def _unknown(self, target: str) -> str:
        known = ", ".join([*self._hosts, *self._racks(), *self._regions])
        return f"no host, rack or region has the name {target!r}; there are {known}"

    def _ambiguous(self, target: str) -> str:
        return f"{target!r} is the name of more than one of host, rack and region: give them different names in regions"


def look_for_room(topology: Topology) -> None:
    """
    See whether the network of a lab can be made here.

    Raises:
        UnfitError: A namespace, a link or an address that it needs is taken.
    """
    cluster = topology.cluster
    taken = {fabric_of(cluster), *(namespace_of(cluster, host.name) for host in topology.hosts)} & set(namespaces())
    links = {link["ifname"] for link in ip_json("link", "show")}
    left = {root_link(cluster), front_link(cluster)} & links
    if taken or left:
        what = f"namespace {min(taken)}" if taken else f"link {min(left)}"
        raise UnfitError(
            f"a lab {cluster!r} is there already, or what is left of one ({what}): "
            f"run `everline lab status`, or `everline lab down --cluster {cluster}` to remove it"
        )
    wanted = {host.address: f"{host.path}.address" for host in topology.hosts}
    wanted |= {vip.address: vip.path for vip in topology.vips}
    for row in ip_json("route", "show", "table", "all"):
        address = str(row.get("dst", "")).removesuffix("/32")
        if address in wanted:
            raise UnfitError(
                f"{wanted[address]} {address} is taken on this machine (by {row.get('dev', 'a route')}): "
                "change it, or take the lab down that has it (`everline lab status`)"
            )


def _look_at_names(topology: Topology) -> None:
    """Names that can't be told from the lab's own, and addresses of another family, are refused."""
    for host in topology.hosts:
        if host.name == FABRIC or host.name.endswith(f"-{FABRIC}"):
            raise UnfitError(f"{host.path}.name: the lab needs {host.name!r} for itself; give the host another name")
        if ip_address(host.address).version != 4:
            raise UnfitError(f"{host.path}.address: a lab is built of IPv4 only; give the host an IPv4 address")

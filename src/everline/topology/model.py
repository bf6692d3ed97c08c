"""
A cluster as cluster.yaml describes it: regions → racks → hosts → roles, and what holds for all of them.

The model takes any set of hosts, so that tests can build small and odd clusters. Whether a cluster makes sense is told
by `everline.topology.faults`; `everline.topology.parse` asks both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from everline.config_sections import (
    BalanceConfig,
    CallsConfig,
    IngestSettings,
    LiveConfig,
    LogConfig,
    OidcConfig,
    Section,
)
from everline.topology.errors import TopologyError, TopologyFault
from everline.topology.roles import (
    MAX_CLUSTER_CHARS,
    AppOptions,
    BalancerOptions,
    ClickHouseOptions,
    HaproxyOptions,
    IngestOptions,
    InterfaceName,
    KeepalivedOptions,
    KeeperOptions,
    Listening,
    Name,
    NginxOptions,
    RedisOptions,
    Role,
    RoleOptions,
    SentinelOptions,
    WitnessOptions,
    parse_cluster_name,
)
from everline.topology.settings import Hook, HookEvent, SecretRef, SecretRefs, StoreSettings, Timers

__all__ = [
    "AppOptions", "BalancerOptions", "ClickHouseOptions", "HaproxyOptions", "Hook", "HookEvent", "Host", "HostEntry",
    "HostRoles", "IngestOptions", "KeepalivedOptions", "KeeperOptions", "Listening", "NginxOptions", "Node", "Rack",
    "RedisOptions", "Region", "Role", "RoleOptions", "SecretRef", "SecretRefs", "SentinelOptions", "StoreSettings",
    "Timers", "Topology", "Vip", "Vips", "WitnessOptions",
]  # fmt: skip

OptionsT = TypeVar("OptionsT", bound=RoleOptions)


def _parse_address(value: object) -> object:
    try:
        if isinstance(value, str):
            return str(ip_address(value))
    except ValueError:
        pass
    raise ValueError("need an IP address such as 10.77.1.11")


Address = Annotated[str, BeforeValidator(_parse_address)]


class HostRoles(Section):
    """The roles of one host; a role without a value (`ingest:`) has its defaults."""

    balancer: BalancerOptions | None = None
    haproxy: HaproxyOptions | None = None
    ingest: IngestOptions | None = None
    app: AppOptions | None = None
    nginx: NginxOptions | None = None
    redis: RedisOptions | None = None
    sentinel: SentinelOptions | None = None
    clickhouse: ClickHouseOptions | None = None
    keeper: KeeperOptions | None = None
    witness: WitnessOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_for_empty(cls, value: Any) -> Any:  # whatever YAML can hold
        if isinstance(value, dict):
            return {role: {} if options is None else options for role, options in value.items()}
        return value

    def items(self) -> Iterator[tuple[Role, RoleOptions]]:
        """Each role that the host has with its options, in the order of `Role`."""
        for role in Role:
            options = getattr(self, role, None)  # Keepalived follows from the region's VIPs.
            if options is not None:
                yield role, options


class HostEntry(Section):
    """A host as the file has it."""

    name: Name
    address: Address = Field(description="Where all its roles are reached.")
    interface: InterfaceName = Field(default="eth0", description="What has that address; VIPs come to it too.")
    roles: HostRoles


class Vips(Section):
    """
    Addresses of a region that move from one host to another, so that who uses them need not know any host.

    Of a region, since the hosts that share one must be in one segment: where it moves to is told by ARP.
    """

    balancer: Address | None = Field(default=None, description="Where agents send to: of the balancers, and HAProxy.")
    nginx: Address | None = Field(default=None, description="Where browsers come in: of NGINX.")

    def items(self) -> Iterator[tuple[Role, str]]:
        """Each role that has one, with its address."""
        for role, address in ((Role.BALANCER, self.balancer), (Role.NGINX, self.nginx)):
            if address is not None:
                yield role, address


class Rack(Section):
    """Hosts that can be lost together: one switch, one power feed."""

    name: Name
    hosts: tuple[HostEntry, ...] = Field(min_length=1)


class Region(Section):
    """Racks of one site."""

    name: Name
    vips: Vips = Vips()
    racks: tuple[Rack, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Node:
    """One role of one host."""

    name: str
    role: Role
    host: str
    address: str
    rack: str
    region: str
    options: RoleOptions
    path: str = field(default="", compare=False, repr=False)
    """Of its options in cluster.yaml, for messages."""

    def options_as(self, kind: type[OptionsT]) -> OptionsT:
        """
        The options as those of a known role, such as `node.options_as(ClickHouseOptions).shard`.

        Raises:
            TypeError: The node has another role.
        """
        if not isinstance(self.options, kind):
            raise TypeError(f"{self.name} is no {kind.role}: it is a {self.role}")
        return self.options

    def distance_to(self, other: "Node") -> int:
        """0 on the same host, 1 in the same rack, 2 in the same region, 3 elsewhere: sort by it for nearest first."""
        if self.region != other.region:
            return 3
        if self.rack != other.rack:
            return 2
        return 1 if self.host != other.host else 0


@dataclass(frozen=True, slots=True)
class Vip:
    """An address that some nodes share, and which of them has it now is decided among them."""

    role: Role
    address: str
    region: str
    nodes: tuple[Node, ...]
    path: str = field(default="", compare=False, repr=False)
    """In cluster.yaml, for messages."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host, where it stands and what it has to do."""

    name: str
    address: str
    interface: str
    rack: str
    region: str
    nodes: tuple[Node, ...]
    path: str = field(default="", compare=False, repr=False)
    """Of the host in cluster.yaml, for messages."""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of the host."""
        return frozenset(node.role for node in self.nodes)


class Topology(Section):
    """A whole cluster. Hosts are in the order of the file, the roles of a host in the order of `Role`."""

    cluster: Annotated[str, Field(max_length=MAX_CLUSTER_CHARS), BeforeValidator(parse_cluster_name)] = Field(
        description="Name of the cluster: of ClickHouse's cluster and Sentinel's service too."
    )
    secrets: SecretRefs = SecretRefs()
    timers: Timers = Timers()
    store: StoreSettings = StoreSettings()
    ingest: IngestSettings = IngestSettings()
    balance: BalanceConfig = BalanceConfig()
    calls: CallsConfig = CallsConfig()
    live: LiveConfig = LiveConfig()
    oidc: OidcConfig = OidcConfig()
    log: LogConfig = LogConfig()
    hooks: tuple[Hook, ...] = ()
    regions: tuple[Region, ...] = Field(min_length=1)

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        """Every host, in file order."""
        return tuple(
            _host(entry, region, rack=rack.name, path=f"regions[{r}].racks[{k}].hosts[{h}]")
            for r, region in enumerate(self.regions)
            for k, rack in enumerate(region.racks)
            for h, entry in enumerate(rack.hosts)
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every role of every host."""
        return tuple(node for host in self.hosts for node in host.nodes)

    def nodes_of(self, role: Role) -> tuple[Node, ...]:
        """The nodes of one role, in file order."""
        return tuple(node for node in self.nodes if node.role == role)

    def node(self, name: str) -> Node:
        """
        The node of that name.

        Raises:
            TopologyError: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise _no_such("node", name, [node.name for node in self.nodes])

    def host(self, name: str) -> Host:
        """
        The host of that name.

        Raises:
            TopologyError: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise _no_such("host", name, [host.name for host in self.hosts])

    @cached_property
    def shards(self) -> dict[int, tuple[Node, ...]]:
        """The ClickHouse servers of each shard, by shard number, in the order of their replica numbers."""
        found: dict[int, list[tuple[int, Node]]] = {}
        for node in self.nodes_of(Role.CLICKHOUSE):
            options = node.options_as(ClickHouseOptions)
            found.setdefault(options.shard, []).append((options.replica, node))
        return {
            shard: tuple(node for _, node in sorted(servers, key=lambda one: one[0]))
            for shard, servers in sorted(found.items())
        }

    @cached_property
    def vips(self) -> tuple[Vip, ...]:
        """Every VIP, in file order, with the nodes of its region that have its role."""
        return tuple(
            Vip(
                role, address, region.name, tuple(n for n in self.nodes_of(role) if n.region == region.name),
                f"regions[{number}].vips.{role}",
            )
            for number, region in enumerate(self.regions)
            for role, address in region.vips.items()
        )  # fmt: skip

    def vip_of(self, node: Node) -> str | None:
        """
        The VIP that may come to a node, which must listen there as well as at its own address.

        HAProxy has that of the balancer beside it: agents know one address, whatever they speak.
        """
        role = Role.BALANCER if node.role == Role.HAPROXY else node.role
        hosts = {vip.address: {one.host for one in vip.nodes} for vip in self.vips if vip.role == role}
        return next((address for address, its in hosts.items() if node.host in its), None)

    def majority(self, role: Role) -> int:
        """How many nodes of a quorum (Keeper, Sentinel) must hear each other: more than half."""
        return len(self.nodes_of(role)) // 2 + 1

    @cached_property
    def witness_regions(self) -> frozenset[str]:
        """Regions with a witness: they vote, and carry no data."""
        return frozenset(node.region for node in self.nodes_of(Role.WITNESS))

    @cached_property
    def data_regions(self) -> tuple[str, ...]:
        """Regions without a witness, in file order."""
        return tuple(region.name for region in self.regions if region.name not in self.witness_regions)


def _host(entry: HostEntry, region: Region, *, rack: str, path: str) -> Host:
    roles = dict(entry.roles.items())
    if any(role in roles for role, _ in region.vips.items()):
        roles[Role.KEEPALIVED] = KeepalivedOptions()
    nodes = tuple(
        Node(
            name=options.name or f"{entry.name}-{role}", role=role, host=entry.name, address=entry.address,
            rack=rack, region=region.name, options=options, path=f"{path}.roles.{role}",
        )
        for role, options in roles.items()
    )  # fmt: skip
    return Host(entry.name, entry.address, entry.interface, rack, region.name, nodes, path)


def _no_such(kind: str, name: str, names: list[str]) -> TopologyError:
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    return TopologyError([TopologyFault("regions", f"no {kind} has the name {name!r}; {hint}")])

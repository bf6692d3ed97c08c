"""What a host can be in a cluster, and what each role may be told."""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from everline.config_sections import Section

MAX_CLUSTER_CHARS: Final = 24
MAX_HOST_CHARS: Final = 40
"""So that `ev-<cluster>-<host>` and `<host>-<role>` stay below 72 characters: names of files and namespaces."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_INTERFACE: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$"
_ABSOLUTE: Final = re.compile(r"/[A-Za-z0-9._/-]*[A-Za-z0-9._-]")


class Role(StrEnum):
    """What runs on a host: Everline's own processes and those of others."""

    BALANCER = "balancer"
    HAPROXY = "haproxy"
    INGEST = "ingest"
    APP = "app"
    NGINX = "nginx"
    REDIS = "redis"
    SENTINEL = "sentinel"
    CLICKHOUSE = "clickhouse"
    KEEPER = "keeper"
    WITNESS = "witness"
    KEEPALIVED = "keepalived"


def parse_name(value: object) -> object:
    """
    Look at a name: small ASCII letters, digits and hyphens, since file, unit and interface names are made of it.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    quotes = "; put it in quotes" if isinstance(value, int | float | bool) else ""
    raise ValueError(f"need a name of small letters, digits and hyphens (not at the ends), such as fra1-a{quotes}")


def parse_cluster_name(value: object) -> object:
    """
    Look at the name of a cluster: a name that starts with a letter, since ClickHouse's files have elements named so.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str) and value[:1].isdigit():
        raise ValueError("need a name that starts with a letter: ClickHouse's files have elements of that name")
    return parse_name(value)


def _absolute(value: str) -> str:
    if not _ABSOLUTE.fullmatch(value) or ".." in value.split("/"):
        raise ValueError("need an absolute path of letters, digits and . _ - such as /var/lib/everline/ingest")
    return value


Name = Annotated[str, Field(max_length=MAX_HOST_CHARS), BeforeValidator(parse_name)]
NodeName = Annotated[str, Field(max_length=63), BeforeValidator(parse_name)]
InterfaceName = Annotated[str, Field(pattern=_INTERFACE)]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]


class Listening(NamedTuple):
    """A port that a role opens: the key that names it, its number, over `udp` or `tcp`."""

    key: str
    port: int
    protocol: str


class RoleOptions(Section):
    """What every role may be told."""

    role: ClassVar[Role]
    udp: ClassVar[frozenset[str]] = frozenset()
    """Keys of ports that are opened over UDP."""
    udp_only: ClassVar[frozenset[str]] = frozenset()
    """Of these, those that are not opened over TCP too."""

    name: NodeName | None = Field(default=None, description="Name of the node; <host>-<role> unless given.")

    def ports(self) -> tuple[Listening, ...]:
        """Every port that the role opens on its host."""
        numbers: dict[str, Any] = {key: getattr(self, key) for key in type(self).model_fields}
        found = [
            Listening(key, port, protocol)
            for key, port in numbers.items()
            if key == "port" or key.endswith("_port")
            for protocol in ("udp", "tcp")
            if (key in self.udp if protocol == "udp" else key not in self.udp_only)
        ]
        return tuple(found)


class IngestOptions(RoleOptions):
    """Takes packets in, decodes and stores them."""

    role = Role.INGEST
    udp = frozenset({"hep_port"})

    hep_port: Port = Field(default=9060, description="HEP and SIP over UDP and TCP.")
    tls_port: Port = Field(default=9061, description="HEP over TLS, once a certificate and key are given.")
    http_port: Port = Field(default=9080, description="Health, metrics and status.")
    tls_certificate: AbsolutePath | None = Field(default=None, description="PEM file on the host.")
    tls_key: AbsolutePath | None = Field(default=None, description="PEM file on the host.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/ingest", description="Spool, journal.")


class AppOptions(RoleOptions):
    """Serves pages, the API and events."""

    role = Role.APP

    http_port: Port = Field(default=5173, description="Pages and the API; NGINX stands in front.")
    backup: bool = Field(default=False, description="Takes requests only while no other app node does.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/app", description="Journal.")


class BalancerOptions(RoleOptions):
    """Takes packets for all ingest nodes and sends each by its Call-ID."""

    role = Role.BALANCER
    udp = frozenset({"hep_port"})
    udp_only = frozenset({"hep_port"})

    hep_port: Port = Field(default=9060, description="HEP and SIP over UDP.")
    http_port: Port = Field(default=9081, description="Health, metrics and status.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/balancer", description="Journal.")


class HaproxyOptions(RoleOptions):
    """The door for agents that send HEP over TCP or TLS, in front of the ingest nodes."""

    role = Role.HAPROXY

    hep_port: Port = Field(default=9060, description="HEP and SIP over TCP.")
    tls_port: Port = Field(default=9061, description="HEP over TLS, once a certificate is given.")
    http_port: Port = Field(default=9082, description="Health and metrics.")
    tls_pem: AbsolutePath | None = Field(
        default=None, description="PEM file on the host: the certificate, its chain and its key, one after another."
    )


class WitnessOptions(RoleOptions):
    """Watches from a third site and carries no data: what a region looks like from outside."""

    role = Role.WITNESS

    http_port: Port = Field(default=9083, description="Health, metrics and status.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/witness", description="Journal.")


class RequestLog(StrEnum):
    """Which requests NGINX writes down."""

    NONE = "none"
    FAILED = "failed"
    ALL = "all"


class NginxOptions(RoleOptions):
    """The door for browsers and API clients, in front of the app nodes."""

    role = Role.NGINX

    http_port: Port = Field(default=80, description="Where browsers come in; with a certificate they are sent on.")
    https_port: Port = Field(default=443, description="Where browsers come in, once a certificate and key are given.")
    tls_certificate: AbsolutePath | None = Field(default=None, description="PEM file on the host, with its chain.")
    tls_key: AbsolutePath | None = Field(default=None, description="PEM file on the host.")
    request_log: RequestLog = Field(
        default=RequestLog.FAILED, description="A line for each request that failed, for all, or for none."
    )

    def ports(self) -> tuple[Listening, ...]:
        """Every port that the role opens: that of https needs a certificate."""
        return tuple(one for one in super().ports() if one.key != "https_port" or self.tls_certificate)


class RedisOptions(RoleOptions):
    """One Redis server; the first one in the file is the primary when the cluster is first started."""

    role = Role.REDIS

    port: Port = Field(default=6379, description="Redis.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/redis", description="Its append-only file.")


class SentinelOptions(RoleOptions):
    """One Redis Sentinel."""

    role = Role.SENTINEL

    port: Port = Field(default=26_379, description="Sentinel.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/sentinel", description="What it writes of itself.")


class ClickHouseOptions(RoleOptions):
    """One ClickHouse server: a replica of one shard."""

    role = Role.CLICKHOUSE

    shard: int = Field(strict=True, ge=1, le=1_000, description="Which part of the calls it keeps; 1, 2, …")
    replica: int = Field(strict=True, ge=1, le=9, description="Which of the shard's servers it is; 1 or 2.")
    tcp_port: Port = Field(default=9000, description="Native protocol.")
    http_port: Port = Field(default=8123, description="HTTP.")
    interserver_port: Port = Field(default=9009, description="Between replicas.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/clickhouse", description="Tables.")


class KeeperOptions(RoleOptions):
    """One member of the coordination quorum: ClickHouse Keeper or ZooKeeper."""

    role = Role.KEEPER

    client_port: Port = Field(default=2181, description="Clients.")
    peer_port: Port = Field(default=2888, description="ZooKeeper: between members.")
    election_port: Port = Field(default=3888, description="ZooKeeper: elections.")
    raft_port: Port = Field(default=9234, description="ClickHouse Keeper: between members.")
    data_dir: AbsolutePath = Field(default="/var/lib/everline/keeper", description="Log and snapshots.")


class KeepalivedOptions(RoleOptions):
    """Moves VIPs to a host that can serve them: what every host has that a VIP of its region may come to."""

    role = Role.KEEPALIVED

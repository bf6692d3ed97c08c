"""What cluster.yaml says, as the parts of one node want to be told: addresses nearest first, settings, deadlines."""

from hashlib import blake2s
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from everline.balance.ring import Member
from everline.bus.settings import Address, RedisSettings
from everline.cluster_file import Secrets
from everline.config import Endpoint, IngestConfig
from everline.store.servers import Login, ServerAddress
from everline.topology.model import ClickHouseOptions, IngestOptions, Node, Role, SentinelOptions, Topology

CLICKHOUSE_USER: Final = "everline"


def server_addresses(topology: Topology, *, near: Node | None = None) -> tuple[ServerAddress, ...]:
    """Every ClickHouse server; nearest first, as seen from a node."""
    nodes = topology.nodes_of(Role.CLICKHOUSE)
    if near:
        nodes = tuple(sorted(nodes, key=near.distance_to))
    return tuple(map(_server_address, nodes))


def clickhouse_login(topology: Topology, secrets: Secrets) -> Login:
    """How nodes sign in at ClickHouse."""
    return Login(CLICKHOUSE_USER, secrets.clickhouse, connect_s=topology.timers.connect_ms / 1000)


def redis_settings(topology: Topology, secrets: Secrets) -> RedisSettings:
    """Where the Sentinels are, and how long Redis may take."""
    sentinels = tuple(
        Address(node.address, node.options_as(SentinelOptions).port) for node in topology.nodes_of(Role.SENTINEL)
    )
    return RedisSettings(topology.cluster, sentinels, password=secrets.redis)


def ingest_config(topology: Topology, node: Node, secrets: Secrets) -> IngestConfig:
    """How an ingest node takes packets in; what the cluster's own HAProxy says of whose they are is believed."""
    options = node.options_as(IngestOptions)
    doors = tuple(ip_network(door.address) for door in topology.nodes_of(Role.HAPROXY))
    settings = topology.ingest.model_copy(update={"proxies": (*topology.ingest.proxies, *doors)})
    return IngestConfig(
        **settings.model_dump(),
        hep=Endpoint(node.address, options.hep_port),
        tls=Endpoint(node.address, options.tls_port),
        tls_certificate=_path(options.tls_certificate),
        tls_key=_path(options.tls_key),
        auth_key=SecretStr(secrets.hep_key) if secrets.hep_key else None,
    )


def balance_members(topology: Topology) -> dict[Member, tuple[str, int]]:
    """Every ingest node as balancers know it, and where it takes packets: the same on all of them."""
    return {
        Member(node.name, f"{node.region}/{node.rack}", node.region): (
            node.address, node.options_as(IngestOptions).hep_port,
        )
        for node in topology.nodes_of(Role.INGEST)
    }  # fmt: skip


def ready_addresses(topology: Topology) -> dict[str, tuple[str, int]]:
    """Where each ingest node answers `/readyz`."""
    return {
        node.name: (node.address, node.options_as(IngestOptions).http_port) for node in topology.nodes_of(Role.INGEST)
    }


def keepalive_key(secrets: Secrets) -> bytes:
    """What balancers and ingest nodes sign their questions and answers with; 32 bytes."""
    return blake2s(secrets.interserver.encode(), person=b"balance").digest()


def _server_address(node: Node) -> ServerAddress:
    options = node.options_as(ClickHouseOptions)
    return ServerAddress(node.name, node.address, options.tcp_port, options.shard, options.replica)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None

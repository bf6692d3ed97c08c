"""What every node of a cluster has, whatever its role: its place, and its ways to Keeper, Redis and ClickHouse."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.bus.discovery import RedisPrimary
from everline.bus.redis import RedisBus
from everline.cluster.beat import Health
from everline.cluster.keeper import Keeper
from everline.cluster.leader import Duty
from everline.cluster.member import keeper_servers
from everline.cluster.table import Row
from everline.cluster.wiring import clickhouse_login, redis_settings, server_addresses
from everline.cluster_file import Secrets
from everline.store.servers import Server
from everline.topology.model import Node, Topology

ASKING: Final = 3
"""Questions to one server at a time: the page of a call must not wait for an audit."""


@dataclass(frozen=True, slots=True)
class Common:
    """
    Made before anything can be reached: a node starts while all of the cluster is away.

    Attributes:
        data: Directory of all that the node keeps.
        servers: Every ClickHouse server, nearest first.
    """

    topology: Topology
    node: Node
    secrets: Secrets
    data: Path
    keeper: Keeper
    primary: RedisPrimary
    bus: RedisBus
    servers: tuple[Server, ...]

    @classmethod
    def of(cls, topology: Topology, node: Node, secrets: Secrets, data: Path) -> Self:
        """The parts that cluster.yaml describes."""
        login = clickhouse_login(topology, secrets)
        primary = RedisPrimary(redis_settings(topology, secrets))
        return cls(
            topology=topology,
            node=node,
            secrets=secrets,
            data=data,
            keeper=Keeper(
                keeper_servers(topology), session_ms=topology.timers.keeper_session_ms, secret=secrets.interserver
            ),
            primary=primary,
            bus=RedisBus(primary, max_calls=topology.live.max_calls),
            servers=tuple(Server(address, login, asking=ASKING) for address in server_addresses(topology, near=node)),
        )

    async def close(self) -> None:
        """Hang up everywhere."""
        await self.bus.close()
        await asyncio.gather(*(server.close() for server in self.servers))
        await self.keeper.close()


@dataclass(frozen=True, slots=True)
class Vitals:
    """
    What every application of a node tells machines.

    Attributes:
        unready: Gives the reasons why the node must get no requests now.
        metrics: Gives the Prometheus text.
        rows: Gives who is heard.
        closing: Set once the node takes no more requests.
    """

    unready: Callable[[], list[str]]
    metrics: Callable[[], str]
    rows: Callable[[], Sequence[Row]]
    closing: asyncio.Event


class RolePart(Protocol):
    """What a node of one role does besides being a member of its cluster."""

    @property
    def duties(self) -> Sequence[Duty]:
        """What it does while it leads."""
        ...

    def collectors(self) -> Sequence[Collector]:
        """What it counts."""
        ...

    def application(self, vitals: Vitals) -> ASGIApp:
        """What it serves over HTTP."""
        ...

    def health(self, token: int) -> Health:
        """What its heartbeats say."""
        ...

    def unfit(self) -> str:
        """Why it should not lead now; empty if it may."""
        ...

    def unready(self) -> list[str]:
        """Why it should get no requests (or packets) now."""
        ...

    async def start(self) -> None:
        """Open what it listens on."""
        ...

    async def run(self) -> None:
        """Work, for ever."""
        ...

    async def stop(self) -> None:
        """Take nothing new, and bring what was taken to where it belongs."""
        ...

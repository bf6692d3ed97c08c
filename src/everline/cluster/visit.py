"""Somebody who is no node and wants to see or change something in a cluster: the command line, a drill."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from everline.bus.discovery import RedisPrimary
from everline.cluster.keeper import Keeper
from everline.cluster.member import keeper_servers
from everline.cluster.wiring import clickhouse_login, redis_settings, server_addresses
from everline.cluster_file import Secrets
from everline.store.servers import Server
from everline.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Visit:
    """Ways into a cluster; each connects when it is first used, and may find nobody."""

    topology: Topology
    secrets: Secrets
    keeper: Keeper
    primary: RedisPrimary
    servers: tuple[Server, ...]


@asynccontextmanager
async def visiting(topology: Topology, secrets: Secrets) -> AsyncIterator[Visit]:
    """Ways into a cluster, closed at the end."""
    login = clickhouse_login(topology, secrets)
    visit = Visit(
        topology,
        secrets,
        Keeper(keeper_servers(topology), session_ms=topology.timers.keeper_session_ms, secret=secrets.interserver),
        RedisPrimary(redis_settings(topology, secrets)),
        tuple(Server(address, login) for address in server_addresses(topology)),
    )
    visit.keeper.start()
    following = asyncio.create_task(visit.primary.run(), name="redis-primary")
    try:
        yield visit
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await asyncio.gather(*(server.close() for server in visit.servers))
        await visit.keeper.close()

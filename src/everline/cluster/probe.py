"""
Every node of a cluster, asked in its own protocol: does it serve, does it agree, how is its clock.

What comes back is for people: each fault is a sentence with the key or host to look at.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from time import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError, ResponseError

from everline.bus.connection import command, connect, in_our_words
from everline.bus.errors import BusLostError
from everline.bus.settings import Address, RedisSettings
from everline.cluster.answers import (
    PARTNER_COLUMNS,
    REPLICA_COLUMNS,
    Figures,
    http_skew,
    info,
    keeper_figures,
    nearest_skew,
    pairs,
    redis_role,
    replicated_tables,
)
from everline.cluster_file import Secrets
from everline.errors import EverlineError
from everline.store.cluster_schema import REPLICATED
from everline.store.errors import StoreError
from everline.store.schema import DATABASE
from everline.store.servers import Login, Server, ServerAddress
from everline.topology.model import (
    ClickHouseOptions,
    KeeperOptions,
    Node,
    RedisOptions,
    Role,
    SentinelOptions,
    Topology,
    Vip,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_SKEW_S: Final = 2.0
OLDEST: Final[Mapping[Role, tuple[int, ...]]] = {Role.CLICKHOUSE: (18, 16), Role.REDIS: (7, 0), Role.KEEPER: (3, 5)}
"""The first versions that read what `everline render` writes."""
CLICKHOUSE_USER: Final = "everline"
_MOST_BYTES: Final = 1 << 16
_OF_REPLICAS: Final = f"FROM system.replicas WHERE database = '{DATABASE}'"


class Standing(StrEnum):
    """READY: serves, and all is as it should be. UNREADY: answers. DOWN: does not."""

    READY = "ready"
    UNREADY = "unready"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What one node answered.

    Attributes:
        said: What it is now, such as `primary, 2 replicas`.
        skew_s: Its clock less ours, the smallest difference that the answer allows; None if it tells no time.
        tables: How many of `REPLICATED` a ClickHouse server has: all once a leader has made them. None for other roles.
        figures: What else its role can tell in numbers, such as `lag_s`.
    """

    said: str
    faults: tuple[str, ...] = ()
    version: str = ""
    skew_s: float | None = None
    tables: int | None = None
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node: `faults` say what keeps it from being ready; a clock that is off is one of them."""

    node: str
    role: Role
    host: str
    address: str
    standing: Standing
    said: str = ""
    faults: tuple[str, ...] = field(default=())
    version: str = ""
    skew_s: float | None = None
    tables: int | None = None
    figures: Figures = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return asdict(self)


class ProbeError(EverlineError):
    """A node gave no answer that can be used."""


async def probe(
    topology: Topology, secrets: Secrets, *, deadline_s: float, nodes: Iterable[Node] | None = None
) -> list[NodeReport]:
    """Ask every node, or some, at the same time; what can't be asked is a report too. Takes `deadline_s` at most."""
    asked = topology.nodes if nodes is None else tuple(nodes)
    prober = _Prober(topology, secrets, deadline_s)
    return list(await asyncio.gather(*(_report(prober, node, deadline_s) for node in asked)))


async def _report(prober: "_Prober", node: Node, deadline_s: float) -> NodeReport:
    ask = prober.ways()[node.role]
    try:
        async with asyncio.timeout(deadline_s):
            seen = await ask(node)
    except TimeoutError:
        return _reported(node, Standing.DOWN, Seen("", (f"{node.address} gives no answer within {deadline_s:g} s",)))
    except EverlineError as fault:
        return _reported(node, Standing.DOWN, Seen("", (str(fault),)))
    faults = (*seen.faults, *_age_faults(node, seen.version), *_clock_faults(node, seen.skew_s))
    standing = Standing.UNREADY if faults else Standing.READY
    return _reported(node, standing, replace(seen, faults=faults))


def _reported(node: Node, standing: Standing, seen: Seen) -> NodeReport:
    return NodeReport(
        node.name,
        node.role,
        node.host,
        node.address,
        standing,
        seen.said,
        seen.faults,
        seen.version,
        seen.skew_s,
        seen.tables,
        seen.figures,
    )


def _clock_faults(node: Node, skew_s: float | None) -> list[str]:
    if skew_s is None or abs(skew_s) <= MOST_SKEW_S:
        return []
    way = "ahead of" if skew_s > 0 else "behind"
    return [f"the clock of host {node.host} is {abs(skew_s):.1f} s {way} ours: let NTP run on both"]


def _age_faults(node: Node, version: str) -> list[str]:
    oldest = OLDEST.get(node.role)
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    if not oldest or not numbers or numbers >= oldest:
        return []
    need = ".".join(map(str, oldest))
    return [f"version {version} of {node.role} is too old, need {need} or later: upgrade it on host {node.host}"]


class _Prober:
    """How each role is asked. Every way raises EverlineError when the node gives no answer."""

    def __init__(self, topology: Topology, secrets: Secrets, deadline_s: float) -> None:
        self._topology = topology
        self._secrets = secrets
        self._deadline_s = deadline_s
        self._connect_s = min(topology.timers.connect_ms / 1000, deadline_s)

    def ways(self) -> dict[Role, Callable[[Node], Awaitable[Seen]]]:
        asked_by_http = (Role.BALANCER, Role.INGEST, Role.APP, Role.WITNESS, Role.HAPROXY, Role.NGINX)
        everline = dict.fromkeys(asked_by_http, self._ready)
        return {
            Role.REDIS: self._redis, Role.SENTINEL: self._sentinel, Role.CLICKHOUSE: self._clickhouse,
            Role.KEEPER: self._keeper, Role.KEEPALIVED: self._keepalived, **everline,
        }  # fmt: skip

    # --- Redis ---

    async def _redis(self, node: Node) -> Seen:
        async with self._client(node, node.options_as(RedisOptions).port) as client:
            await command(client, "PING")
            asked_at = time()
            seconds, micros = await command(client, "TIME")
            answered_at = time()
            role = await command(client, "ROLE")
            replication = info(await command(client, "INFO", "replication"))
            server = info(await command(client, "INFO", "server"))
        at = int(seconds) + int(micros) / 1e6
        skew = nearest_skew(at, at, asked_at=asked_at, answered_at=answered_at)
        others = len(self._topology.nodes_of(Role.REDIS)) - 1
        said, faults, figures = redis_role(role, replication, others=others)
        return Seen(said, tuple(faults), server.get("redis_version", ""), skew, figures=figures)

    async def _sentinel(self, node: Node) -> Seen:
        service = self._topology.cluster
        async with self._client(node, node.options_as(SentinelOptions).port) as client:
            try:
                told = pairs(await command(client, "SENTINEL", "MASTER", service))
            except ResponseError as error:
                raise ProbeError(
                    f"Sentinel {node.name} does not watch {service!r} ({error}): render it anew"
                ) from error
            try:
                await command(client, "SENTINEL", "CKQUORUM", service)
                faults = []
            except ResponseError as error:
                faults = [f"no quorum: {error}"]
            server = info(await command(client, "INFO", "server"))
        return Seen(
            f"primary {Address(told['ip'], int(told['port']))}",
            (*faults, *self._sentinel_faults(told)), server.get("redis_version", ""),
            figures={"config_epoch": int(told["config-epoch"]), "quorum": int(told["quorum"])},
        )  # fmt: skip

    def _sentinel_faults(self, told: Mapping[str, str]) -> list[str]:
        faults = [f"the primary is {told['flags']}"] if told["flags"] != "master" else []
        for key, role, what in (
            ("num-other-sentinels", Role.SENTINEL, "other Sentinels"), ("num-slaves", Role.REDIS, "replicas"),
        ):  # fmt: skip
            known, need = int(told[key]), len(self._topology.nodes_of(role)) - 1
            if known < need:
                faults.append(f"knows {known} of {need} {what}")
        return faults

    @asynccontextmanager
    async def _client(self, node: Node, port: int) -> AsyncIterator["Redis"]:
        address = Address(node.address, port)
        settings = RedisSettings("", (), self._secrets.redis, connect_s=self._connect_s)
        client = connect(address, settings)
        try:
            with in_our_words(address):
                yield client
        except BusLostError as fault:
            raise ProbeError(f"{address} gives no answer ({_link_reason(fault)}): does {node.name} run?") from fault
        except RedisError as fault:
            raise ProbeError(f"{node.role} {address}: {_short(str(fault))}") from fault
        finally:
            await client.aclose()

    # --- ClickHouse ---

    async def _clickhouse(self, node: Node) -> Seen:
        options = node.options_as(ClickHouseOptions)
        address = ServerAddress(node.name, node.address, options.tcp_port, options.shard, options.replica)
        server = Server(address, Login(CLICKHOUSE_USER, self._secrets.clickhouse, connect_s=self._connect_s))
        limit_s = max(1.0, self._deadline_s - 0.5)
        try:
            asked_at = time()
            about = await server.select("SELECT version() AS version, toUnixTimestamp(now()) AS now", limit_s=limit_s)
            answered_at = time()
            own = await server.select(f"SELECT {', '.join(REPLICA_COLUMNS)} {_OF_REPLICAS}", limit_s=limit_s)
            partners = await self._partners(server, limit_s=(self._deadline_s - (time() - asked_at)) / 2)
        finally:
            await server.close()
        [(version, now)] = list(about.rows("version", "now"))
        skew = nearest_skew(float(now), float(now) + 1, asked_at=asked_at, answered_at=answered_at)
        faults, tables, figures = replicated_tables(
            own.rows(*REPLICA_COLUMNS), partners, cluster=self._topology.cluster
        )  # fmt: skip
        said = f"shard {options.shard} replica {options.replica}, {tables} of {len(REPLICATED)} tables"
        return Seen(said, faults, str(version), skew, tables, figures)

    async def _partners(self, server: Server, *, limit_s: float) -> dict[str, tuple[int, int]] | None:
        """How many replicas of each table take part, and how many there are; None if Keeper does not tell."""
        try:
            answer = await server.select(f"SELECT {', '.join(PARTNER_COLUMNS)} {_OF_REPLICAS}", limit_s=limit_s)
        except StoreError:
            return None
        return {table: (active, total) for table, active, total in answer.rows(*PARTNER_COLUMNS)}

    # --- Keeper ---

    async def _keeper(self, node: Node) -> Seen:
        answer = (await self._said(node, node.options_as(KeeperOptions).client_port, b"srvr")).decode(errors="replace")
        version = re.search(r"version: v?([\d.]+)", answer)
        mode = re.search(r"^Mode: (\w+)", answer, re.MULTILINE)
        if not mode:
            why = " ".join(answer.split())[:120] or "an empty answer; is srvr in 4lw.commands.whitelist?"
            raise ProbeError(f"Keeper {node.name} serves nobody ({why}): has it a quorum?")
        said = mode.group(1)
        faults = () if said != "standalone" else ("runs alone: it does not know the other Keepers; render it anew",)
        return Seen(said, faults, version.group(1) if version else "", figures=keeper_figures(answer))

    # --- Everline, and what stands in front of it and answers for it ---

    async def _ready(self, node: Node) -> Seen:
        port: int = node.options.http_port  # type: ignore[attr-defined]  # every role that is asked so has one
        request = f"GET /readyz HTTP/1.1\r\nHost: {node.address}\r\nConnection: close\r\n\r\n".encode()
        asked_at = time()
        answer = (await self._said(node, port, request)).decode(errors="replace")
        answered_at = time()
        head, _, body = answer.partition("\r\n\r\n")
        status = re.match(r"HTTP/1\.\d (\d{3})", head)
        if not status:
            raise ProbeError(
                f"{node.name} at {node.address}:{port} speaks no HTTP: does another program have its port?"
            )
        skew = http_skew(head, asked_at, answered_at)
        if status.group(1) == "200":
            return Seen("ready", skew_s=skew)
        reasons = tuple(line.strip() for line in body.splitlines() if line.strip())
        return Seen("not ready", reasons or (f"answers {status.group(1)} without a reason",), skew_s=skew)

    # --- keepalived ---

    async def _keepalived(self, node: Node) -> Seen:
        """It has no port: whether somebody has its VIPs is asked, wherever that is, as those outside would."""
        vips = [vip for vip in self._topology.vips if any(one.host == node.host for one in vip.nodes)]
        answers = await asyncio.gather(*map(self._is_had, vips))
        faults = tuple(
            f"nobody answers at {vip.address}, the VIP of {vip.role} in {vip.region}: do keepalived and {vip.role} run?"
            for vip, answer in zip(vips, answers, strict=True)
            if not answer
        )
        return Seen(", ".join(f"{vip.role} at {vip.address}" for vip in vips), faults)

    async def _is_had(self, vip: Vip) -> bool:
        port: int = vip.nodes[0].options.http_port  # type: ignore[attr-defined]  # roles with a VIP have one
        try:
            async with asyncio.timeout(self._connect_s):
                _, writer = await asyncio.open_connection(vip.address, port)
        except ConnectionRefusedError:
            return True  # By the host that has it.
        except OSError:
            return False
        writer.close()
        return True

    async def _said(self, node: Node, port: int, question: bytes) -> bytes:
        """All that a node answers to a question, until it hangs up."""
        where = Address(node.address, port)
        try:
            async with asyncio.timeout(self._connect_s):
                reader, writer = await asyncio.open_connection(*where)
        except TimeoutError as error:
            raise ProbeError(f"{where} takes no connection within {self._connect_s:g} s") from error
        except OSError as error:
            raise ProbeError(f"{where} takes no connection ({_os_reason(error)}): does {node.name} run?") from error
        try:
            writer.write(question)
            return await reader.read(_MOST_BYTES) + await reader.read(_MOST_BYTES)
        except OSError as error:
            raise ProbeError(f"{where} hung up ({_os_reason(error)})") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _short(text: str) -> str:
    return " ".join(text.split())[:160]


def _link_reason(fault: BusLostError) -> str:
    """The driver's words hold the address twice; what the system said is behind them."""
    cause = fault.__cause__
    behind = cause.__context__ if cause else None
    return _os_reason(behind) if isinstance(behind, OSError) and behind.errno else _short(fault.reason)


def _os_reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else _short(str(error) or type(error).__name__)

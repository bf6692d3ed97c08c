"""
How every program of a cluster answers, asked directly and at once: for `cluster status` and for whoever starts them.

Heartbeats tell how Everline's nodes do as long as Redis carries them. This asks each program itself, so it still
tells when most of them are gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import httpx2

from everline.bus.connection import command, connect, in_our_words
from everline.bus.settings import Address
from everline.cluster.wiring import clickhouse_login, redis_settings, server_addresses
from everline.cluster_file import Secrets
from everline.errors import EverlineError
from everline.store.servers import Server
from everline.topology.model import (
    AppOptions,
    IngestOptions,
    KeeperOptions,
    Node,
    RedisOptions,
    Role,
    SentinelOptions,
    Topology,
    WitnessOptions,
)

SKEW_S: Final = 2.0
"""Clocks may differ by so much before it is said."""
_KEEPER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class NodeReport:
    """
    One program.

    Attributes:
        is_up: It answers, and does what its role is for.
        said: What it is doing, or what is wrong and what to do, in a few words.
        skew_s: How far its clock is ahead of ours, as far as it tells; None if it tells nothing.
        has_program: False for roles that nothing starts yet.
    """

    node: Node
    is_up: bool
    said: str
    skew_s: float | None = None
    has_program: bool = True

    @property
    def is_skewed(self) -> bool:
        """Whether the clocks are too far apart."""
        return self.skew_s is not None and abs(self.skew_s) > SKEW_S

    def as_json(self) -> dict[str, Any]:  # names and plain values
        """As `--json` prints it."""
        return {
            "node": self.node.name, "role": str(self.node.role), "host": self.node.host, "rack": self.node.rack,
            "region": self.node.region, "up": self.is_up, "said": self.said, "skew_s": self.skew_s,
            "has_program": self.has_program,
        }  # fmt: skip


class ProbeError(EverlineError):
    """A program answers, and not as it should."""


async def probe(topology: Topology, secrets: Secrets, *, deadline_s: float = 2.0) -> list[NodeReport]:
    """How each node answers within a deadline, in the order of the topology."""
    return await asyncio.gather(
        *(probe_node(topology, secrets, node, deadline_s=deadline_s) for node in topology.nodes)
    )


async def probe_node(topology: Topology, secrets: Secrets, node: Node, *, deadline_s: float = 2.0) -> NodeReport:
    """How one node answers; what goes wrong is in the report."""
    ask = _QUESTIONS.get(node.role)
    if ask is None:
        return NodeReport(node, is_up=False, said="nothing starts this role yet", has_program=False)
    try:
        async with asyncio.timeout(deadline_s):
            report = await ask(topology, secrets, node, deadline_s)
    except TimeoutError:
        return NodeReport(node, is_up=False, said=f"no answer within {deadline_s:g} s")
    except EverlineError as fault:
        return NodeReport(node, is_up=False, said=str(fault))
    except (OSError, EOFError, httpx2.HTTPError) as fault:
        return NodeReport(node, is_up=False, said=f"can't be reached ({str(fault) or type(fault).__name__})")
    if report.skew_s is None or not report.is_skewed:
        return report
    off = f"its clock is {report.skew_s:+.1f} s off ours: see NTP on {node.host}"
    return replace(report, said=f"{report.said}; {off}")


async def _redis(topology: Topology, secrets: Secrets, node: Node, _deadline_s: float) -> NodeReport:
    role, now = await _ask_redis(
        topology, secrets, Address(node.address, node.options_as(RedisOptions).port), ("ROLE",), ("TIME",)
    )
    skew_s = int(now[0]) + int(now[1]) / 1e6 - time()
    if role[0] == b"master":
        return NodeReport(node, is_up=True, said=f"primary, {len(role[2])} replicas", skew_s=skew_s)
    link = role[3].decode()
    return NodeReport(
        node, is_up=link == "connected", said=f"replica of {role[1].decode()}:{role[2]}, {link}", skew_s=skew_s
    )


async def _sentinel(topology: Topology, secrets: Secrets, node: Node, _deadline_s: float) -> NodeReport:
    address = Address(node.address, node.options_as(SentinelOptions).port)
    name = topology.cluster
    primary, quorum = await _ask_redis(
        topology, secrets, address, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), ("SENTINEL", "CKQUORUM", name)
    )
    if primary is None:
        raise ProbeError(f"does not know the primary of {name!r}: give it the files that `everline render` writes")
    is_enough = quorum.startswith(b"OK")
    said = f"primary is {primary[0].decode()}:{int(primary[1])}; {quorum.decode()}"
    return NodeReport(node, is_up=is_enough, said=said)


async def _ask_redis(topology: Topology, secrets: Secrets, address: Address, *asked: tuple[str, ...]) -> list[Any]:
    """What a server answers to each command; a refusal as its text."""
    client = connect(address, redis_settings(topology, secrets))
    try:
        with in_our_words(address):
            return [await command(client, *words) for words in asked]
    except Exception as fault:
        if not isinstance(fault, EverlineError):
            raise ProbeError(f"{address} answers {fault}") from fault
        raise
    finally:
        await client.aclose()


async def _clickhouse(topology: Topology, secrets: Secrets, node: Node, deadline_s: float) -> NodeReport:
    [address] = [one for one in server_addresses(topology) if one.name == node.name]
    server = Server(address, clickhouse_login(topology, secrets))
    try:
        [(version, now)] = (
            await server.select("SELECT version() AS version, toUInt32(now()) AS now", limit_s=deadline_s)
        ).rows("version", "now")
        [(tables, asleep, queue, delay)] = (await server.select(_REPLICAS, limit_s=deadline_s)).rows(
            "tables", "asleep", "queue", "delay"
        )
    finally:
        await server.close()
    state = f"{tables} replicated tables" if tables else "no tables yet: the leader makes them"
    if asleep:
        state = f"{asleep} of {tables} tables are read-only: it has no session with Keeper"
    # Whole seconds: half of one is the best guess of the rest.
    return NodeReport(
        node, is_up=not asleep, said=f"{version}, {state}, queue {queue}, delay {delay} s", skew_s=now + 0.5 - time()
    )


_REPLICAS: Final = (
    "SELECT count() AS tables, countIf(is_readonly OR is_session_expired) AS asleep, sum(queue_size) AS queue, "
    "max(absolute_delay) AS delay FROM system.replicas WHERE database = 'everline'"
)


async def _keeper(_topology: Topology, _secrets: Secrets, node: Node, _deadline_s: float) -> NodeReport:
    port = node.options_as(KeeperOptions).client_port
    reader, writer = await asyncio.open_connection(node.address, port)
    try:
        writer.write(b"srvr")
        await writer.drain()
        said = (await reader.read(_KEEPER_BYTES)).decode(errors="replace")
    finally:
        writer.close()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}
    if "Mode" not in found:
        raise ProbeError("serves nobody: it has no majority (are most keepers up, and do they reach each other?)")
    return NodeReport(node, is_up=True, said=f"{found['Mode']}, {found.get('Connections', '?')} connections")


async def _everline(_topology: Topology, _secrets: Secrets, node: Node, deadline_s: float) -> NodeReport:
    options = node.options
    assert isinstance(options, AppOptions | IngestOptions | WitnessOptions)  # noqa: S101 - `_QUESTIONS` says so
    async with httpx2.AsyncClient(timeout=deadline_s, trust_env=False) as client:
        answer = await client.get(f"http://{_host(node.address)}:{options.http_port}/readyz")
    reasons = "; ".join(answer.text.split("\n")).strip("; ")[:500]
    is_ready = answer.status_code == httpx2.codes.OK
    return NodeReport(node, is_up=is_ready, said="ready" if is_ready else reasons, skew_s=_skew_of(answer.headers))


def _skew_of(headers: Mapping[str, str]) -> float | None:
    """Whole seconds: half of one is the best guess of the rest."""
    date = headers.get("date")
    return parsedate_to_datetime(date).timestamp() + 0.5 - time() if date else None


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


_QUESTIONS: Final[Mapping[Role, Callable[[Topology, Secrets, Node, float], Awaitable[NodeReport]]]] = {
    Role.REDIS: _redis,
    Role.SENTINEL: _sentinel,
    Role.CLICKHOUSE: _clickhouse,
    Role.KEEPER: _keeper,
    Role.INGEST: _everline,
    Role.APP: _everline,
    Role.WITNESS: _everline,
}

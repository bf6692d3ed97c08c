"""A cluster from outside: who does what now, and what is stored where. No fault of the lab keeps us from asking."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import httpx2
from redis.exceptions import RedisError

from everline.bus.connection import command, connect
from everline.bus.sentinels import Sentinels
from everline.bus.settings import Address
from everline.cluster.candidacy import Term, parse_term, paths_of
from everline.cluster.entry import Entry
from everline.cluster.fences import not_fenced
from everline.cluster.keeper import KeeperError
from everline.cluster.probe import Standing, probe
from everline.cluster.store_log import StoreLog
from everline.cluster.visit import Visit
from everline.cluster.wiring import redis_settings
from everline.drill.destinations import Destination
from everline.drill.held import read_times
from everline.drill.recovery import Moment, Probe, stored_anywhere
from everline.drill.traffic import run_prefix
from everline.errors import EverlineError
from everline.store.answer import Answer
from everline.store.errors import StoreError
from everline.store.schema import HOUR_US
from everline.store.search import Ask
from everline.store.servers import Server
from everline.store.upkeep.audit import Gap, Lack, ShardAuditor
from everline.store.upkeep.questions import Slice
from everline.topology.model import BalancerOptions, IngestOptions, Node, RedisOptions, Role, Vip

T = TypeVar("T")

LOOK_S: Final = 2.0
GLANCE_S: Final = 0.25
"""A look at Redis: while it hangs, a longer one would see its successor so much later."""
QUESTION_S: Final = 10.0
SETTLED_US: Final = 2_000_000
"""What was received so long ago is on both replicas when all is well."""


async def until(condition: Callable[[], Awaitable[T]], *, within_s: float, what: str) -> T:
    """The first true value of a condition; a failed assertion when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.25)
    return value


class Eyes:
    """Looks at every engine directly."""

    def __init__(self, visit: Visit) -> None:
        self.topology = visit.topology
        self.keeper = visit.keeper
        self.servers = {server.name: server for server in visit.servers}
        self.secrets = visit.secrets
        self._redis = redis_settings(visit.topology, visit.secrets)
        self._sentinels = Sentinels(self._redis)

    async def close(self) -> None:
        """Let its own connections go."""
        await self._sentinels.close()

    @property
    def destinations(self) -> list[Destination]:
        """Every ingest node."""
        return [_destination(node) for node in self.topology.nodes_of(Role.INGEST)]

    @property
    def front(self) -> Destination:
        """The VIP of the first region's balancers, as agents there have it."""
        vip = self.front_vip
        options = vip.nodes[0].options_as(BalancerOptions)
        return Destination("front", vip.address, options.hep_port, options.http_port, vip.region)

    @property
    def front_vip(self) -> Vip:
        """Where agents of the first region send to."""
        return next(vip for vip in self.topology.vips if vip.role is Role.BALANCER)

    async def faults(self) -> list[str]:
        """All that keeps the cluster from being whole, as its nodes say."""
        reports = await probe(self.topology, self.secrets, deadline_s=LOOK_S)
        found = [
            f"{one.node}: {'; '.join(one.faults)}"
            for one in reports
            if one.standing in {Standing.UNREADY, Standing.DOWN}
        ]
        if await self.leader() is None:
            found.append("nobody leads")
        return found

    # --- store ---

    def asking(self, names: Iterable[str] = ()) -> Ask:
        """A question to the whole cluster, through the first of some servers (of all) that answers."""
        chosen = [self.servers[name] for name in names or self.servers]

        async def ask(sql: str) -> Answer:
            fault = StoreError("no server to ask")
            for server in chosen:
                try:
                    return await server.select(sql, limit_s=QUESTION_S)
                except StoreError as refused:
                    fault = refused
            raise fault

        return ask

    def stores_again(self, run: str, since: Moment, nodes: Iterable[Node] = ()) -> Probe:
        """Whether events of each of some ingest nodes (of all) that were sent after a moment are stored anywhere."""
        wanted = frozenset(node.name for node in nodes or self.topology.nodes_of(Role.INGEST))
        return stored_anywhere([_asking(server) for server in self.servers.values()], run, since, nodes=wanted)

    def has_stored(self, run: str, events: int) -> Probe:
        """Whether so many events of a run are stored."""

        async def look() -> bool:
            with suppress(StoreError):
                return len(await read_times(self.asking(), run)) >= events
            return False

        return look

    async def gaps(self, hour: int | None = None) -> list[Gap]:
        """What replicas lack beside each other, and calls beside messages: in an hour, or in the last two."""
        now_us = time.time_ns() // 1000
        first, last = (now_us // HOUR_US - 1, now_us // HOUR_US) if hour is None else (hour, hour)
        part = Slice(first, last, now_us - SETTLED_US)
        found: list[Gap] = []
        for nodes in self.topology.shards.values():
            audit = await ShardAuditor([self.servers[node.name] for node in nodes]).look(part)
            if audit.unasked:
                raise StoreError(f"not asked: {audit.unasked}")
            found += audit.gaps
        return found

    def lacks_messages(self, node: Node, hour: int) -> Probe:
        """Whether a server answers, takes part, and has less than its sibling of an hour."""

        async def look() -> bool:
            with suppress(StoreError):
                return any(gap.server == node.name and gap.lack is Lack.MESSAGES for gap in await self.gaps(hour))
            return False

        return look

    def lacks_nothing(self, hour: int | None = None) -> Probe:
        """Whether all copies are equal in an hour, or in the last two."""

        async def look() -> bool:
            with suppress(StoreError):
                return await self.gaps(hour) == []
            return False

        return look

    async def is_refused(self, term: Term) -> bool:
        """Whether every server refuses the leader's writes with the token of a term."""
        condition = not_fenced(term.token)
        answers = [
            await server.select(f"SELECT toUInt8({condition}) AS may", limit_s=QUESTION_S)
            for server in self.servers.values()
        ]
        return not any(may for answer in answers for (may,) in answer.rows("may"))

    async def history(self, since: Moment) -> list[Entry]:
        """The failover log since a moment."""
        return await StoreLog(list(self.servers.values())).entries(since.epoch_us, 1000)

    # --- bus ---

    async def redis_primary(self) -> Node:
        """The Redis that Sentinels name, by the latest failover."""
        named = await self._sentinels.primary()
        return next(node for node in self.topology.nodes_of(Role.REDIS) if node.address == named.address.host)

    def tells_transitions(self, run: str, since: Moment, without: Collection[Node] = ()) -> Probe:
        """
        Whether the stream of the primary tells of a step, made after a moment, of a call of the run.

        One of `without` does not count: we reach it where those beside it do not, and Sentinels may name it still.
        """

        async def look() -> bool:
            try:
                async with asyncio.timeout(GLANCE_S):
                    primary = await self.redis_primary()
                    entries = [] if primary in without else await self._latest_steps(primary)
            except (EverlineError, OSError, TimeoutError, RedisError):
                return False
            return any(_is_after(fields, run, since.epoch_us / 1e6) for _, fields in entries)

        return look

    async def _latest_steps(self, node: Node) -> Any:  # whatever Redis answers
        client = connect(Address(node.address, node.options_as(RedisOptions).port), self._redis)
        try:
            return await command(client, "XREVRANGE", "everline:events", "+", "-", "COUNT", 50)
        finally:
            await client.aclose()

    # --- election ---

    async def leader(self) -> Term | None:
        """Who leads, as Keeper has it; None while nobody does, or Keeper does not answer."""
        with suppress(KeeperError):
            seat = await self.keeper.get(paths_of(self.topology.cluster)["leader"])
            return parse_term(seat.data, seat.czxid) if seat else None
        return None

    def leads_after(self, term: Term) -> Probe:
        """Whether somebody leads by a later token."""

        async def look() -> bool:
            now = await self.leader()
            return now is not None and now.token > term.token

        return look

    async def keeper_leader(self) -> Node | None:
        """The leader of Keeper's own quorum."""
        nodes = self.topology.nodes_of(Role.KEEPER)
        reports = await probe(self.topology, self.secrets, deadline_s=LOOK_S, nodes=nodes)
        return next((node for node, said in zip(nodes, reports, strict=True) if said.said == "leader"), None)

    # --- what nodes say of themselves ---

    def are_ready(self, nodes: Iterable[Node]) -> Probe:
        """Whether all of some nodes of Everline say so."""
        asked = list(nodes)

        async def look() -> bool:
            return all(await asyncio.gather(*map(_says_ready, asked)))

        return look

    def spools(self, node: Node) -> Probe:
        """Whether an ingest node has something in its spool."""

        async def look() -> bool:
            return (await self._metrics(node))["everline_spool_records"] > 0

        return look

    async def has_empty_spool(self, node: Node) -> bool:
        """Whether it has nothing there."""
        return (await self._metrics(node))["everline_spool_records"] == 0

    # --- balancers ---

    def balancers_have(self, member: Node, *, is_in: bool) -> Probe:
        """Whether every balancer that answers sends to an ingest node, or whether none does."""

        async def look() -> bool:
            told = await self._of_balancers(f'everline_balance_member_in{{member="{member.name}"}}')
            return bool(told) and set(told.values()) == {float(is_in)}

        return look

    async def balanced(self, without: Collection[Node] = ()) -> float:
        """How many datagrams the balancers have received."""
        told = await self._of_balancers("everline_balance_received_total")
        return sum(count for name, count in told.items() if name not in {node.name for node in without})

    async def given(self) -> dict[str, float]:
        """To each ingest node, how many datagrams the balancers have sent."""
        return {
            node.name: sum(
                (await self._of_balancers(f'everline_balance_sent_total{{member="{node.name}"}}')).values()
            )
            for node in self.topology.nodes_of(Role.INGEST)
        }  # fmt: skip

    async def _of_balancers(self, metric: str) -> dict[str, float]:
        """Of those that answer."""
        nodes = self.topology.nodes_of(Role.BALANCER)
        told = await asyncio.gather(*map(self._metrics, nodes), return_exceptions=True)
        return {
            node.name: one[metric] for node, one in zip(nodes, told, strict=True) if not isinstance(one, BaseException)
        }  # fmt: skip

    async def reaches_keeper(self, node: Node) -> bool:
        """Whether an Everline node says that it reaches a majority of Keeper."""
        return (await self._metrics(node))['everline_engine_reached{engine="keeper"}'] > 0

    async def leads_by_its_own_word(self, node: Node) -> bool:
        """Whether it says that it leads."""
        return (await self._metrics(node))["everline_leader"] > 0

    async def _metrics(self, node: Node) -> dict[str, float]:
        """What an Everline node counts, by name and labels."""
        text = (await _asked(node, "/metrics")).text
        rows = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}


async def _says_ready(node: Node) -> bool:
    try:
        return (await _asked(node, "/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False


async def _asked(node: Node, path: str) -> httpx2.Response:
    port = node.options.http_port  # type: ignore[attr-defined]  # every Everline role has one
    async with httpx2.AsyncClient(timeout=LOOK_S) as client:
        return await client.get(f"http://{node.address}:{port}{path}")


def _destination(node: Node) -> Destination:
    options = node.options
    assert isinstance(options, IngestOptions | BalancerOptions)
    return Destination(node.name, node.address, options.hep_port, options.http_port, node.rack)


def _asking(server: Server) -> Ask:
    async def ask(sql: str) -> Answer:
        return await server.select(sql, limit_s=LOOK_S)

    return ask


def _is_after(fields: Mapping[bytes, bytes], run: str, moment_s: float) -> bool:
    """Whether an entry of the stream tells a step of a run's call after a moment."""
    said = json.loads(fields[b"t"])
    return str(said["call_id"]).startswith(run_prefix(run)) and float(said["timestamp"]) > moment_s

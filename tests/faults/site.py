"""The lab of the fault tests: eyes to see its cluster, hands to harm it, and the way back to a whole one."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from tests.faults.eyes import QUESTION_S, Eyes, until
from tests.store.making import answered

from everline.calls.event import EventBatch
from everline.cluster.keeper import KeeperError
from everline.cluster.visit import Visit, visiting
from everline.drill.recovery import Moment, Probe
from everline.lab.ip import ip_batch, ip_json
from everline.lab.lab import Lab
from everline.lab.names import DATA, front_link
from everline.store.schema import DATABASE, HOUR_US
from everline.topology.model import ClickHouseOptions, Node, Role, Vip

FORGETFUL_TABLES = ("messages_local", "calls_local")
COMMAND_S = 180.0
"""Longer than the longest patience of a command: what it says when it is at its end is to be seen."""
FORGOTTEN_CALLS = 500
WHOLE_AGAIN_S = 60.0
"""Until all that was broken is whole, once everything is started and healed."""


class Site(Eyes):
    """Everything that a fault needs. Acts on programs go to a thread, so that the load goes on."""

    def __init__(self, lab: Lab, visit: Visit) -> None:
        super().__init__(visit)
        self._lab = lab

    async def kill(self, nodes: Sequence[Node]) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self._lab.kill, self._running(nodes))

    async def pause(self, nodes: Sequence[Node]) -> None:
        """SIGSTOP."""
        await asyncio.to_thread(self._lab.pause, nodes)

    async def resume(self, nodes: Sequence[Node]) -> None:
        """SIGCONT."""
        await asyncio.to_thread(self._lab.resume, nodes)

    async def restart(self, nodes: Sequence[Node]) -> None:
        """SIGTERM, and a start once they have ended."""
        await asyncio.to_thread(self._lab.restart, nodes)

    async def holder(self, vip: Vip) -> Node:
        """Who has a VIP: whose kernel takes it for its own."""
        for node in vip.nodes:
            [data] = await asyncio.to_thread(
                ip_json, "address", "show", "dev", DATA, namespace=self._lab.namespace(node)
            )
            if any(one.get("local") == vip.address for one in data["addr_info"]):
                return node
        raise AssertionError(f"nobody has {vip.address}")

    @asynccontextmanager
    async def misled_to(self, node: Node, vip: Vip) -> AsyncIterator[None]:
        """Those outside send what is for a VIP to this host, whatever they hear, as before they hear of a move."""
        [data] = await asyncio.to_thread(ip_json, "link", "show", "dev", DATA, namespace=self._lab.namespace(node))
        entry = f"neighbour {{}} {vip.address} lladdr {data['address']} dev {front_link(self.topology.cluster)}"
        await asyncio.to_thread(ip_batch, [f"{entry.format('replace')} nud permanent"])
        try:
            yield
        finally:
            await asyncio.to_thread(ip_batch, [entry.format("delete")])

    def left_by_balancers(self, member: Node, since: Moment) -> Probe:
        """Whether every balancer has said, after a moment, that it sends no more to an ingest node."""
        logs = [self._lab.layout.log(node) for node in self.topology.nodes_of(Role.BALANCER)]

        async def look() -> bool:
            return all(
                _leaves(line, member.name, since) for log in logs for line in [_last_change(log.read_text("utf-8"))]
            )

        return look

    async def start(self, nodes: Sequence[Node]) -> None:
        """Start those that do not run, without waiting until they serve."""
        await asyncio.to_thread(self._lab.start, nodes)

    async def cut(self, *names: str) -> None:
        """Cut hosts, racks or regions from the rest."""
        await asyncio.to_thread(self._lab.cut, names)

    async def heal(self) -> None:
        """Every link carries again."""
        await asyncio.to_thread(self._lab.heal)

    async def wipe(self, node: Node) -> None:
        """The disk of a node that is down is lost."""
        await asyncio.to_thread(self._lab.wipe, node)

    async def forget_calls(self, node: Node) -> None:
        """A Redis that is down loses all it held, but not who it is."""
        for path in self._lab.layout.data(node).iterdir():
            if path.name != "live.conf":
                await asyncio.to_thread(shutil.rmtree, path) if path.is_dir() else path.unlink()

    async def keep_calls_of(self, hour: int, nodes: Iterable[Node]) -> None:
        """Give servers calls of an hour, since the epoch."""
        calls = (answered(f"forgotten-{number}", hour * HOUR_US + number * 1_000) for number in range(FORGOTTEN_CALLS))
        batch = EventBatch.of([event for events in calls for event in events])
        for node in nodes:
            await self.servers[node.name].insert(batch, deadline_s=QUESTION_S)

    async def forget_day(self, node: Node, day: int) -> None:
        """A replica that is down loses a day's parts, from disk and from Keeper, once its session there has ended."""
        options = node.options_as(ClickHouseOptions)
        partition = f"{datetime.fromtimestamp(day * 86_400, UTC):%Y%m%d}_"
        for table in FORGETFUL_TABLES:
            replica = f"/clickhouse/tables/{self.topology.cluster}/{options.shard}/{table}/replicas/{options.replica}"
            await until(self._is_absent(f"{replica}/is_active"), within_s=20, what="the replica's session has ended")
            for part in await self.keeper.children(f"{replica}/parts"):
                if part.startswith(partition):
                    await self.keeper.delete_tree(f"{replica}/parts/{part}")
            kept = self._lab.layout.data(node) / "data" / DATABASE / table
            for path in kept.glob(f"{partition}*"):
                await asyncio.to_thread(shutil.rmtree, path)

    async def everline(self, *words: str) -> str:
        """What a command of Everline says, run by an operator on this machine."""
        process = await asyncio.create_subprocess_exec(
            self._lab.layout.programs.everline, *words, "--cluster", str(self._lab.layout.cluster_file),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(COMMAND_S):
                said = (await process.communicate())[0].decode()
        except TimeoutError:
            process.kill()
            said = (await process.communicate())[0].decode()
        assert process.returncode == 0, f"everline {' '.join(words)}: {said}"
        return said

    async def restore(self, *, within_s: float) -> None:
        """Whatever was left broken is let go, healed and started; return when the cluster is whole."""
        await self.resume(self.topology.nodes)
        await self.heal()
        await self.start(self.topology.nodes)

        try:
            await until(self._is_whole, within_s=within_s, what="the cluster is whole")
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.faults()}") from error

    async def _is_whole(self) -> bool:
        if await self.faults():
            return False
        return all(await asyncio.gather(*map(self.has_empty_spool, self.topology.nodes_of(Role.INGEST))))

    def _running(self, nodes: Sequence[Node]) -> list[Node]:
        """Those that run."""
        return [state.node for state in self._lab.states() if state.pid and state.node in nodes]

    def _is_absent(self, path: str) -> Probe:
        async def look() -> bool:
            with suppress(KeeperError):
                return await self.keeper.get(path) is None
            return False

        return look


def _last_change(said: str) -> str:
    lines = [line for line in said.splitlines() if " balance.members_changed " in line]
    return lines[-1] if lines else ""


def _leaves(line: str, name: str, since: Moment) -> bool:
    """Whether a line of a balancer's log was written after a moment, and says that a member has left."""
    at, _, said = line.partition(" ")
    return bool(at) and datetime.fromisoformat(at).timestamp() >= since.epoch_us / 1e6 and f"left=['{name}']" in said


@asynccontextmanager
async def visited(lab: Lab) -> AsyncIterator[Site]:
    """The site of a lab that is up."""
    async with visiting(lab.topology, lab.secrets()) as visit:
        site = Site(lab, visit)
        try:
            yield site
        finally:
            await site.close()

"""One node of a cluster: `everline run`. What every role has in common, started and stopped in order."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from everline import __version__
from everline.cluster.entry import Entry
from everline.cluster.fences import ClickHouseFence, RedisFence
from everline.cluster.member import ClusterMember, place_of
from everline.cluster.redis_beats import RedisBeatChannel
from everline.cluster.store_log import StoreLog
from everline.cluster_file import Secrets
from everline.config import Endpoint
from everline.datadir import DataDir
from everline.errors import EverlineError
from everline.metrics import metrics_text
from everline.node.app_role import AppRole
from everline.node.balancer_role import BalancerRole
from everline.node.cluster_metrics import MemberCollector
from everline.node.common import Common, RolePart, Vitals
from everline.node.http import HttpServer, http_socket
from everline.node.ingest_role import IngestRole
from everline.node.witness_role import WitnessRole
from everline.topology.model import AppOptions, BalancerOptions, IngestOptions, Node, Role, Topology, WitnessOptions

log = logging.getLogger(__name__)

GC_ALLOCATIONS: Final = 100_000
JOURNAL_DIR: Final = "journal"
MEMBER_ENDS_S: Final = 3.0
"""Longest time to give up the seat, say good-bye and put the log on the disk."""


class RoleError(EverlineError):
    """The node's role is not a process of Everline."""

    exit_code = 2

    def __init__(self, node: Node, known: Mapping[Role, object]) -> None:
        super().__init__(
            f"{node.name} has the role {node.role}, which `everline run` does not start; it starts "
            f"{', '.join(map(str, known))}: start the others from what `everline render` writes"
        )


ROLES: Final[Mapping[Role, Callable[[Common, Callable[[Entry], None]], RolePart]]] = {
    Role.BALANCER: BalancerRole,
    Role.INGEST: IngestRole,
    Role.APP: AppRole,
    Role.WITNESS: WitnessRole,
}


def run(topology: Topology, name: str, secrets: Secrets, *, data: Path | None = None) -> None:
    """
    Run a node until SIGTERM or SIGINT, then drain and return. It starts while the rest of the cluster is away.

    Args:
        topology: The cluster.
        name: Of the node in it.
        secrets: Of the cluster.
        data: Directory of all it keeps, instead of the one that the topology names.

    Raises:
        EverlineError: It could not start: no such node, an address is taken, the data directory is locked, …
    """
    node = topology.node(name)
    kept_in = data or Path(_options(node).data_dir)
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(topology, node, secrets, kept_in))


async def _serve(topology: Topology, node: Node, secrets: Secrets, data: Path) -> None:
    kept = DataDir(data)
    kept.prepare()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with kept.held(), http_socket(Endpoint(node.address, _options(node).http_port)) as http:
        common = Common.of(topology, node, secrets, data)
        try:
            await ClusterNode(common, http).serve_until(stop)
        finally:
            await common.close()


class ClusterNode:
    """A role's part, its membership and its HTTP server, and the order in which they begin and end."""

    def __init__(self, common: Common, http: socket.socket) -> None:
        topology, node = common.topology, common.node
        self._common = common
        self._is_drained = False
        self._is_stopping = False
        self._part = ROLES[node.role](common, self._note)
        self._member = ClusterMember(
            place_of(topology, node.name, version=__version__),
            keeper=common.keeper,
            channel=RedisBeatChannel(common.primary),
            log_sink=StoreLog(common.servers),
            journal_dir=common.data / JOURNAL_DIR,
            duties=self._part.duties,
            fences=[ClickHouseFence(common.servers, node=node.name), RedisFence(common.primary)],
            health=self._part.health,
            unfit=self._part.unfit,
            drained=self._drained,
        )
        common.primary.listen(self._member.primary_changed)
        counted = MemberCollector(self._member, common.keeper, common.primary)
        closing = asyncio.Event()
        vitals = Vitals(
            self._unready,
            metrics_text(*self._part.collectors(), counted),
            lambda: list(self._member.table.rows()),
            closing,
        )
        doors = [door.address for door in topology.nodes_of(Role.NGINX)]
        self._server = HttpServer(self._part.application(vitals), http, closing=closing, proxies=doors)

    async def serve_until(self, stop: asyncio.Event) -> None:
        """Work until told to stop; whatever breaks ends the node, and another one takes over."""
        await self._part.start()
        self._common.keeper.start()
        self._greet()
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(self._common.primary.run(), name="redis-primary"),
                tasks.create_task(self._common.bus.run(), name="bus"),
                tasks.create_task(self._server.run_until_stopped(), name="http"),
                tasks.create_task(self._part.run(), name="role"),
            ]
            member = tasks.create_task(self._member.run(), name="member")
            await stop.wait()
            self._is_stopping = True
            log.info("node.stopping", extra={"node": self._common.node.name})
            # The leader's seat first: the next one begins while this node drains.
            member.cancel()
            await asyncio.wait([member], timeout=MEMBER_ENDS_S)
            await self._part.stop()
            await self._server.stop()
            for task in working:
                task.cancel()
        log.info("node.stopped", extra={"node": self._common.node.name})

    def _note(self, entry: Entry) -> None:
        self._member.journal.add(entry)

    def _drained(self, is_drained: bool) -> None:  # noqa: FBT001 - the shape that ClusterMember calls
        self._is_drained = is_drained

    def _unready(self) -> list[str]:
        reasons = ["the node is stopping"] if self._is_stopping else []
        if self._is_drained:
            reasons.append("drained by the operator: `everline node undrain` takes it back")
        return reasons + self._part.unready()

    def _greet(self) -> None:
        node = self._common.node
        sys.stdout.write(f"Everline {node.role} {node.name} is up: {self._server.url}\n")
        with suppress(OSError):
            sys.stdout.flush()
        log.info("node.started", extra={"node": node.name, "role": str(node.role), "url": self._server.url})


def _options(node: Node) -> AppOptions | BalancerOptions | IngestOptions | WitnessOptions:
    """
    The options of a node that is a process of Everline.

    Raises:
        RoleError: It is not.
    """
    if isinstance(node.options, AppOptions | BalancerOptions | IngestOptions | WitnessOptions):
        return node.options
    raise RoleError(node, ROLES)

"""One node with everything in it: `everline up`. Its parts put together, started in order, stopped in order."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
from dataclasses import asdict

from everline.app.services import Services
from everline.app.web import create_app
from everline.bus.memory import MemoryBus
from everline.calls.timeout import Patience
from everline.config import NodeConfig
from everline.datadir import DataDir
from everline.demo.play import play_sample
from everline.duties import repeat_duties
from everline.ingest.tls import server_context
from everline.metrics import Measured, NodeCollector, SignInCollector, metrics_text
from everline.node.front import Front
from everline.node.http import HttpServer, http_socket
from everline.node.local_gate import local_gate
from everline.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)

GC_ALLOCATIONS = 100_000
"""Objects made and not freed before the next look for cycles: some ten batches' worth."""


def run(config: NodeConfig, *, demo: bool) -> None:
    """
    Run a node until SIGTERM or SIGINT, then drain and return.

    Raises:
        EverlineError: It could not start: an address is taken, the data directory is locked, …
    """
    # Batches are many small objects without cycles: looking through them for cycles took a fifth of the time.
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    # Agents' connections must not take the file descriptors that the store and the pages need.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(config, demo=demo))


async def _serve(config: NodeConfig, *, demo: bool) -> None:
    data = DataDir(config.data_dir)
    data.prepare()
    certificate, key = config.ingest.tls_certificate, config.ingest.tls_key
    tls = server_context(certificate, key) if certificate and key else None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with http_socket(config.http.listen) as http:
        node = Node(config, data, http)
        try:
            await node.start(tls)
            await _until_told_to_stop(node, stop, demo=demo)
        finally:
            await node.stop()


async def _until_told_to_stop(node: "Node", stop: asyncio.Event, *, demo: bool) -> None:
    node.greet()
    async with asyncio.TaskGroup() as tasks:
        working = [
            tasks.create_task(node.serve_http(), name="http"),
            tasks.create_task(node.front.watch_kernel_drops(), name="kernel-drops"),
            tasks.create_task(node.repeat_duties(), name="duties"),
            tasks.create_task(node.keep_audit(), name="audit"),
        ]
        if demo:
            working.append(tasks.create_task(play_sample(node.front.hep), name="demo"))
        stopped = tasks.create_task(stop.wait(), name="stop")
        await asyncio.wait([stopped, node.front.ingesting], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if node.front.ingesting.done():
            node.front.ingesting.result()  # It never ends by itself: this raises what went wrong.
        await node.stop()
        for task in working:
            task.cancel()


class Node:
    """The parts of one node, and how they hang together."""

    def __init__(self, config: NodeConfig, data: DataDir, http: socket.socket) -> None:
        self._config = config
        self._data = data
        self._store = EmbeddedStore.open(data.store)
        self._bus = MemoryBus(max_calls=config.live.max_calls)
        self.front = Front(config.ingest, node=config.name, store=self._store, bus=self._bus)
        self._gate = local_gate(data, config.oidc, node=config.name)
        services = self._services()
        self._server = HttpServer(create_app(services), http, closing=services.closing)
        self._started = False
        self._stopped = False

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Start to take packets in, over TCP and TLS as well, and to work on them."""
        await self.front.start(tls)
        self._data.announce(self._server.url, node=self._config.name, hep=str(self.front.hep))
        self._started = True

    def greet(self) -> None:
        """Tell whoever started the node where to look."""
        tls = f"; over TLS to {self._config.ingest.tls}" if self.front.takes_tls else ""
        url, hep = self._server.url, self.front.hep
        lines = [
            f"Everline is up: {url}/",
            *self._how_to_sign_in(),
            f"Send HEP or SIP to {hep}, UDP or TCP{tls}",
            f"Try: everline calls --data {self._data.path}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        log.info("node.started", extra={"node": self._config.name, "url": url, "hep": str(hep)})

    def _how_to_sign_in(self) -> list[str]:
        if not self._gate.awaits_setup:
            return []
        return [f"Make the first user, by a link that works once: {self._server.url}/setup#{self._gate.setup_code()}"]

    async def keep_audit(self) -> None:
        """Bring what was done into the audit log, for ever."""
        await self._gate.trail.run()

    async def serve_http(self) -> None:
        """Serve the pages and the API until `stop`."""
        await self._server.run_until_stopped()

    async def repeat_duties(self) -> None:
        """Close silent calls and drop old days, for ever."""
        calls = self._config.calls
        patience = Patience(
            ringing_us=calls.stale_ringing_s * 1_000_000, answered_us=calls.stale_answered_s * 1_000_000
        )
        await repeat_duties(
            self._store,
            self._bus,
            patience,
            retention_days=self._config.store.retention_days,
            node=self._config.name,
        )

    async def stop(self) -> None:
        """Close the sockets, store what was taken, close the pages, then the store. Does nothing the second time."""
        if self._stopped:
            return
        self._stopped = True
        self._data.retract()
        await self.front.drain()
        await self._server.stop()
        await self._store.close()
        if self._started:
            log.info("node.stopped", extra=asdict(self.front.packet_ledger()))

    def _services(self) -> Services:
        measured = Measured(node=self._config.name, ingest=self.front.measured(), bus=self._bus)
        return Services(
            store=self._store,
            bus=self._bus,
            metrics=metrics_text(NodeCollector(measured), SignInCollector(self._gate)),
            ledger=self.front.packet_ledger,
            readiness=self._unready,
            node=self._config.name,
            gate=self._gate,
        )

    def _unready(self) -> list[str]:
        return (["the node is stopping"] if self._stopped else []) + self.front.unready()

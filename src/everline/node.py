"""One node: its parts put together, started in order, stopped in order."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import asdict

import uvicorn

from everline.app.services import PacketLedger, Services
from everline.app.web import create_app
from everline.bus.memory import MemoryBus
from everline.calls.decode import DecodeRules
from everline.calls.timeout import Patience
from everline.config import Endpoint, NodeConfig
from everline.datadir import SESSION_KEY_FILE, TOKEN_FILE, DataDir
from everline.demo.play import play_sample
from everline.duties import repeat_duties
from everline.ingest.intake import Intake
from everline.ingest.ledger import Ledger
from everline.ingest.limits import SourceLimiter
from everline.ingest.pipeline import Pipeline, PipelineLimits
from everline.ingest.stream import LAST_READS_S, StreamListener
from everline.ingest.tls import server_context
from everline.ingest.udp import ListenError, UdpListener
from everline.metrics import Measured, metrics_text
from everline.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)

KERNEL_DROPS_EVERY_S = 1.0
HTTP_GRACE_S = 2
STORE_LATE_S = 20.0
"""A store that takes this long for one batch is no store to rely on."""
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
    with _http_socket(config.http.listen) as http:
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
            tasks.create_task(node.watch_kernel_drops(), name="kernel-drops"),
            tasks.create_task(node.repeat_duties(), name="duties"),
        ]
        if demo:
            working.append(tasks.create_task(play_sample(node.hep), name="demo"))
        stopped = tasks.create_task(stop.wait(), name="stop")
        await asyncio.wait([stopped, node.ingesting], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if node.ingesting.done():
            node.ingesting.result()  # It never ends by itself: this raises what went wrong.
        await node.stop()
        for task in working:
            task.cancel()


class Node:
    """The parts of one node, and how they hang together."""

    def __init__(self, config: NodeConfig, data: DataDir, http: socket.socket) -> None:
        ingest = config.ingest
        self._config = config
        self._data = data
        self._http = http
        self._ledger = Ledger()
        limiter = (
            SourceLimiter(rate_per_s=ingest.source_rate_per_s, burst=ingest.source_burst)
            if ingest.source_rate_per_s
            else None
        )
        self._intake = Intake(self._ledger, capacity=ingest.queue_events, limiter=limiter)
        self._udp = UdpListener(*ingest.hep, self._intake, self._ledger, buffer_bytes=ingest.receive_buffer_bytes)
        self._streams = [StreamListener(self._intake, self._ledger)]
        self._store = EmbeddedStore.open(data.store)
        self._bus = MemoryBus(max_calls=config.live.max_calls)
        self._pipeline = Pipeline(
            self._intake, self._ledger, self._rules(), self._limits(), store=self._store, bus=self._bus
        )
        self._token = data.secret(TOKEN_FILE)
        self._server = _HttpServer(self._application())
        self._started = False
        self._stopped = False
        self.ingesting = asyncio.create_task(self._pipeline.run(), name="ingest")

    @property
    def hep(self) -> Endpoint:
        """Where HEP is taken, with the port that the system chose if it was to."""
        return Endpoint(self._udp.host, self._udp.port)

    @property
    def url(self) -> str:
        """Where the pages are."""
        host, port = self._http.getsockname()[:2]
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - an address to reach this node at, not to bind
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
        return f"http://{Endpoint(host, port)}"

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Start to take packets in, over TCP and TLS as well, and to work on them."""
        await self._streams[0].listen(self.hep.host, self.hep.port)
        if tls:
            self._streams.append(StreamListener(self._intake, self._ledger))
            await self._streams[1].listen(*self._config.ingest.tls, tls=tls)
        self._data.announce(self.url, node=self._config.name, hep=str(self.hep))
        self._started = True

    def greet(self) -> None:
        """Tell whoever started the node where to look."""
        lines = [
            f"Everline is up: {self.url}/  (sign in with the token in {self._data.path / TOKEN_FILE})",
            f"Send HEP or SIP to {self.hep}, UDP or TCP" + self._tls_words(),
            f"Try: everline calls --data {self._data.path}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        log.info("node.started", extra={"node": self._config.name, "url": self.url, "hep": str(self.hep)})

    async def serve_http(self) -> None:
        """Serve the pages and the API until `stop`."""
        await self._server.serve(sockets=[self._http])

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

    async def watch_kernel_drops(self) -> None:
        """Bring the kernel's count into the ledger, for ever."""
        while True:
            self._udp.count_kernel_drops()
            await asyncio.sleep(KERNEL_DROPS_EVERY_S)

    async def stop(self) -> None:
        """Close the sockets, store what was taken, close the pages, then the store. Does nothing the second time."""
        if self._stopped:
            return
        self._stopped = True
        self._data.retract()
        await self._drain(self._config.ingest.drain_s)
        self._server.should_exit = True
        await self._server.has_ended()
        await self._store.close()
        if self._started:
            log.info("node.stopped", extra=asdict(self._packet_ledger()))

    async def _drain(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                last_reads_s = min(LAST_READS_S, within_s / 4)
                await asyncio.gather(*(stream.close(last_reads_s) for stream in self._streams))
                await self._udp.drain()
                self._intake.close()
                await asyncio.wait([self.ingesting])
        except TimeoutError:
            self._udp.close()
        if not self.ingesting.done():
            self.ingesting.cancel()
            await asyncio.wait([self.ingesting])
        self._pipeline.give_up()

    def _rules(self) -> DecodeRules:
        ingest = self._config.ingest
        return DecodeRules(
            node=self._config.name,
            local_ip=self.hep.host,
            local_port=self.hep.port,
            auth_key=ingest.hep_key(),
            max_age_us=ingest.max_capture_age_s * 1_000_000,
            max_ahead_us=ingest.max_capture_ahead_s * 1_000_000,
        )

    def _limits(self) -> PipelineLimits:
        ingest = self._config.ingest
        return PipelineLimits(
            batch_events=ingest.batch_events, batch_s=ingest.batch_ms / 1000, lane_events=ingest.queue_events
        )

    def _application(self) -> uvicorn.Config:
        measured = Measured(
            node=self._config.name,
            ledger=self._ledger,
            intake=self._intake,
            pipeline=self._pipeline,
            bus=self._bus,
            connections=lambda: sum(stream.connections for stream in self._streams),
            refused=lambda: sum(stream.refused for stream in self._streams),
            receive_buffer_bytes=self._udp.buffer_bytes,
        )
        services = Services(
            store=self._store,
            bus=self._bus,
            metrics=metrics_text(measured),
            ledger=self._packet_ledger,
            readiness=self._readiness,
            node=self._config.name,
            admin_token=self._token,
            session_key=self._data.secret(SESSION_KEY_FILE).encode(),
        )
        return uvicorn.Config(
            create_app(services),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=HTTP_GRACE_S,
        )

    def _packet_ledger(self) -> PacketLedger:
        ledger = self._ledger
        return PacketLedger(
            received=ledger.received,
            stored=ledger.stored,
            rejected=ledger.rejected.total(),
            dropped=ledger.dropped.total(),
            pending=ledger.pending,
            kernel_drops=ledger.kernel_drops,
        )

    def _readiness(self) -> list[str]:
        reasons = ["the node is stopping"] if self._stopped else []
        lane = self._pipeline.store_lane
        if lane.refusing:
            reasons.append(f"the store takes nothing: {lane.refusing}")
        elif lane.late_s > STORE_LATE_S:
            reasons.append(f"the store has not answered for {lane.late_s:.0f} s")
        return reasons

    def _tls_words(self) -> str:
        return f"; over TLS to {self._config.ingest.tls}" if len(self._streams) > 1 else ""


class _HttpServer(uvicorn.Server):
    """A server that leaves the signals to the node."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self._begun = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The node decides when to stop."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        self._begun = True
        try:
            await super().serve(sockets)
        finally:
            self._ended.set()

    async def has_ended(self) -> None:
        """Return when the last answer was given."""
        if self._begun:
            await self._ended.wait()


def _http_socket(endpoint: Endpoint) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(*endpoint, type=socket.SOCK_STREAM)[0]
        http = socket.socket(family, kind, proto)
    except OSError as fault:
        raise ListenError("HTTP", *endpoint, fault, option="--http") from fault
    try:
        http.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        http.bind(address)
        http.listen(1024)
    except OSError as fault:
        http.close()
        raise ListenError("HTTP", *endpoint, fault, option="--http") from fault
    return http

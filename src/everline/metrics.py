"""Prometheus metrics: read from the parts when they are asked for, so that counting costs the parts nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everline import __version__
from everline.access.gate import Gate, Outcome
from everline.bus.live import LiveBus
from everline.ingest.intake import Intake
from everline.ingest.keepalives import Keepalives
from everline.ingest.ledger import Drop, Ledger
from everline.ingest.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class IngestMeasured:
    """The parts of a node that take packets in, as far as they have something to count."""

    ledger: Ledger
    intake: Intake
    pipeline: Pipeline
    connections: Callable[[], int]
    refused: Callable[[], int]
    receive_buffer_bytes: int
    keepalives: Keepalives


@dataclass(frozen=True, slots=True)
class Measured:
    """The parts of a node that have something to count. `ingest` is None where no packets are taken in."""

    node: str
    ingest: IngestMeasured | None
    bus: LiveBus


class NodeCollector(Collector):
    """Every metric of a node, named and described in docs/metrics.md."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        if self._measured.ingest:
            yield from _ledger(self._measured.ingest.ledger)
            yield from _queues(self._measured.ingest)
            yield from _keepalives(self._measured.ingest.keepalives)
        yield from self._live()

    def _live(self) -> Iterator[Metric]:
        live = self._measured.bus.counts
        yield GaugeMetricFamily("everline_calls_in_progress", "Calls in progress.", live.in_progress)
        yield counter("everline_transitions", "Transitions of calls that were published.", live.transitions)
        yield counter("everline_live_evicted", "Calls that live state forgot for lack of room.", live.evicted)
        info = GaugeMetricFamily(
            "everline_node_info", "1, with the node's name and version.", labels=["node", "version"]
        )
        info.add_metric([self._measured.node, __version__], 1)
        yield info


class SignInCollector(Collector):
    """What a node that serves pages counts of those who sign in."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        """Read the counts, now."""
        found = CounterMetricFamily("everline_sign_ins", "Sign-ins at this node.", labels=["outcome"])
        for outcome in get_args(Outcome):
            found.add_metric([outcome], self._gate.outcomes[outcome])
        yield found


def _keepalives(keepalives: Keepalives) -> Iterator[Metric]:
    yield counter("everline_ingest_keepalives_answered", "Balancers' keepalives answered.", keepalives.answered)
    yield counter("everline_ingest_keepalives_refused", "Keepalives not answered.", keepalives.refused)


def _ledger(ledger: Ledger) -> Iterator[Metric]:
    yield counter("everline_ingest_received", "Messages read from sockets.", ledger.received)
    yield counter("everline_ingest_stored", "Messages that the store acknowledged.", ledger.stored)
    yield by_reason("everline_ingest_rejected", "Messages that gave no event.", dict(ledger.rejected))
    dropped = dict.fromkeys(map(str, Drop), 0) | dict(ledger.dropped)
    yield by_reason("everline_ingest_dropped", "Messages given up after they were received.", dropped)
    yield GaugeMetricFamily("everline_ingest_pending", "Messages on their way to the store.", ledger.pending)
    yield counter("everline_ingest_clamped", "Events stored with their receive time.", ledger.clamped)
    yield counter("everline_ingest_kernel_drops", "Datagrams dropped by the kernel.", ledger.kernel_drops)
    lost = dict(ledger.stream_lost_bytes)
    yield by_reason("everline_ingest_stream_lost_bytes", "Bytes of streams that gave no message.", lost)
    yield counter("everline_live_missed", "Events that live state missed; the store has them.", ledger.bus_dropped)


def _queues(measured: IngestMeasured) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("everline_queue_events", "Events that wait, by queue.", labels=["queue"])
    waiting.add_metric(["intake"], len(measured.intake))
    waiting.add_metric(["store"], measured.pipeline.store_lane.waiting)
    waiting.add_metric(["bus"], measured.pipeline.bus_lane.waiting)
    yield waiting
    refusing = GaugeMetricFamily("everline_sink_refusing", "1 while a sink refuses batches.", labels=["sink"])
    refusing.add_metric(["store"], bool(measured.pipeline.store_lane.refusing))
    refusing.add_metric(["bus"], bool(measured.pipeline.bus_lane.refusing))
    yield refusing
    size = measured.receive_buffer_bytes
    yield GaugeMetricFamily("everline_udp_receive_buffer_bytes", "Receive buffer that the kernel granted.", size)
    connections = measured.connections()
    yield GaugeMetricFamily("everline_stream_connections", "Agents connected over TCP or TLS.", connections)
    yield counter("everline_stream_refused", "Connections refused: there were too many.", measured.refused())


def metrics_text(*collectors: Collector) -> Callable[[], str]:
    """A function that gives what these collect, and the metrics of the process, as Prometheus text."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return lambda: generate_latest(registry).decode()


def counter(name: str, text: str, value: int) -> Metric:
    """A counter without labels; its name without `_total`."""
    return CounterMetricFamily(name, text, value=value)


def by_reason(name: str, text: str, values: dict[str, int]) -> Metric:
    """A counter for each reason."""
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, value in sorted(values.items()):
        family.add_metric([reason], value)
    return family

"""Prometheus metrics: read from the parts when they are asked for, so that counting costs the parts nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everline import __version__
from everline.bus.live import LiveBus
from everline.ingest.intake import Intake
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


@dataclass(frozen=True, slots=True)
class Measured:
    """The parts of a node that have something to count."""

    node: str
    ingest: IngestMeasured
    bus: LiveBus


class NodeCollector(Collector):
    """Every metric of a node, named and described in docs/metrics.md."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield from self._ledger()
        yield from self._queues()
        yield from self._live()

    def _ledger(self) -> Iterator[Metric]:
        ledger = self._measured.ingest.ledger
        yield _counter("everline_ingest_received", "Messages read from sockets.", ledger.received)
        yield _counter("everline_ingest_stored", "Messages that the store acknowledged.", ledger.stored)
        yield _by_reason("everline_ingest_rejected", "Messages that gave no event.", dict(ledger.rejected))
        dropped = dict.fromkeys(map(str, Drop), 0) | dict(ledger.dropped)
        yield _by_reason("everline_ingest_dropped", "Messages given up after they were received.", dropped)
        yield GaugeMetricFamily("everline_ingest_pending", "Messages on their way to the store.", ledger.pending)
        yield _counter("everline_ingest_clamped", "Events stored with their receive time.", ledger.clamped)
        yield _counter("everline_ingest_kernel_drops", "Datagrams dropped by the kernel.", ledger.kernel_drops)
        lost = dict(ledger.stream_lost_bytes)
        yield _by_reason("everline_ingest_stream_lost_bytes", "Bytes of streams that gave no message.", lost)

    def _queues(self) -> Iterator[Metric]:
        measured = self._measured.ingest
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
        yield _counter("everline_stream_refused", "Connections refused: there were too many.", measured.refused())

    def _live(self) -> Iterator[Metric]:
        live = self._measured.bus.counts
        yield GaugeMetricFamily("everline_calls_in_progress", "Calls in progress.", live.in_progress)
        yield _counter("everline_transitions", "Transitions of calls that were published.", live.transitions)
        yield _counter("everline_live_evicted", "Calls that live state forgot for lack of room.", live.evicted)
        lost = self._measured.ingest.ledger.bus_dropped
        yield _counter("everline_live_missed", "Events that live state missed; the store has them.", lost)
        info = GaugeMetricFamily(
            "everline_node_info", "1, with the node's name and version.", labels=["node", "version"]
        )
        info.add_metric([self._measured.node, __version__], 1)
        yield info


def metrics_text(measured: Measured) -> Callable[[], str]:
    """A function that gives the metrics of a node and of its process as Prometheus text."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(NodeCollector(measured))
    return lambda: generate_latest(registry).decode()


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _by_reason(name: str, text: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, value in sorted(values.items()):
        family.add_metric([reason], value)
    return family

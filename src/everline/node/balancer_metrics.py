"""Prometheus metrics of a balancer."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everline.balance.balancer import Balancer
from everline.balance.health import Standing
from everline.metrics import by_reason, counter


class BalancerCollector(Collector):
    """Named and described in docs/metrics.md."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        tally = self._balancer.tally
        drops = self._balancer.kernel_drops()
        yield counter("everline_balance_received", "Datagrams received.", tally.received)
        yield counter("everline_balance_routed", "Datagrams that had an owner.", tally.routed)
        yield by_reason("everline_balance_rejected", "Datagrams that no node could read.", dict(tally.rejected))
        yield counter("everline_balance_flooded", "Datagrams over the limit of one Call-ID.", tally.flooded)
        yield counter("everline_balance_no_member", "Datagrams that nobody could take.", tally.no_member)
        yield counter("everline_balance_without_key", "Datagrams without a Call-ID.", tally.without_key)
        yield counter("everline_balance_wrapped", "Raw SIP that was wrapped into HEP.", tally.wrapped)
        yield counter("everline_balance_kernel_drops", "Datagrams dropped by the kernel.", drops)
        yield counter("everline_balance_spurious", "Answers that nobody asked for.", self._balancer.spurious)
        yield from self._members()

    def _members(self) -> Iterator[Metric]:
        balancer = self._balancer
        members = balancer.health.members
        zero = dict.fromkeys(members, 0)
        yield _sum("everline_balance_sent", "Datagrams sent to a member.", zero | dict(balancer.tally.sent))
        yield _sum("everline_balance_unsent", "Datagrams not taken by the kernel.", zero | dict(balancer.tally.unsent))
        changes = {name: one.changes for name, one in members.items()}
        yield _sum("everline_balance_member_changes", "How often a member came or went.", changes)
        standings = {name: float(one is Standing.IN) for name, one in balancer.standings().items()}
        yield _level("everline_balance_member_in", "1 while a member answers.", standings)
        said = {name: float(one.is_ready) for name, one in members.items() if one.is_ready is not None}
        yield _level("everline_balance_member_ready", "What a member says over HTTP: 1 if it is ready.", said)
        yield _level("everline_balance_share", "Part of all datagrams that a member gets.", balancer.shares())
        generation = GaugeMetricFamily("everline_balance_generation", "How often owners have changed.")
        generation.add_metric([], balancer.generation)
        yield generation


def _sum(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["member"])
    for member, value in values.items():
        family.add_metric([member], value)
    return family


def _level(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["member"])
    for member, value in values.items():
        family.add_metric([member], value)
    return family

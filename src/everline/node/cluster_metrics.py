"""What a node of a cluster has to count beside what every node has; described in docs/metrics.md."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everline.bus.discovery import RedisPrimary
from everline.cluster.keeper import Keeper, Link
from everline.cluster.member import ClusterMember
from everline.cluster.table import Presence
from everline.metrics import counter


class MemberCollector(Collector):
    """Its membership: who leads, who is there, what it can reach, what its log has not delivered."""

    def __init__(self, member: ClusterMember, keeper: Keeper, primary: RedisPrimary) -> None:
        self._member = member
        self._keeper = keeper
        self._primary = primary

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        member = self._member
        token = member.token()
        yield GaugeMetricFamily("everline_leader", "1 while this node leads.", bool(token))
        yield GaugeMetricFamily("everline_leader_token", "Fencing token of this node while it leads, else 0.", token)
        up = GaugeMetricFamily("everline_engine_reached", "1 while the node reaches an engine.", labels=["engine"])
        up.add_metric(["keeper"], self._keeper.link is Link.CONNECTED)
        up.add_metric(["redis"], not self._primary.trouble)
        yield up
        seen = Counter(row.presence for row in member.table.rows())
        nodes = GaugeMetricFamily("everline_cluster_nodes", "Nodes, as this one hears them.", labels=["presence"])
        for presence in Presence:
            nodes.add_metric([str(presence)], seen[presence])
        yield nodes
        waiting, lost = member.journal.waiting, member.journal.lost
        yield GaugeMetricFamily("everline_failover_log_waiting", "Entries on their way to the store.", waiting)
        yield counter("everline_failover_log_lost", "Entries that the store could not take for too long.", lost)

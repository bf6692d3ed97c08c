"""A site to look at: two hours of traffic, and a cluster of two regions in which something is not well."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Self

from tests.app.calls_for_test import ALICE, BOB, CAROL, NOW, PROXY, START_US, answered_call, busy_call, message
from tests.calls.reports import block, captured, receiver_report, sender_report
from tests.topology.clusters import topology, two_sites

from everline import __version__
from everline.app.cluster_view import Glance, Sighting, strip
from everline.calls.event import Event
from everline.cluster.beat import Activity, Health, Heartbeat, StoreHealth
from everline.cluster.candidacy import Term
from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.member import MEMBER_ROLES
from everline.cluster.probe import NodeReport, Standing
from everline.cluster.table import Member, Presence, Row
from everline.topology.model import Node, Role, Topology

S = 1_000_000
NOW_US = round(NOW * S)
DAY_MS = 86_400_000
FORKED = "forked@site"
DOWN = "w3-clickhouse"
DRAINED = "w2-ingest"
LEADER = "e1-app"
SHARES = {"e2-ingest": 1.0, DRAINED: 0.0}


def traffic(calls: int) -> Iterator[Event]:
    """So many calls that began in the last hour, as many on the day before, and one that was forked and put on hold."""
    random = Random(5060)
    latest_ms = round((NOW_US - START_US) / 1000)
    for number in range(calls):
        start_ms = latest_ms - random.random() ** 0.8 * 3_600_000
        yield from _one_call(random, f"{number}@site", start_ms)
        yield from _one_call(random, f"{number}@before", start_ms - DAY_MS)
    yield from forked_call(latest_ms - 300_000)


def forked_call(start_ms: float) -> Iterator[Event]:
    """Challenged, forked to two phones, answered by one, held and resumed."""
    one = partial(message, call_id=FORKED, caller="+4930123456", callee="+4989987654", user_agent="Phone 1.0")
    in_by, out_by, alice, bob = (ALICE, PROXY), (PROXY, BOB), (PROXY, ALICE), (BOB, PROXY)
    yield one("INVITE", start_ms, ends=in_by)
    yield one(407, start_ms + 4, ends=alice, to_tag="p")
    yield one("ACK", start_ms + 9, ends=in_by, to_tag="p")
    yield one("INVITE", start_ms + 12, ends=in_by, cseq=2, sdp="v=0\r\nm=audio 4000 RTP/AVP 0\r\n")
    yield one(100, start_ms + 14, ends=alice, cseq=2)
    for at, ends, back, tag in ((20, out_by, bob, "b"), (22, (PROXY, CAROL), (CAROL, PROXY), "c")):
        yield one("INVITE", start_ms + at, ends=ends, cseq=2)
        yield one(180, start_ms + 10 * at, ends=back, cseq=2, to_tag=tag)
    yield one(180, start_ms + 205, ends=alice, cseq=2, to_tag="b")
    yield one(200, start_ms + 3200, ends=bob, cseq=2, to_tag="b", sdp="v=0\r\nm=audio 4002 RTP/AVP 0\r\n")
    yield one(200, start_ms + 3204, ends=alice, cseq=2, to_tag="b", sdp="v=0\r\nm=audio 4002 RTP/AVP 0\r\n")
    yield one("CANCEL", start_ms + 3206, ends=(PROXY, CAROL), cseq=2)
    yield one(487, start_ms + 3240, ends=(CAROL, PROXY), cseq=2, to_tag="c")
    yield one("ACK", start_ms + 3260, ends=in_by, cseq=2, to_tag="b")
    yield one("INVITE", start_ms + 20_000, ends=in_by, cseq=3, to_tag="b", sdp="v=0\r\na=sendonly\r\n")
    yield one(200, start_ms + 20_040, ends=alice, cseq=3, to_tag="b")
    yield one("BYE", start_ms + 90_000, ends=bob, cseq=1, from_tag="b", to_tag="a")
    yield one(200, start_ms + 90_020, ends=out_by, cseq=1, method="BYE", from_tag="b", to_tag="a")


def live_calls() -> Iterator[Event]:
    """Calls that are in progress."""
    latest_ms = (NOW_US - START_US) / 1000
    for number in range(9):
        call = answered_call(f"live-{number}@site", start_ms=latest_ms - 4000 - 21_000 * number)
        yield from call[: 3 if number < 2 else 5]


def _one_call(random: Random, call_id: str, start_ms: float) -> Sequence[Event]:
    number = f"+4930{random.randrange(4):07d}"
    one = partial(message, call_id=call_id, callee=number)
    kind = random.random()
    if kind < 0.62:
        events = answered_call(call_id, start_ms=start_ms)
        call = [one._replace(codecs="PCMU/8000") if one.codecs else one for one in events]
        return [*call, *_media(random, call_id, start_ms)]
    if kind < 0.76:
        return busy_call(call_id, start_ms=start_ms)
    status = random.choice((404, 480, 487, 503, 503, 603, 302))
    return [one("INVITE", start_ms), one(status, start_ms + 700, ends=(BOB, ALICE), to_tag="b")]


def _media(random: Random, call_id: str, start_ms: float) -> Iterator[Event]:
    """What one side reported of a stream of 1,000 packets; one way is worse than the others."""
    far = random.choice((BOB, CAROL, ("203.0.113.5", 6001)))
    lost = random.choice((0, 0, 0, 4, 15) if far[0] != "203.0.113.5" else (0, 20, 60, 120))
    at_us = START_US + round((start_ms + 60_000) * 1000)
    block_of = block(1, lost=lost, fraction=lost // 4, jitter=random.randrange(40, 300))
    yield captured(sender_report(1), at_us, source=ALICE, target=far, agent="relay-1", call_id=call_id)
    yield captured(receiver_report(2, block_of), at_us + 9, source=far, target=ALICE, agent="relay-1", call_id=call_id)


@dataclass(frozen=True, slots=True)
class SiteSight:
    """What an app node of that cluster sees: one ClickHouse server is down, one ingest node is drained."""

    topology: Topology

    @classmethod
    def of_two_regions(cls) -> Self:
        """The cluster that is drawn."""
        return cls(topology(two_sites()))

    def glance(self) -> list[Glance]:
        """The line of the status strip."""
        return strip(self.topology, self._rows(), primary="e2", bus_fault="")

    async def look(self) -> Sighting:
        """All as it is."""
        reports = {node.name: _report(node) for node in self.topology.nodes}
        return Sighting(self.topology, NOW_US, reports, self._rows(), Term(7, LEADER, "app", "east", "first", 1, 2))

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """A leader that was lost, a server that is away, a drain."""
        at = NOW_US - 1800 * S
        by = partial(make_entry, by=LEADER, token=7)
        log = [
            by(Kind.LEADER_LOST, at, node="w1-app", region="west", reason="its session ended", detected_us=at + 2 * S),
            by(Kind.LEADER_ELECTED, at + 2_400_000, node=LEADER, region="east", detected_us=at + 2 * S,
               acted_us=at + 2_400_000),
            by(Kind.REDIS_FAILOVER, at + 60 * S, node="e2-redis", region="east", reason="the primary was killed",
               detected_us=at + 61 * S, acted_us=at + 62 * S),
            by(Kind.SPOOL_STARTED, at + 900 * S, node="e2-ingest", region="east", reason="shard 1 took no batch"),
            by(Kind.SPOOL_DRAINED, at + 912 * S, node="e2-ingest", region="east"),
            by(Kind.STORE_REPLICA_LOST, at + 900 * S, node=DOWN, region="west", reason="takes no connection"),
            by(Kind.NODE_DRAINED, at + 1200 * S, node=DRAINED, region="west", reason="new kernel"),
            by(Kind.NODE_DEAD, at + 1500 * S, node="e2-ingest", region="east", reason="silent for 1.2 s",
               detected_us=at + 1501 * S),
            by(Kind.NODE_BACK, at + 1509 * S, node="e2-ingest", region="east"),
        ]  # fmt: skip
        return [one for one in log if one.at_us >= since_us][-limit:]

    async def drain(self, node: str, *, who: str, reason: str) -> None:
        """Nothing: this cluster is only looked at."""

    async def undrain(self, node: str) -> None:
        """The same."""

    def _rows(self) -> dict[str, Row]:
        return {node.name: _row(node) for node in self.topology.nodes if node.role in MEMBER_ROLES}


def _report(node: Node) -> NodeReport:
    is_down = node.name == DOWN
    fault = ("takes no connection",) if is_down else ()
    return NodeReport(
        node.name, node.role, node.host, node.address, Standing.DOWN if is_down else Standing.READY, "", fault
    )


def _row(node: Node) -> Row:
    health = Health(
        store=StoreHealth.OK if node.role is not Role.BALANCER else StoreHealth.NONE,
        leader_token=7 if node.name == LEADER else 0,
        received=1_204_311, stored=1_204_311, shares=SHARES if node.role is Role.BALANCER else {},
    )  # fmt: skip
    activity = Activity.DRAINED if node.name == DRAINED else Activity.UP
    place = (node.name, str(node.role), node.region, node.rack, node.host)
    beat = Heartbeat(*place, "boot", 1, NOW_US, activity, __version__, health)
    return Row(Member(*place), Presence.ALIVE, NOW_US, beat, 0, is_known=True)

"""Who writes what into the failover log."""

from time import monotonic_ns, time_ns

from tests.cluster.test_table import A, B, C, beat

from everline.cluster.candidacy import Reason, Term
from everline.cluster.chronicle import Chronicle
from everline.cluster.election import Change
from everline.cluster.entry import Entry, Kind
from everline.cluster.heart import CutOff
from everline.cluster.table import NodeTable

S = 1_000_000


class Writer:
    """Node a, its table, and what it writes; it leads when it has a token."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.token = 0
        self.now_us = monotonic_ns() // 1000
        self.table = NodeTable("a", [A, B, C], suspect_us=S, dead_us=3 * S, at_us=self.now_us - 100 * S)
        self.chronicle = Chronicle(A, self.table, note=self.entries.append, token=lambda: self.token)

    def hear(self, node: str, ago_s: float, sequence: int = 1, boot: str = "b1") -> None:
        """A beat, so long ago."""
        at_us = self.now_us - int(ago_s * S)
        self.chronicle.table_changed(self.table.observe(beat(node, sequence, boot), at_us=at_us, wall_us=0))

    def tick(self, ago_s: float) -> None:
        """Time passed until so long ago."""
        self.chronicle.table_changed(self.table.tick(self.now_us - int(ago_s * S)))

    def lead(self, before: str = "", empty_ago_s: float = 0) -> None:
        """Be elected after a leader; the seat was empty for so long."""
        self.token = 7
        now_us = time_ns() // 1000
        term = Term(7, "a", "ingest", "n", Reason.SESSION_LOST, now_us - int(empty_ago_s * S), now_us, before)
        self.chronicle.acting(term, now_us + 5)

    def told(self) -> list[tuple[str, str]]:
        """Kinds and nodes, in order."""
        return [(str(one.kind), one.node) for one in self.entries]


def test_only_the_leader_writes_of_others() -> None:
    """Every node sees the same; one entry is enough."""
    writer = Writer()
    for name in "abc":
        writer.hear(name, 10)
    writer.tick(8)
    assert writer.told() == []

    writer.lead()
    writer.hear("a", 5, 2)
    writer.hear("b", 5, 2)
    writer.tick(4.5)
    # What was before the leader before left was for that one to write; c was suspected then, and is dead now.
    assert writer.told() == [("leader_elected", "a"), ("node_back", "a"), ("node_back", "b"), ("node_dead", "c"),
                             ("region_lost", "s")]  # fmt: skip
    dead = writer.entries[3]
    assert dead.token == 7
    assert 5.4 < (dead.detected_us - dead.at_us) / S < 5.6


def test_what_happened_while_nobody_led_is_written_by_the_next_leader() -> None:
    """The death of the former leader above all: it was last heard before that."""
    writer = Writer()
    for name in "abc":
        writer.hear(name, 10)
    writer.hear("a", 6, 2)
    writer.hear("c", 6, 2)
    writer.tick(6)
    writer.lead(before="b", empty_ago_s=8)

    assert writer.told() == [("leader_elected", "a"), ("node_dead", "b")]
    assert writer.entries[0].details == '{"before": "b"}'


def test_a_leader_that_comes_back_with_its_token_is_not_elected_again() -> None:
    """No hook is called twice for one leadership."""
    writer = Writer()
    writer.lead()
    writer.lead()

    assert writer.told() == [("leader_elected", "a"), ("leader_resumed", "a")]


def test_a_node_writes_of_itself_whether_it_leads_or_not() -> None:
    """That it was cut off, that it leads no more."""
    writer = Writer()
    writer.chronicle.cut(CutOff(1 * S))
    writer.chronicle.cut(CutOff(1 * S, 5 * S))
    term = Term(7, "a", "ingest", "n", "first", 1, 2)
    for reason, is_leader in ((Reason.FIRST, True), (Reason.DRAINED, False), (Reason.NOT_CONFIRMED, False)):
        writer.chronicle.election_changed(Change(term, is_leader, reason, 9 * S, 0))

    assert [(one.kind, one.reason) for one in writer.entries] == [
        (Kind.CUT_OFF, "no echo of own heartbeats: Redis is out of reach"), (Kind.RECONNECTED, ""),
        (Kind.LEADER_RESIGNED, "drained"), (Kind.LEADER_LOST, "not_confirmed"),
    ]  # fmt: skip
    assert writer.entries[1].details == '{"cut_off_s": 4.0}'


def test_a_region_that_comes_back_is_written() -> None:
    """When the first of its nodes is heard."""
    writer = Writer()
    writer.hear("a", 10)
    writer.hear("b", 10)
    writer.lead()
    writer.tick(9.5)
    assert ("region_lost", "s") in writer.told()
    writer.hear("c", 1)

    assert writer.told()[-2:] == [("node_back", "c"), ("region_back", "s")]

"""Who is alive, suspected, dead: deadlines as a table."""

import pytest
from tests.cluster.test_beat import BEAT

from everline.cluster.beat import Activity, Heartbeat
from everline.cluster.table import MAX_UNKNOWN, ChangeKind, Member, NodeTable, Presence, TableChange, lost_regions

MS = 1_000
SENT_US = 1_700_000_000_000_000
A, B, C = (Member(name, "ingest", region, "r1", name) for name, region in (("a", "n"), ("b", "n"), ("c", "s")))


def table() -> NodeTable:
    """The table of node a, with three nodes, at time 0."""
    return NodeTable("a", [A, B, C], suspect_us=1_000 * MS, dead_us=3_000 * MS, at_us=0)


def beat(
    node: str, sequence: int = 1, boot: str = "b1", sent_us: int = SENT_US, activity: Activity = Activity.UP
) -> Heartbeat:
    """One of its beats."""
    return Heartbeat(node, "ingest", "n", "r1", node, boot, sequence, sent_us, activity, "0.1.0", BEAT.health)


def hear(nodes: NodeTable, one: Heartbeat, at_ms: int, late_us: int = 500) -> list[str]:
    """What changed when it was heard, so much after it was sent."""
    return said(nodes.observe(one, at_us=at_ms * MS, wall_us=one.sent_us + late_us))


def said(changes: list[TableChange]) -> list[str]:
    """As short words."""
    return [f"{one.member.node} {one.kind}" for one in changes]


# Each step: at so many ms, a beat of b (its sequence, boot and activity) or silence, and what it changes.
UP, DRAINED, STOPPING = Activity.UP, Activity.DRAINED, Activity.STOPPING
Steps = list[tuple[int, tuple[int, str, Activity] | None, list[str]]]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(0, (1, "x", UP), ["b heard"]), (999, None, []), (1000, None, ["b suspect"]),
                      (1001, None, []), (2999, None, []), (3000, None, ["b dead"]), (9000, None, [])],
                     id="silence-is-suspected-then-dead-each-said-once"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (900, (2, "x", UP), []), (1800, None, [])],
                     id="a-beat-in-time-keeps-it-alive"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (1500, None, ["b suspect"]), (1600, (2, "x", UP), ["b back"])],
                     id="a-suspect-comes-back"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (3000, None, ["b dead"]),
                      (4000, (1, "y", UP), ["b restarted", "b back"])],
                     id="a-dead-node-comes-back-as-another-process"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (100, (1, "y", UP), ["b restarted"])],
                     id="a-quick-restart-is-seen-though-it-was-never-missed"),
        pytest.param([(3000, None, ["b dead"]), (4000, (1, "x", UP), ["b back"])],
                     id="a-node-that-was-never-heard-is-dead-in-its-time"),
        pytest.param([(0, (5, "x", UP), ["b heard"]), (900, (5, "x", UP), []), (950, (4, "x", UP), []),
                      (1000, None, ["b suspect"])],
                     id="a-beat-that-comes-twice-or-late-is-no-sign-of-life"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (100, (2, "x", DRAINED), ["b drained"]),
                      (200, (3, "x", DRAINED), []), (300, (4, "x", UP), ["b undrained"])],
                     id="a-drain-is-said-when-it-begins-and-ends"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (100, (2, "x", STOPPING), []), (1099, None, []),
                      (1100, None, ["b stopped"]), (9000, None, []), (9100, (1, "y", UP), ["b restarted", "b back"])],
                     id="a-node-that-said-good-bye-is-not-dead"),
        pytest.param([(0, (1, "x", UP), ["b heard"]), (100, (1, "y", UP), ["b restarted"]),
                      (200, (2, "x", UP), ["b twin"]), (300, (2, "y", UP), []), (400, (3, "x", UP), [])],
                     id="two-processes-under-one-name-are-said-once"),
    ],
)  # fmt: skip
def test_a_node_through_time(steps: Steps) -> None:
    """A node hears itself all the time; c is silent and left out."""
    nodes = NodeTable("a", [A, B], suspect_us=1_000 * MS, dead_us=3_000 * MS, at_us=0)
    for turn, (at_ms, what, expected) in enumerate(steps):
        hear(nodes, beat("a", turn + 1), at_ms)
        if what:
            sequence, boot, activity = what
            assert hear(nodes, beat("b", sequence, boot, activity=activity), at_ms) == expected
        else:
            assert said(nodes.tick(at_ms * MS)) == expected


def test_while_we_are_deaf_nobody_else_dies() -> None:
    """And when we hear again, everybody has the whole time to be heard."""
    nodes = table()
    for name in "abc":
        hear(nodes, beat(name), 0)
    nodes.deaf()

    assert nodes.tick(60_000 * MS) == []
    nodes.hears_again(60_000 * MS)
    assert nodes.tick(60_999 * MS) == []
    assert said(nodes.tick(61_000 * MS)) == ["a suspect", "b suspect", "c suspect"]


@pytest.mark.parametrize(
    ("ahead_us", "delays_us", "expected_us", "is_skewed"),
    [
        pytest.param(0, [500, 400, 900], 100, False, id="clocks-agree"),
        pytest.param(5_000_000, [500, 40_000, 300], 5_000_200, True, id="ahead-by-seconds"),
        pytest.param(-90_000_000, [500], -90_000_000, True, id="behind-by-minutes"),
        pytest.param(0, [3_000_000, 500, 3_000_000], 0, False, id="one-quick-beat-proves-that-the-others-were-late"),
    ],
)
def test_how_far_a_clock_is_ahead(ahead_us: int, delays_us: list[int], expected_us: int, is_skewed: bool) -> None:  # noqa: FBT001 - from a table
    """By the quickest of its last beats, against the quickest of our own (500 µs)."""
    nodes = table()
    hear(nodes, beat("a"), 0)
    for turn, delay_us in enumerate(delays_us):
        hear(nodes, beat("b", turn + 1), turn, late_us=delay_us - ahead_us)
    row = next(one for one in nodes.rows() if one.member.node == "b")

    assert row.skew_us == expected_us
    assert row.is_skewed is is_skewed


def test_unknown_nodes_are_shown_up_to_a_bound() -> None:
    """Anybody who can publish could else fill the memory."""
    nodes = table()
    for number in range(MAX_UNKNOWN + 10):
        hear(nodes, beat(f"stranger{number}"), 0)

    assert sum(not one.is_known for one in nodes.rows()) == MAX_UNKNOWN
    assert nodes.passed_over == 10
    assert hear(nodes, beat("b"), 0) == ["b heard"]


def test_a_region_is_lost_when_all_its_nodes_are_dead() -> None:
    """A stranger that claims to be there does not save it."""
    nodes = table()
    hear(nodes, beat("a"), 0)
    hear(nodes, beat("b"), 0)
    hear(nodes, beat("stranger"), 0)
    nodes.tick(3_000 * MS)
    hear(nodes, beat("a", 2), 3_000)

    assert nodes.presence("c") is Presence.DEAD
    assert lost_regions(nodes.rows()) == {"s"}


def test_kinds_of_changes_and_presences_that_time_makes_have_one_name() -> None:
    """`tick` relies on it."""
    assert {ChangeKind.SUSPECT, ChangeKind.DEAD, ChangeKind.STOPPED} <= {*Presence}

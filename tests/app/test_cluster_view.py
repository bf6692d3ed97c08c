"""What is said of a cluster in which something is not well: is it safe, does it go on?"""

from dataclasses import replace

import pytest
from tests.topology.clusters import one_site, topology

from everline.app.cluster_view import Sighting, cluster_map, map_json, pill_of, strip
from everline.cluster.beat import Activity, Health, Heartbeat, StoreHealth
from everline.cluster.candidacy import Term
from everline.cluster.probe import NodeReport, Standing
from everline.cluster.table import Member, Presence, Row
from everline.topology.model import Node, Topology

SITE = topology(one_site())
LEADER = Term(7, "a1-app", "app", "home", "first", 1, 2)


def report(node: Node, standing: Standing = Standing.READY, *, said: str = "", fault: str = "") -> NodeReport:
    """What a program answered."""
    return NodeReport(node.name, node.role, node.host, node.address, standing, said, (fault,) if fault else ())


def row(name: str, health: Health | None = None, *, presence: Presence = Presence.ALIVE, drained: bool = False) -> Row:
    """A node that is heard."""
    node = SITE.node(name)
    member = Member(name, str(node.role), node.region, node.rack, node.host)
    activity = Activity.DRAINED if drained else Activity.UP
    beat = Heartbeat(
        name, str(node.role), node.region, node.rack, node.host, "b", 1, 1, activity, "0.1", health or Health()
    )
    return Row(member, presence, 1, beat, 0, is_known=True)


def seen(*down: str, rows: tuple[Row, ...] = (), leader: Term | None = LEADER, fault: str = "") -> Sighting:
    """A cluster of which some programs do not answer."""
    reports = {
        node.name: report(node, Standing.DOWN, fault="takes no connection") if node.name in down else report(node)
        for node in SITE.nodes
    }
    return Sighting(SITE, 1, reports, {one.member.node: one for one in rows}, leader, fault)


def test_when_all_is_well_one_sentence_says_so() -> None:
    """And who leads."""
    shown = cluster_map(seen())

    assert shown.headline == f"All {len(SITE.nodes)} programs serve; a1-app leads."
    assert (shown.state, shown.meanings) == ("good", ())
    assert {rack: [card.host for card in cards] for rack, cards in shown.regions["home"].items()} == {
        "a": ["a1", "a2", "a3"], "b": ["b1", "b2", "b3"], "c": ["c1"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("down", "meanings"),
    [
        (["a3-clickhouse"], ["Shard 1 has 1 of 2 copies: safe, writes go on; another loss there would make answers "
                             "partial."]),
        (["a3-clickhouse", "b3-clickhouse"], ["Shard 1 has no copy that answers: its packets go to others or wait, "
                                              "answers are partial."]),
        (["a2-keeper"], ["Keeper 2 of 3: a majority, goes on."]),
        (["a2-keeper", "b2-keeper"], ["Keeper 1 of 3: no majority: nobody is elected, packets wait in the spools."]),
        (["a2-sentinel", "b2-sentinel"], ["Sentinel 1 of 3: no majority: a dead Redis primary would not be replaced."]),
        (["c1-ingest"], ["Ingest 2 of 3: balancers send to the others."]),
    ],
)  # fmt: skip
def test_what_is_not_well_is_said_with_what_it_means(down: list[str], meanings: list[str]) -> None:
    """The programs are named, and what follows."""
    shown = cluster_map(seen(*down))

    assert shown.headline.startswith(f"{len(down)} of {len(SITE.nodes)} programs do not serve as they should: ")
    assert all(name in shown.headline for name in down)
    assert list(shown.meanings) == meanings
    assert shown.state == "bad"


def test_a_copy_that_misses_its_partner_is_a_copy() -> None:
    """It answers, and takes what is written."""
    sighting = seen("a3-clickhouse")
    node = SITE.node("b3-clickhouse")
    misses = report(node, Standing.UNREADY, fault="1 of 2 replicas take part")
    shown = cluster_map(replace(sighting, reports={**sighting.reports, node.name: misses}))

    assert shown.meanings[0].startswith("Shard 1 has 1 of 2 copies: safe")


def test_of_many_only_some_are_named() -> None:
    """A sentence has an end."""
    names = [node.name for node in SITE.nodes][:9]

    assert " and 4 more; " in cluster_map(seen(*names)).headline


def test_that_nobody_is_known_to_lead_is_bad_and_says_why() -> None:
    """Whatever answers."""
    assert cluster_map(seen(leader=None)).headline.endswith("nobody leads.")
    shown = cluster_map(seen(leader=None, fault="Keeper gives no answer"))
    assert (shown.state, shown.headline.rpartition("; ")[2]) == ("bad", "Keeper gives no answer.")


def test_a_pill_has_what_heartbeats_tell() -> None:
    """Leadership, spool, ring shares, silence, a drain."""
    rows = (
        row("a1-balancer", Health(shares={"a2-ingest": 0.5, "b2-ingest": 0.5})),
        row("b1-balancer", Health(shares={"a2-ingest": 0.3, "b2-ingest": 0.7})),
        row("a2-ingest", Health(spool_bytes=2_500_000, spool_age_s=12.4)),
        row("c1-ingest", drained=True),
        row("b1-app", presence=Presence.SUSPECT),
    )
    sighting = seen(rows=rows)
    pills = {
        pill.node: (pill.state, *pill.details)
        for racks in cluster_map(sighting).regions.values()
        for cards in racks.values()
        for card in cards
        for pill in card.pills
    }

    assert pills["a1-app"] == ("good", "leads, token 7")
    assert pills["a2-ingest"] == ("good", "spool 2.5 MB, 12 s old", "ring 40%")
    assert pills["b2-ingest"] == ("good",)
    assert pills["c1-ingest"] == ("degraded",)
    assert pills["b1-app"] == ("good", "not heard: suspect")
    assert "Packets wait in the spool of a2-ingest" in cluster_map(sighting).meanings[0]
    [program] = [one for one in map_json(sighting)["programs"] if one["node"] == "a2-ingest"]  # type: ignore[attr-defined]
    assert program["details"] == ["spool 2.5 MB, 12 s old", "ring 40%"]


@pytest.mark.parametrize(
    ("name", "figures", "details"),
    [
        ("a2-redis", {"replicas": 2, "lag_s": 1, "behind_bytes": 1200}, ("lag 1 s, 1,200 bytes",)),
        ("b2-redis", {"heard_primary_s": 3}, ("heard the primary 3 s ago",)),
        ("a3-clickhouse", {"behind_s": 0, "queue_parts": 0}, ("lag 0 s",)),
        ("b3-clickhouse", {"behind_s": 4, "queue_parts": 7}, ("lag 4 s, 7 parts to fetch or merge",)),
        ("a2-keeper", {"connections": 9, "zxid": 7}, ()),
    ],
)
def test_a_pill_tells_how_far_a_replica_is_behind(name: str, figures: dict[str, int], details: tuple[str, ...]) -> None:
    """What its server says of itself or of the slowest that follows it."""
    sighting = seen()
    reports = {**sighting.reports, name: replace(sighting.reports[name], figures=figures)}

    assert pill_of(replace(sighting, reports=reports), SITE.node(name)).details == details


def test_a_pill_has_its_version_and_mixed_ones_are_said() -> None:
    """Of an engine by its answer, of a node of Everline by its heartbeats."""
    newer = row("b1-app")
    assert newer.beat
    newer = replace(newer, beat=replace(newer.beat, version="0.2"))
    sighting = seen(rows=(row("a1-app"), newer))
    redis = replace(sighting.reports["a2-redis"], version="7.0.15")
    sighting = replace(sighting, reports={**sighting.reports, "a2-redis": redis})

    versions = [pill_of(sighting, SITE.node(name)).version for name in ("a1-app", "b1-app", "a2-redis", "b2-redis")]
    assert versions == ["0.1", "0.2", "7.0.15", ""]
    assert cluster_map(sighting).meanings == (
        "Everline 0.1 and 0.2 run side by side: an upgrade goes on, or was not finished.",
    )  # fmt: skip


def texts(site: Topology, *rows: Row, primary: str = "a2", bus_fault: str = "") -> dict[str, str]:
    """The strip: each text with its state."""
    heard = {one.member.node: one for one in rows}
    return {one.text: one.state for one in strip(site, heard, primary=primary, bus_fault=bus_fault)}


def test_the_strip_is_one_line_about_everything() -> None:
    """Without a colour while all is well."""
    rows = [
        row(node.name, Health(store=StoreHealth.OK, leader_token=7 if node.name == "b1-app" else 0))
        for node in SITE.nodes
        if node.role in {"balancer", "ingest", "app"}
    ]

    words = ("Balancer 2/2", "Ingest 3/3", "App 2/2", "Store 1×2: all is stored", "Redis primary a2", "leader b1-app")
    assert texts(SITE, *rows) == dict.fromkeys([*words, "spool empty"], "")


def test_the_strip_turns_colour_in_trouble() -> None:
    """With the word that says what it is."""
    rows = (
        row("a2-ingest", Health(store=StoreHealth.SPOOLING, spool_bytes=1_200_000)),
        row("b2-ingest", presence=Presence.DEAD),
    )

    said = texts(SITE, *rows, bus_fault="no Redis primary answers")

    assert said["Ingest 1/3"] == "degraded"
    assert said["Store 1×2: packets wait in a spool"] == "degraded"
    assert said["no Redis primary answers"] == "bad"
    assert said["nobody leads"] == "bad"
    assert said["spool 1.2 MB"] == "degraded"

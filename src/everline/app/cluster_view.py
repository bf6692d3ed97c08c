"""The cluster as people look at it: regions, racks, hosts and what runs there, and what it means. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from everline.cluster.answers import Figures
from everline.cluster.beat import Activity, StoreHealth
from everline.cluster.candidacy import Term
from everline.cluster.member import MEMBER_ROLES
from everline.cluster.probe import NodeReport, Standing
from everline.cluster.table import Presence, Row
from everline.topology.model import Node, Role, Topology

SIGNS: Final[Mapping[str, str]] = {"good": "✓", "degraded": "◐", "bad": "✕", "unknown": "…"}
"""A shape for each state: colour alone tells nothing to some."""
_STATES: Final = {Standing.READY: "good", Standing.UNREADY: "degraded", Standing.DOWN: "bad"}


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    The cluster at one moment, as one app node sees it.

    Attributes:
        reports: What each program answered, by node.
        rows: Who is heard, by node.
        fault: Why nobody knows who leads; empty if Keeper answered.
    """

    topology: Topology
    at_us: int
    reports: Mapping[str, NodeReport]
    rows: Mapping[str, Row]
    leader: Term | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Pill:
    """
    One program of a host.

    Attributes:
        state: `good`, `degraded`, `bad`: a class of the style sheet, and the key of its sign.
        details: What else is to be said of it, a few words each.
        version: Of its program; empty if it does not tell.
    """

    node: str
    role: str
    state: str
    details: tuple[str, ...] = ()
    version: str = ""

    @property
    def sign(self) -> str:
        """Its shape."""
        return SIGNS[self.state]

    @property
    def has_page(self) -> bool:
        """Whether it is a node of Everline, of which more is known."""
        return self.role in MEMBER_ROLES


@dataclass(frozen=True, slots=True)
class Card:
    """One host."""

    host: str
    address: str
    pills: tuple[Pill, ...]


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """
    All of it.

    Attributes:
        headline: Whether all is well, in one sentence.
        meanings: What follows from what is not, a sentence each.
        regions: Region, then rack, then hosts, in the order of cluster.yaml.
    """

    headline: str
    state: str
    meanings: tuple[str, ...]
    regions: Mapping[str, Mapping[str, Sequence[Card]]] = field(default_factory=dict)


def cluster_map(seen: Sighting) -> ClusterMap:
    """What to show."""
    regions: dict[str, dict[str, list[Card]]] = {}
    for host in seen.topology.hosts:
        pills = tuple(pill_of(seen, node) for node in host.nodes)
        regions.setdefault(host.region, {}).setdefault(host.rack, []).append(Card(host.name, host.address, pills))
    unwell = [node.name for node in seen.topology.nodes if not _serves(seen, node)]
    meanings = tuple(_meanings(seen))
    return ClusterMap(_headline(seen, unwell), _worst(seen, unwell), meanings, regions)


def map_json(seen: Sighting) -> dict[str, object]:
    """The same for programs."""
    shown = cluster_map(seen)
    return {
        "cluster": seen.topology.cluster,
        "at_us": seen.at_us,
        "headline": shown.headline,
        "meanings": list(shown.meanings),
        "leader": {"node": seen.leader.node, "token": seen.leader.token} if seen.leader else None,
        "programs": [
            {
                "node": node.name, "role": str(node.role), "region": node.region, "rack": node.rack, "host": node.host,
                "standing": str(seen.reports[node.name].standing), "details": list(pill_of(seen, node).details),
                "version": pill_of(seen, node).version,
                "figures": dict(seen.reports[node.name].figures),
            }
            for node in seen.topology.nodes
        ],
    }  # fmt: skip


def facts_of(seen: Sighting, node: Node) -> list[tuple[str, str]]:
    """What is known of one node of Everline, name and words, in the order in which it is asked for."""
    row = seen.rows.get(node.name)
    beat = row.beat if row else None
    facts = [
        ("Role", str(node.role)), ("Host", f"{node.host} ({node.address})"), ("Place", f"{node.region}, {node.rack}"),
        ("Heard", str(row.presence) if row else "not at all"),
    ]  # fmt: skip
    if row and beat:
        health = beat.health
        facts += [
            ("Does", str(beat.activity)), ("Version", beat.version), ("Store", str(health.store)),
            ("Received", f"{health.received:,} datagrams since its start"), ("Stored", f"{health.stored:,}"),
            ("Spool", f"{health.spool_bytes:,} bytes, {health.spool_age_s:.0f} s old"),
            ("Clock", f"{(row.skew_us or 0) / 1000:+.0f} ms beside ours"),
        ]  # fmt: skip
    shares = ring_shares(seen.rows)
    return [*facts, ("Ring", f"{shares[node.name]:.1%} of all packets")] if node.name in shares else facts


def ring_shares(rows: Mapping[str, Row]) -> dict[str, float]:
    """What part of all packets each ingest node gets: the mean of what balancers say."""
    said = [row.beat.health.shares for row in rows.values() if row.beat and row.beat.health.shares]
    names = {name for shares in said for name in shares}
    return {name: sum(shares.get(name, 0.0) for shares in said) / len(said) for name in sorted(names)}


def pill_of(seen: Sighting, node: Node) -> Pill:
    """One program as the map shows it."""
    report = seen.reports[node.name]
    is_drained = (row := seen.rows.get(node.name)) and row.beat and row.beat.activity is Activity.DRAINED
    state = "degraded" if is_drained and report.standing is not Standing.DOWN else _STATES[report.standing]
    return Pill(node.name, str(node.role), state, tuple(_details(seen, node, report)), _version(seen, node))


def _version(seen: Sighting, node: Node) -> str:
    """As it answers, or as its heartbeats say."""
    row = seen.rows.get(node.name)
    return seen.reports[node.name].version or (row.beat.version if row and row.beat else "")


def _details(seen: Sighting, node: Node, report: NodeReport) -> Iterator[str]:
    if seen.leader and seen.leader.node == node.name:
        yield f"leads, token {seen.leader.token}"
    if report.said and report.said != "ready":
        yield report.said
    yield from report.faults
    yield from _lag(report.figures)
    row = seen.rows.get(node.name)
    if row is None:
        return
    if row.presence in {Presence.SUSPECT, Presence.DEAD}:
        yield f"not heard: {row.presence}"
    if row.beat and row.beat.health.spool_bytes:
        yield f"spool {row.beat.health.spool_bytes / 1e6:.1f} MB, {row.beat.health.spool_age_s:.0f} s old"
    if node.name in (shares := ring_shares(seen.rows)):
        yield f"ring {shares[node.name]:.0%}"


def _lag(figures: Figures) -> Iterator[str]:
    """How far replicas are behind: what a primary says of the slowest, what a replica says of itself."""
    if "lag_s" in figures:
        yield f"lag {figures['lag_s']} s, {figures['behind_bytes']:,} bytes"
    if "heard_primary_s" in figures:
        yield f"heard the primary {figures['heard_primary_s']} s ago"
    if "behind_s" in figures:
        waiting = f", {figures['queue_parts']} parts to fetch or merge" if figures["queue_parts"] else ""
        yield f"lag {figures['behind_s']} s{waiting}"


def _headline(seen: Sighting, unwell: Sequence[str]) -> str:
    leads = f"{seen.leader.node} leads" if seen.leader else seen.fault or "nobody leads"
    if not unwell:
        return f"All {len(seen.topology.nodes)} programs serve; {leads}."
    named = ", ".join(unwell[:5]) + (f" and {len(unwell) - 5} more" if len(unwell) > 5 else "")
    return f"{len(unwell)} of {len(seen.topology.nodes)} programs do not serve as they should: {named}; {leads}."


def _worst(seen: Sighting, unwell: Sequence[str]) -> str:
    if any(seen.reports[name].standing is Standing.DOWN for name in unwell) or not seen.leader:
        return "bad"
    return "degraded" if unwell else "good"


def _meanings(seen: Sighting) -> Iterator[str]:
    """What an operator would ask next: is it safe, does it go on?"""
    for shard, nodes in seen.topology.shards.items():
        serving = _answering(seen, nodes)
        if serving == 0:
            yield f"Shard {shard} has no copy that answers: its packets go to others or wait, answers are partial."
        elif serving < len(nodes):
            copies = f"{serving} of {len(nodes)} copies"
            yield f"Shard {shard} has {copies}: safe, writes go on; another loss there would make answers partial."
    for role, without in _QUORUMS.items():
        nodes = seen.topology.nodes_of(role)
        up = _answering(seen, nodes)
        if nodes and up < len(nodes):
            has = up >= seen.topology.majority(role)
            yield f"{role.capitalize()} {up} of {len(nodes)}: {'a majority, goes on' if has else without}."
    spooling = [name for name, row in seen.rows.items() if row.beat and row.beat.health.spool_bytes]
    if spooling:
        yield f"Packets wait in the spool of {', '.join(spooling)}: nothing is lost, servers get them later."
    ingest = seen.topology.nodes_of(Role.INGEST)
    if (up := sum(_serves(seen, node) for node in ingest)) < len(ingest):
        yield f"Ingest {up} of {len(ingest)}: balancers send to the others."
    versions = sorted({row.beat.version for row in seen.rows.values() if row.beat})
    if len(versions) > 1:
        yield f"Everline {' and '.join(versions)} run side by side: an upgrade goes on, or was not finished."


_QUORUMS: Final = {
    Role.KEEPER: "no majority: nobody is elected, packets wait in the spools",
    Role.SENTINEL: "no majority: a dead Redis primary would not be replaced",
}


def _answering(seen: Sighting, nodes: Sequence[Node]) -> int:
    """One that misses others is not as it should be, and does its own part all the same."""
    return sum(seen.reports[node.name].standing is not Standing.DOWN for node in nodes)


def _serves(seen: Sighting, node: Node) -> bool:
    return seen.reports[node.name].standing is Standing.READY


@dataclass(frozen=True, slots=True)
class Glance:
    """A few words of the status strip; `state` is empty while all is well."""

    text: str
    state: str

    @property
    def sign(self) -> str:
        """Its shape; none while all is well."""
        return SIGNS.get(self.state, "")


def strip(topology: Topology, rows: Mapping[str, Row], *, primary: str, bus_fault: str) -> list[Glance]:
    """The state of the cluster in a line, from what is heard alone: it costs nothing, so that every page has it."""
    return [
        *(_heard(topology, rows, role) for role in (Role.BALANCER, Role.INGEST, Role.APP) if topology.nodes_of(role)),
        _store(topology, rows),
        Glance(bus_fault or f"Redis primary {primary}", "bad" if bus_fault else ""),
        _leads(rows),
        _spool(rows),
    ]


def _heard(topology: Topology, rows: Mapping[str, Row], role: Role) -> Glance:
    nodes = topology.nodes_of(role)
    alive = sum(rows[node.name].presence is Presence.ALIVE for node in nodes if node.name in rows)
    return Glance(f"{role.capitalize()} {alive}/{len(nodes)}", "" if alive == len(nodes) else "degraded")


def _store(topology: Topology, rows: Mapping[str, Row]) -> Glance:
    copies = [len(nodes) for nodes in topology.shards.values()]
    shape = f"Store {len(copies)}×{max(copies, default=0)}"
    said = {row.beat.health.store for row in rows.values() if row.beat and row.presence is Presence.ALIVE}
    for health, words, state in (
        (StoreHealth.DOWN, "out of reach", "bad"),
        (StoreHealth.SPOOLING, "packets wait in a spool", "degraded"),
        (StoreHealth.PARTIAL, "answers are partial", "degraded"),
    ):
        if health in said:
            return Glance(f"{shape}: {words}", state)
    return Glance(f"{shape}: all is stored", "")


def _leads(rows: Mapping[str, Row]) -> Glance:
    tokens = {name: row.beat.health.leader_token for name, row in rows.items() if row.beat}
    leader = max(tokens, key=lambda name: tokens[name], default="")
    return Glance(f"leader {leader}", "") if leader and tokens[leader] else Glance("nobody leads", "bad")


def _spool(rows: Mapping[str, Row]) -> Glance:
    waiting = sum(row.beat.health.spool_bytes for row in rows.values() if row.beat)
    return Glance(f"spool {waiting / 1e6:.1f} MB", "degraded") if waiting else Glance("spool empty", "")

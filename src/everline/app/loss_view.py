"""What would stop if a part of the cluster died, and what goes on, program by program and in sentences. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from everline.app.cluster_view import Sighting
from everline.cluster.probe import Standing
from everline.topology.loss import Loss, Now, Remains
from everline.topology.model import AppOptions, ClickHouseOptions, Node, Role, Vip


class Fate(StrEnum):
    """What becomes of something, the best first."""

    GOES_ON = "goes_on"
    DEGRADED = "degraded"
    STOPS = "stops"


WORDS: Final[Mapping[Fate, tuple[str, str, str]]] = {
    Fate.GOES_ON: ("→", "goes on", "good"),
    Fate.DEGRADED: ("◐", "goes on, less well", "degraded"),
    Fate.STOPS: ("■", "stops", "bad"),
}
"""Its shape, its words and its class of the style sheet."""
_WORST: Final = list(Fate)


@dataclass(frozen=True, slots=True)
class Told:
    """What becomes of one program, or of one thing that the cluster does, and why."""

    fate: Fate
    text: str

    @property
    def sign(self) -> str:
        """Its shape."""
        return WORDS[self.fate][0]

    @property
    def words(self) -> str:
        """Itself in words."""
        return WORDS[self.fate][1]

    @property
    def state(self) -> str:
        """Its class of the style sheet."""
        return WORDS[self.fate][2]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """
    A loss and what follows.

    Attributes:
        fates: Of every program, by node; a text only where there is more to say.
        sentences: What follows, the worst first.
        counted_in: Nodes that are down now already, of those that the loss does not take.
        lost_hosts: Hosts on which nothing is left.
    """

    loss: Loss
    fates: Mapping[str, Told]
    sentences: tuple[Told, ...]
    counted_in: tuple[str, ...]
    lost_hosts: frozenset[str]

    @property
    def fate(self) -> Fate:
        """The worst of it."""
        return max((one.fate for one in self.sentences), key=_WORST.index, default=Fate.GOES_ON)

    @property
    def summary(self) -> Told:
        """The headline with its shape."""
        return Told(self.fate, self.headline)

    @property
    def headline(self) -> str:
        """All of it in one sentence."""
        end = {
            Fate.GOES_ON: "all goes on.",
            Fate.DEGRADED: "all goes on, with less behind it.",
            Fate.STOPS: "something stops.",
        }[self.fate]
        return f"If {self.loss.kind} {self.loss.name} dies, {end}"


def aftermath(seen: Sighting, loss: Loss) -> Aftermath:
    """
    What follows from a loss, now.

    Raises:
        TopologyError: The cluster has no such part.
    """
    after = Remains.of(seen.topology, loss, now_of(seen))
    lost = {node.name for node in loss.nodes_of(seen.topology)}
    told = sorted(_sentences(after), key=lambda one: -_WORST.index(one.fate))
    fates = {node.name: _fate(after, node, lost) for node in seen.topology.nodes}
    hosts = frozenset(host.name for host in seen.topology.hosts if not after.left(host.nodes))
    return Aftermath(loss, fates, tuple(told), tuple(sorted(after.now.down - lost)), hosts)


def now_of(seen: Sighting) -> Now:
    """What matters of a sighting: who is away, who leads, which Redis is the primary."""
    down = frozenset(name for name, one in seen.reports.items() if one.standing is Standing.DOWN)
    redis = (seen.reports[node.name] for node in seen.topology.nodes_of(Role.REDIS))
    primary = next((one.node for one in redis if one.said.startswith("primary")), "")
    return Now(down, primary, seen.leader.node if seen.leader else "")


def aftermath_json(seen: Sighting, told: Aftermath) -> dict[str, object]:
    """The same for programs."""
    return {
        "cluster": seen.topology.cluster,
        "at_us": seen.at_us,
        "if": {str(told.loss.kind): told.loss.name},
        "fate": str(told.fate),
        "headline": told.headline,
        "sentences": [{"fate": str(one.fate), "text": one.text} for one in told.sentences],
        "counted_in": list(told.counted_in),
        "programs": [
            {
                "node": node.name, "role": str(node.role), "region": node.region, "rack": node.rack, "host": node.host,
                "fate": str(told.fates[node.name].fate), "why": told.fates[node.name].text,
            }
            for node in seen.topology.nodes
        ],
    }  # fmt: skip


# --- sentences ---


def _sentences(after: Remains) -> Iterator[Told]:
    yield from _quorums(after)
    yield from _redis(after)
    yield from _shards(after)
    yield from _ingest(after)
    for vip in after.topology.vips:
        yield from _vip(after, vip)
    yield from _doors(after)
    yield from _app(after)
    yield from _leads(after)


def _quorums(after: Remains) -> Iterator[Told]:
    without = {
        Role.KEEPER: "nobody leads, ClickHouse takes no writes, packets are spooled.",
        Role.SENTINEL: "a dead Redis primary is not replaced.",
    }
    for role, meaning in without.items():
        if not after.takes(role):
            continue
        up = len(after.left_of(role))
        count = f"{role.capitalize()} {up} of {len(after.topology.nodes_of(role))}"
        if not after.has_majority(role):
            yield Told(Fate.STOPS if role is Role.KEEPER else Fate.DEGRADED, f"{count}, no majority: {meaning}")
        elif up == after.topology.majority(role):
            yield Told(Fate.DEGRADED, f"{count}: a majority, goes on; one more must not be lost.")
        else:
            yield Told(Fate.GOES_ON, f"{count}: a majority, goes on.")


def _redis(after: Remains) -> Iterator[Told]:
    if not after.takes(Role.REDIS):
        return
    left, primary = after.left_of(Role.REDIS), after.now.primary
    still = "live calls stand still, and are stored all the same."
    if not left:
        yield Told(Fate.STOPS, f"No Redis is left: {still}")
    elif primary and primary not in after.dying:
        yield Told(Fate.GOES_ON, f"The Redis primary {primary} goes on; Redis {_count(after, Role.REDIS)}.")
    elif not after.has_majority(Role.SENTINEL):
        yield Told(Fate.STOPS, f"{_primary(primary)} and no majority of Sentinels makes another one: {still}")
    else:
        word = f"{_primary(primary)}: Sentinels promote {_one_of(left)}"
        yield Told(Fate.DEGRADED, f"{word}; live calls stand still for some seconds.")


def _primary(name: str) -> str:
    return f"The Redis primary {name} is lost" if name else "The Redis primary may be lost"


def _shards(after: Remains) -> Iterator[Told]:
    servers = after.left_of(Role.CLICKHOUSE)
    if not after.takes(Role.CLICKHOUSE):
        return
    if not servers:
        yield Told(Fate.STOPS, "No ClickHouse server is left: packets are spooled, calls can't be searched.")
        return
    writes = "writes go on" if after.stores else "it can be read"
    for shard, nodes in after.topology.shards.items():
        copies = len(after.left(nodes))
        if not after.takes_any(nodes):
            continue
        if copies == 0:
            others = "new ones go to other shards" if after.stores else "new ones are spooled"
            yield Told(Fate.STOPS, f"Shard {shard} keeps no copy: its calls can't be read until one is back, {others}.")
        else:
            keeps = "one copy" if copies == 1 else f"{copies} copies"
            yield Told(Fate.DEGRADED, f"Shard {shard} keeps {keeps}: {writes}.")
    if len(servers) == 1 and after.stores:
        yield Told(Fate.DEGRADED, f"{servers[0].name} alone stores: what it takes is kept in the spools too.")


def _ingest(after: Remains) -> Iterator[Told]:
    if not after.takes(Role.INGEST):
        return
    left = after.left_of(Role.INGEST)
    go_on = f"Ingest {_count(after, Role.INGEST)}"
    if not left:
        yield Told(Fate.STOPS, "No ingest node is left: what agents send is lost, but what they keep themselves.")
    elif not after.topology.nodes_of(Role.BALANCER):
        yield Told(Fate.DEGRADED, f"{go_on}: agents that send to the lost must change over by themselves.")
    elif after.topology.balance.mirror == 1:
        yield Told(Fate.DEGRADED, f"{go_on}: balancers send to the others; what the lost had not stored is lost.")
    else:
        yield Told(Fate.GOES_ON, f"{go_on}: balancers send to the others, each packet had gone to two: none is lost.")


def _vip(after: Remains, vip: Vip) -> Iterator[Told]:
    movers = {node.host: node for node in after.topology.nodes_of(Role.KEEPALIVED)}
    if not after.takes_any([*vip.nodes, *(movers[node.host] for node in vip.nodes)]):
        return
    left = [node for node in after.left(vip.nodes) if after.left([movers[node.host]])]
    name = f"The VIP {vip.address} ({vip.role}, {vip.region})"
    if left:
        yield Told(Fate.GOES_ON, f"{name} goes to {_one_of(left)}, or is there already.")
        return
    others = [other.address for other in after.topology.vips if other.role == vip.role and after.left(other.nodes)]
    instead = f"who uses it needs {' or '.join(others)}." if others else "nobody answers there."
    yield Told(Fate.STOPS, f"{name} goes nowhere: {instead}")


_DOORS: Final[Mapping[Role, tuple[str, str]]] = {
    Role.BALANCER: ("agents", "agents must send to ingest nodes themselves"),
    Role.HAPROXY: ("agents that use TCP", "agents that use TCP must connect to ingest nodes themselves"),
    Role.NGINX: ("browsers", "app nodes answer at their own ports only"),
}
"""Who comes in through it, and what is left to them without any."""


def _doors(after: Remains) -> Iterator[Told]:
    """What no VIP stands for: who uses one of them knows its host."""
    for role, (who, without) in _DOORS.items():
        nodes = after.topology.nodes_of(role)
        if not after.takes(role):
            continue
        if not after.left(nodes):
            yield Told(Fate.STOPS, f"No {role} is left: {without}.")
        elif any(node.name in after.dying and after.topology.vip_of(node) is None for node in nodes):
            yield Told(Fate.DEGRADED, f"{_title(role)} {_count(after, role)}: {who} must change over by themselves.")


def _app(after: Remains) -> Iterator[Told]:
    if not after.takes(Role.APP):
        return
    left = after.left_of(Role.APP)
    if not left:
        yield Told(Fate.STOPS, "No app node is left: no pages, no API; packets are stored all the same.")
    elif all(node.options_as(AppOptions).backup for node in left):
        yield Told(Fate.DEGRADED, f"Only the backup is left for pages and the API: {_one_of(left)}.")
    else:
        yield Told(Fate.GOES_ON, f"App {_count(after, Role.APP)}: open pages go on there.")


def _leads(after: Remains) -> Iterator[Told]:
    if not after.has_majority(Role.KEEPER):
        return  # That nobody leads is said already.
    takes_any = any(after.takes(role) for role in (Role.APP, Role.WITNESS))
    if takes_any and not after.candidates:
        yield Told(Fate.STOPS, "Nobody is left who could lead: stale calls stay open, copies are not compared.")
    elif after.now.leader in after.dying:
        yield Told(
            Fate.GOES_ON, f"The leader {after.now.leader} is lost: another one leads, {_one_of(after.candidates)}."
        )


def _count(after: Remains, role: Role) -> str:
    up, all_of = len(after.left_of(role)), len(after.topology.nodes_of(role))
    return f"{up} of {all_of} {'goes' if up == 1 else 'go'} on"


def _one_of(nodes: Sequence[Node]) -> str:
    names = [node.name for node in nodes]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _title(role: Role) -> str:
    return {Role.HAPROXY: "HAProxy", Role.NGINX: "NGINX"}.get(role, role.capitalize())


# --- programs ---


def _fate(after: Remains, node: Node, lost: set[str]) -> Told:
    if node.name in after.now.down:
        return Told(Fate.STOPS, "is down already")
    if node.name in lost:
        return Told(Fate.STOPS, "")
    fate, why = _OF_ROLE[node.role](after, node) if node.role in _OF_ROLE else (Fate.GOES_ON, "")
    return Told(fate, why)


def _keeper(after: Remains, _: Node) -> tuple[Fate, str]:
    return (Fate.GOES_ON, "") if after.has_majority(Role.KEEPER) else (Fate.STOPS, "no majority")


def _sentinel(after: Remains, _: Node) -> tuple[Fate, str]:
    return (Fate.GOES_ON, "") if after.has_majority(Role.SENTINEL) else (Fate.DEGRADED, "no majority")


def _redis_server(after: Remains, _: Node) -> tuple[Fate, str]:
    if after.now.primary not in after.dying:
        return Fate.GOES_ON, ""
    if not after.has_majority(Role.SENTINEL):
        return Fate.DEGRADED, "no primary"
    return Fate.GOES_ON, "may become the primary"


def _clickhouse(after: Remains, node: Node) -> tuple[Fate, str]:
    shard = node.options_as(ClickHouseOptions).shard
    if not after.has_majority(Role.KEEPER):
        return Fate.DEGRADED, "can only be read"
    is_last = len(after.left(after.topology.shards[shard])) < len(after.topology.shards[shard])
    return (Fate.DEGRADED, f"the last copy of shard {shard}") if is_last else (Fate.GOES_ON, "")


def _ingest_node(after: Remains, _: Node) -> tuple[Fate, str]:
    if not after.stores:
        return Fate.DEGRADED, "keeps packets in its spool"
    if after.takes(Role.INGEST):
        alone = len(after.left_of(Role.INGEST)) == 1
        return (Fate.DEGRADED, "takes all packets alone") if alone else (Fate.GOES_ON, "takes more")
    return Fate.GOES_ON, ""


def _feeds(role: Role, lack: str) -> Callable[[Remains, Node], tuple[Fate, str]]:
    def judge(after: Remains, _: Node) -> tuple[Fate, str]:
        return (Fate.GOES_ON, "") if after.left_of(role) else (Fate.STOPS, lack)

    return judge


def _app_node(after: Remains, _: Node) -> tuple[Fate, str]:
    if not after.left_of(Role.CLICKHOUSE):
        return Fate.DEGRADED, "has no store to ask"
    if after.shards_without_copy:
        return Fate.DEGRADED, "answers are partial"
    return Fate.GOES_ON, ""


_OF_ROLE: Final[Mapping[Role, Callable[[Remains, Node], tuple[Fate, str]]]] = {
    Role.KEEPER: _keeper,
    Role.SENTINEL: _sentinel,
    Role.REDIS: _redis_server,
    Role.CLICKHOUSE: _clickhouse,
    Role.INGEST: _ingest_node,
    Role.APP: _app_node,
    Role.BALANCER: _feeds(Role.INGEST, "has nobody to send to"),
    Role.HAPROXY: _feeds(Role.INGEST, "has nobody to send to"),
    Role.NGINX: _feeds(Role.APP, "has nobody behind it"),
}
"""What becomes of a program that lives on; what is not here goes on whatever happens."""

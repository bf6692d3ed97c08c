"""What is left of a cluster when a part of it is lost, with what is away already counted in."""

from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from everline.topology.errors import TopologyError, TopologyFault
from everline.topology.model import Node, Role, Topology

STANDS_FOR_ELECTION: Final = (Role.APP, Role.WITNESS)
_MOST_NAMED: Final = 10


class LossKind(StrEnum):
    """What can be lost at once: one program, or all that share a machine, a switch or a site."""

    NODE = "node"
    HOST = "host"
    RACK = "rack"
    REGION = "region"


@dataclass(frozen=True, slots=True)
class Loss:
    """A part of a cluster that is thought away. Its text is `kind:name`, such as `host:a1`."""

    kind: LossKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Loss":
        """
        Read `kind:name`.

        Raises:
            TopologyError: It is nothing of the kind.
        """
        kind, colon, name = text.partition(":")
        if not colon or kind not in list(LossKind):
            need = f"need one of {', '.join(LossKind)}, a colon and a name, such as host:a1"
            raise TopologyError([TopologyFault("if", f"{text[:80]!r} names nothing that can be lost; {need}")])
        return cls(LossKind(kind), name)

    def nodes_of(self, topology: Topology) -> tuple[Node, ...]:
        """
        Every program that is lost with it.

        Raises:
            TopologyError: The cluster has no such part.
        """
        found = tuple(node for node in topology.nodes if self._name_in(node) == self.name)
        if not found:
            raise TopologyError([TopologyFault("regions", self._unknown(topology))])
        return found

    def _name_in(self, node: Node) -> str:
        return {
            LossKind.NODE: node.name, LossKind.HOST: node.host, LossKind.RACK: node.rack, LossKind.REGION: node.region,
        }[self.kind]  # fmt: skip

    def _unknown(self, topology: Topology) -> str:
        names = list(dict.fromkeys(self._name_in(node) for node in topology.nodes))
        near = get_close_matches(self.name[:80], names, n=3, cutoff=0.5)
        more = ", …" if len(names) > _MOST_NAMED else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:_MOST_NAMED])}{more}"
        return f"no {self.kind} has the name {self.name[:80]!r}; {hint}"


@dataclass(frozen=True, slots=True)
class Now:
    """
    What cluster.yaml does not tell.

    Attributes:
        down: Names of the nodes that do not answer.
        primary, leader: The nodes that are the Redis primary and the leader; empty if nobody knows.
    """

    down: frozenset[str] = field(default=frozenset())
    primary: str = ""
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Remains:
    """
    A cluster after a loss.

    Attributes:
        dying: Names of the nodes that the loss takes, but those that are down already.
    """

    topology: Topology
    now: Now
    dying: frozenset[str]

    @classmethod
    def of(cls, topology: Topology, loss: Loss, now: Now) -> "Remains":
        """
        What is left after a loss.

        Raises:
            TopologyError: The cluster has no such part.
        """
        return cls(topology, now, frozenset(node.name for node in loss.nodes_of(topology)) - now.down)

    def left(self, nodes: Collection[Node]) -> tuple[Node, ...]:
        """Those of some nodes that live on."""
        return tuple(node for node in nodes if node.name not in self.dying | self.now.down)

    def left_of(self, role: Role) -> tuple[Node, ...]:
        """Those of a role that live on."""
        return self.left(self.topology.nodes_of(role))

    def takes_any(self, nodes: Collection[Node]) -> bool:
        """Whether the loss takes any of some nodes."""
        return any(node.name in self.dying for node in nodes)

    def takes(self, role: Role) -> bool:
        """Whether it takes any of a role."""
        return self.takes_any(self.topology.nodes_of(role))

    def has_majority(self, role: Role) -> bool:
        """Whether a quorum goes on."""
        return len(self.left_of(role)) >= self.topology.majority(role)

    @property
    def shards_without_copy(self) -> tuple[int, ...]:
        """Shards that nobody can read."""
        return tuple(shard for shard, nodes in self.topology.shards.items() if not self.left(nodes))

    @property
    def stores(self) -> bool:
        """Whether the store takes what is written: a replicated table does so only while Keeper has a majority."""
        return self.has_majority(Role.KEEPER) and bool(self.left_of(Role.CLICKHOUSE))

    @property
    def candidates(self) -> tuple[Node, ...]:
        """Who may lead, the preferred first."""
        return tuple(node for role in STANDS_FOR_ELECTION for node in self.left_of(role))

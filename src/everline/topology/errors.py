"""What can be wrong with cluster.yaml."""

from collections.abc import Iterable
from dataclasses import dataclass

from everline.errors import EverlineError


@dataclass(frozen=True, slots=True)
class TopologyFault:
    """One thing that is wrong: the path of the key, the line it stands in (None if unknown), and a sentence."""

    path: str
    problem: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.path} (line {self.line})" if self.line is not None else self.path
        return f"{where}: {self.problem}"


class TopologyError(EverlineError):
    """The cluster described can't be used; `faults` lists all that is wrong with it, `source` says where it stands."""

    exit_code = 2

    def __init__(self, faults: Iterable[TopologyFault], *, source: str = "cluster.yaml") -> None:
        self.faults = tuple(faults)
        self.source = source
        super().__init__(f"{source}: " + "; ".join(map(str, self.faults)))

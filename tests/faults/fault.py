"""What a fault of the table is, and the story of one while it happens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.faults.site import Site

from everline.cluster.candidacy import Term
from everline.drill.ledger import Outage
from everline.drill.load import RunningLoad
from everline.drill.recovery import LOOK_EVERY_S, Moment, Probe
from everline.topology.model import Node

RATE_PER_S: Final = 150.0
VIP_BACK_S: Final = 1.0


class LateError(AssertionError):
    """All came back as it must, and nothing was lost, but not in time."""


@dataclass(slots=True)
class Story:
    """
    One fault under load.

    Attributes:
        fault: When it was.
        healed: When its end began.
        hit: The nodes that it concerns.
        term: The leadership before it.
        balanced: How many datagrams the other balancers had received before it.
        outages: When ingest nodes took nothing.
        figures: What was measured besides, for the report.
    """

    site: Site
    load: RunningLoad
    fault: Moment
    healed: Moment
    hit: tuple[Node, ...] = ()
    term: Term | None = None
    balanced: float = 0.0
    outages: list[Outage] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)

    @property
    def run(self) -> str:
        """The name of the run in its Call-IDs."""
        return self.load.ledger.run


Act = Callable[[Story], Awaitable[None]]
"""Does something to the lab, or looks at it and fails if it is not as it must be."""


async def nothing(_: Story) -> None:
    """No act."""


def none_lost(_: Story) -> int:
    """The usual allowance."""
    return 0


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One line of the table.

    Attributes:
        sentence: When what happens, then what by when.
        inject: Makes the fault, and notes what it hit.
        heal: Ends it; what is down is started, without waiting for it.
        recovered: Gives the probe for the first act that shows recovery.
        within_s: Recovery must be within so many seconds.
        is_after_heal: Counted from the heal, where nothing can recover before it; else from the fault.
        look_every_s: Pause between two looks at whether it has recovered.
        held_s: For how long the fault lasts.
        equal_within_s: After the heal, so many seconds until all is equal to the ledger.
        copies: To how many ingest nodes each message goes.
        is_balanced: Messages go to the VIP of a region's balancers, who know the ingest nodes; else to these.
        meanwhile: What must be so while it lasts.
        afterwards: What must be so once all is equal.
        most_lost: How many events may be lost, by the formula of the documentation.
    """

    name: str
    sentence: str
    inject: Act
    heal: Act
    recovered: Callable[[Story], Probe]
    within_s: float
    is_after_heal: bool = False
    look_every_s: float = LOOK_EVERY_S
    held_s: float = 0.0
    equal_within_s: float = 30.0
    copies: int = 1
    is_balanced: bool = False
    rate_per_s: float = RATE_PER_S
    meanwhile: tuple[Act, ...] = ()
    afterwards: tuple[Act, ...] = ()
    most_lost: Callable[[Story], int] = none_lost

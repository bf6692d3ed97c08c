"""A node that has lost Keeper says so, once, and says when it has it again."""

from dataclasses import dataclass

from everline.cluster.heart import CutOff
from everline.cluster.keeper import Keeper, Link
from everline.cluster.keeper_watch import KeeperWatch

SECOND_US = 1_000_000


@dataclass
class Linked:
    """As much of a Keeper as the watch looks at."""

    link: Link = Link.CONNECTED


def test_a_short_gap_is_not_told_a_long_one_is_once() -> None:
    """Keeper elects a leader within a second; a cut lasts."""
    keeper, told = Linked(), list[CutOff]()
    watch = KeeperWatch(_as_keeper(keeper), told.append, patience_s=3)
    lost = next(link for link in Link if link is not Link.CONNECTED)

    for second, link in enumerate([Link.CONNECTED, lost, Link.CONNECTED, lost, lost, lost, lost, lost]):
        keeper.link = link
        watch.look((100 + second) * SECOND_US)
    keeper.link = Link.CONNECTED
    watch.look(110 * SECOND_US)
    watch.look(111 * SECOND_US)

    assert told == [CutOff(103 * SECOND_US), CutOff(103 * SECOND_US, 110 * SECOND_US)]
    assert watch.cut_off is None


def _as_keeper(linked: Linked) -> Keeper:
    found: Keeper = linked  # type: ignore[assignment]  # the watch asks for nothing but the link
    return found

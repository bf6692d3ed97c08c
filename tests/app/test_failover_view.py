"""Episodes of the failover log as sentences and bars."""

import pytest

from everline.app.failover_view import BAR_WIDTH, Told, told
from everline.cluster.entry import Entry, Kind, episodes, make_entry

S = 1_000_000


def entry(
    kind: Kind, at_s: float, node: str = "e1-app", *, reason: str = "", detected_s: float = 0, acted_s: float = 0
) -> Entry:
    """An entry, times in seconds."""
    return make_entry(
        kind, int(at_s * S), node=node, by="w1", reason=reason, detected_us=int(detected_s * S),
        acted_us=int(acted_s * S),
    )  # fmt: skip


def told_of(*entries: Entry) -> list[Told]:
    """The episodes of some entries, a minute after the first of them."""
    return told(episodes(entries), now_us=min(one.at_us for one in entries) + 60 * S)


def only(*entries: Entry) -> Told:
    """The one episode of some entries."""
    [one] = told_of(*entries)
    return one


def test_a_leader_that_was_lost_and_replaced() -> None:
    """Detected, acted, recovered: each part of the bar is as long as it took."""
    one = only(
        entry(Kind.LEADER_LOST, 10, reason="session ended"),
        entry(Kind.LEADER_ELECTED, 12.5, "w1-app", detected_s=12, acted_s=12.5),
    )

    assert one.sentence == "The leader e1-app was lost; over after 2.5 s."
    assert (one.reason, one.is_over) == ("session ended", True)
    assert one.times == "detected after 2.0 s, acted after 2.5 s, recovered after 2.5 s"
    assert [part.name for part in one.parts] == ["detected", "acted", "recovered"]
    assert one.parts[0].width == pytest.approx(BAR_WIDTH * 0.8, abs=0.1)
    assert one.parts[1].x == pytest.approx(one.parts[0].width, abs=0.1)


def test_what_is_not_over_says_so() -> None:
    """And has no bar of what nobody knows."""
    one = only(entry(Kind.SPOOL_STARTED, 10, "e2-ingest"))

    assert one.sentence == "e2-ingest kept packets in its spool; it is not over."
    assert (one.is_over, one.parts) == (False, ())


def test_the_newest_is_first() -> None:
    """Nobody asks for last week first."""
    found = told_of(entry(Kind.NODE_DEAD, 10, "a"), entry(Kind.NODE_BACK, 20, "a"), entry(Kind.NODE_DEAD, 30, "b"))

    assert [one.sentence for one in found] == ["b was dead; it is not over.", "a was dead; over after 10.0 s."]


@pytest.mark.parametrize("kind", [one for one in Kind if one not in {Kind.HOOK_DONE, Kind.HOOK_FAILED}])
def test_every_kind_has_a_sentence_or_is_no_episode(kind: Kind) -> None:
    """None of them shows its code name with underscores."""
    for one in told_of(entry(kind, 10)):
        assert "_" not in one.sentence
        assert one.sentence.startswith(
            ("e1-app", "The leader e1-app", "Region e1-app", "Redis e1-app", "ClickHouse e1", "Drill e1")
        )


def test_what_it_cost_and_who_acted_is_told() -> None:
    """By the details of its entries, and the token of the one that ended it."""
    end = make_entry(Kind.SPOOL_DRAINED, 70 * S, node="e2-ingest", by="e2-ingest", details={"spooled_bytes": 1_234_567})
    spool = only(entry(Kind.SPOOL_STARTED, 10, "e2-ingest"), end)
    back = make_entry(Kind.NODE_BACK, 70 * S, node="e1-app", by="w1", token=9, details={"role": "app"})
    dead = only(entry(Kind.NODE_DEAD, 10), back)

    assert (spool.cost, spool.acted) == (("1,234,567 bytes waited in its spool, none lost",), "")
    assert (dead.cost, dead.acted) == ((), "w1, token 9")


@pytest.mark.parametrize(
    ("entries", "figures"),
    [
        ([entry(Kind.NODE_DEAD, 1000), entry(Kind.NODE_BACK, 1010)], "/?since=880&until=1120"),
        ([entry(Kind.NODE_DEAD, 1000)], "/?since=880&until=1120"),
        ([entry(Kind.NODE_DEAD, 0)], "/?since=0&until=120"),
    ],
    ids=["from-before-to-after", "until-now-while-it-is-not-over", "not-before-1970"],
)
def test_an_episode_leads_to_the_key_figures_of_its_time(entries: list[Entry], figures: str) -> None:
    """Two minutes more on either side."""
    assert only(*entries).figures == figures


def test_what_fails_during_a_drill_is_marked() -> None:
    """Before and after it is not."""
    found = told_of(
        entry(Kind.NODE_DEAD, 5, "before"),
        entry(Kind.DRILL_STARTED, 10, "rack-a"),
        entry(Kind.NODE_DEAD, 15, "during"),
        entry(Kind.DRILL_ENDED, 20, "rack-a"),
        entry(Kind.NODE_DEAD, 25, "after"),
    )

    assert {one.sentence.split()[0]: one.is_drill for one in found} == {
        "before": False, "Drill": True, "during": True, "after": False,
    }  # fmt: skip


def test_a_drill_that_nobody_ended_is_over_after_four_hours() -> None:
    """It excuses nothing that fails later."""
    found = told_of(entry(Kind.DRILL_STARTED, 0, "rack-a"), entry(Kind.NODE_DEAD, 5 * 3600, "later"))

    assert [one.is_drill for one in found] == [False, True]

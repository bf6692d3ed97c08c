"""Entries of the failover log, and episodes out of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.cluster.entry import MAX_DETAILS, Entry, Kind, episodes, make_entry, parse_entry

S = 1_000_000


def entry(kind: Kind, at_s: float, node: str = "a", *, detected_s: float = 0, acted_s: float = 0) -> Entry:
    """One of them."""
    return make_entry(
        kind, int(at_s * S), node=node, by="w", detected_us=int(detected_s * S), acted_us=int(acted_s * S)
    )


def test_the_same_content_has_the_same_id_and_other_content_another() -> None:
    """So it may be written twice."""
    one = entry(Kind.NODE_DEAD, 1)

    assert one.entry_id == entry(Kind.NODE_DEAD, 1).entry_id
    assert len({one.entry_id, entry(Kind.NODE_DEAD, 2).entry_id, entry(Kind.NODE_BACK, 1).entry_id}) == 3


@given(st.text(max_size=50), st.integers(0, 1 << 62))
def test_an_entry_is_read_as_it_was_written(text: str, number: int) -> None:
    """Whatever is in it."""
    one = make_entry(Kind.CUT_OFF, number, node=text, by=text, reason=text, details={"text": text})

    assert parse_entry(json.loads(json.dumps(one.as_json()))) == one


def test_details_without_end_are_left_out_and_it_says_so() -> None:
    """An entry has a bound."""
    one = make_entry(Kind.HOOK_FAILED, 1, node="a", by="w", reason="r" * 9_999, details={"output": "x" * MAX_DETAILS})

    assert json.loads(one.details).keys() == {"left_out"}
    assert len(one.reason) == 512


@pytest.mark.parametrize("read", [None, [], {}, {"kind": "dancing"}, {"kind": "cut_off", "at_us": "x"}])
def test_what_is_no_entry_is_nothing(read: object) -> None:
    """A line of a damaged file."""
    assert parse_entry(read) is None


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([entry(Kind.NODE_DEAD, 10, detected_s=13), entry(Kind.NODE_BACK, 60)],
                     [("node_dead", 3.0, None, 50.0)], id="a-node-dies-and-comes-back"),
        pytest.param([entry(Kind.NODE_DEAD, 10, detected_s=13)], [("node_dead", 3.0, None, None)],
                     id="it-has-not-come-back-yet"),
        pytest.param([entry(Kind.LEADER_RESIGNED, 10, "a", detected_s=10),
                      entry(Kind.LEADER_ELECTED, 11, "b", detected_s=10.5, acted_s=12)],
                     [("leader_resigned", 0.0, 2.0, 2.0)], id="another-node-leads-after-one-left"),
        pytest.param([entry(Kind.LEADER_LOST, 10, "a", detected_s=10), entry(Kind.LEADER_RESUMED, 11, "a", acted_s=11)],
                     [("leader_lost", 0.0, 1.0, 1.0)], id="the-same-leader-goes-on"),
        pytest.param([entry(Kind.LEADER_ELECTED, 11, "b", detected_s=10, acted_s=12)],
                     [("leader_elected", 0.0, 2.0, 2.0)], id="a-leader-that-was-killed-told-nothing"),
        pytest.param([entry(Kind.CUT_OFF, 1, "a"), entry(Kind.CUT_OFF, 2, "b"), entry(Kind.RECONNECTED, 5, "b")],
                     [("cut_off", None, None, None), ("cut_off", None, None, 3.0)], id="each-node-has-its-own"),
        pytest.param([entry(Kind.SPOOL_STARTED, 1), entry(Kind.SPOOL_STARTED, 2), entry(Kind.SPOOL_DRAINED, 5)],
                     [("spool_started", None, None, 4.0)], id="a-beginning-told-twice-counts-once"),
        pytest.param([entry(Kind.REDIS_FAILOVER, 13, "bus", detected_s=11, acted_s=13)],
                     [("redis_failover", 0.0, 2.0, 2.0)], id="one-entry-tells-all"),
        pytest.param([entry(Kind.NODE_BACK, 5), entry(Kind.HOOK_DONE, 6)], [], id="ends-alone-are-no-episode"),
    ],
)  # fmt: skip
def test_beginnings_and_ends_are_brought_together(
    entries: list[Entry], expected: list[tuple[str, float | None, float | None, float | None]]
) -> None:
    """Detect, elect, recover: in seconds; the order of the entries does not matter."""
    found = [(one.kind, one.detect_s, one.elect_s, one.recover_s) for one in episodes(reversed(entries))]

    assert found == expected

"""Many calls at once: shares of those measured, spreads over streams, groups with the worst first."""

import pytest
from tests.calls.reports import FAR, NEAR, block, captured, receiver_report, sender_report

from everline.calls.agreed import Described
from everline.calls.emodel import MosBand
from everline.calls.quality import CallQuality, quality_of
from everline.calls.quality_totals import QualityGroup, network_of, totals_of, worst_first

OTHER = ("203.0.113.5", 6001)


def call(
    lost: int | None, *, target: tuple[str, int] = NEAR, jitter: int = 80, codec: str = "PCMU/8000", agent: str = "a"
) -> CallQuality:
    """A call with a stream of 1,000 packets from FAR, or one of which only its sender spoke."""
    events = [captured(sender_report(2, packets=1000), source=FAR, target=target, agent=agent)]
    if lost is not None:
        report = receiver_report(1, block(2, lost=lost, jitter=jitter))
        events.append(captured(report, source=target, target=FAR, agent=agent))
    quality = quality_of(events, [Described(200, codec)])
    assert quality is not None
    return quality


def test_shares_are_of_calls_with_a_known_loss() -> None:
    """A limit must be exceeded; a call without reports on how it was received is no good call, nor a bad one."""
    losses = [None, 0, 10, 11, 50, 51, 999]
    totals = totals_of({str(index): call(lost) for index, lost in enumerate(losses)})

    assert (totals.calls, totals.measured, totals.heard, totals.bad) == (7, 6, 4, 2)
    assert [totals.heard_ratio, totals.bad_ratio] == pytest.approx([4 / 6, 2 / 6])


def test_nothing_has_no_shares() -> None:
    """None, not zero."""
    totals = totals_of({})

    assert (totals.calls, totals.heard_ratio, totals.bad_ratio, totals.jitter_p50_ms) == (0, None, None, None)


def test_jitter_is_of_streams_with_a_clock_rate() -> None:
    """Median and 95th percentile; a stream without a clock rate has none in milliseconds."""
    calls = {str(ms): call(0, jitter=ms * 8) for ms in range(1, 101)} | {"x": call(0, jitter=80_000, codec="x")}
    totals = totals_of(calls)

    assert (totals.jitter_p50_ms, totals.jitter_p95_ms) == (51, 96)


def test_scores_by_band() -> None:
    """By the worst stream; every band is told, also an empty one."""
    totals = totals_of({"1": call(0), "2": call(999), "3": call(0, codec="opus/48000")})

    assert totals.mos == {
        MosBand.SATISFIED: 1, MosBand.SOME_DISSATISFIED: 0, MosBand.MANY_DISSATISFIED: 0,
        MosBand.POOR: 1, MosBand.UNKNOWN: 1,
    }  # fmt: skip


def test_where_it_is_worst() -> None:
    """By where streams go, and by who captured them."""
    calls = {
        "1": call(100, target=OTHER, agent="b"),
        "2": call(20, target=OTHER, agent="b"),
        "3": call(0),
        "4": call(None),
    }
    totals = totals_of(calls)

    assert totals.networks == (
        QualityGroup("203.0.113.0/24", 2, 2, 2, 1, 0.1), QualityGroup("192.0.2.0/24", 2, 1, 0, 0, 0.0)
    )  # fmt: skip
    assert [(one.name, one.calls, one.bad) for one in totals.agents] == [("b", 2, 1), ("a", 2, 0)]


@pytest.mark.parametrize(
    ("ip", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("", ""), ("junk", "junk")],
)
def test_network_of(ip: str, network: str) -> None:
    """Wide enough to gather calls, narrow enough to name somebody."""
    assert network_of(ip) == network


def test_worst_first() -> None:
    """By loss, then score, then jitter, then Call-ID; unknown last."""
    calls = {"b": call(0), "a": call(0), "none": call(None), "lossy": call(100), "shaky": call(0, jitter=800)}

    assert [call_id for call_id, _ in worst_first(calls)] == ["lossy", "shaky", "a", "b", "none"]

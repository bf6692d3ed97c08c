"""The estimated score: what is known of it from ITU-T G.107, and what must hold of any."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.calls.emodel import IMPAIRMENTS, MosBand, band_of, estimated_mos, mos_of, rating


@pytest.mark.parametrize(
    ("r", "mos"),
    [(-5, 1.0), (0, 1.0), (50, 2.58), (60, 3.10), (70, 3.60), (80, 4.03), (90, 4.34), (100, 4.5), (120, 4.5)],
)
def test_mos_of_a_rating(r: float, mos: float) -> None:
    """The pairs of G.107 annex B, and its ends."""
    assert mos_of(r) == pytest.approx(mos, abs=0.01)


@pytest.mark.parametrize(
    ("codec", "loss", "round_trip_ms", "jitter_ms", "expected"),
    [
        pytest.param("PCMU/8000", 0.0, None, None, 4.39, id="g711-at-its-best"),
        pytest.param("pcma/8000", 0.0, None, None, 4.39, id="names-in-any-case"),
        pytest.param("PCMA/8000", 0.05, 40.0, 5.0, 3.86, id="five-per-cent-lost"),
        pytest.param("PCMU/8000", 0.0, 600.0, 0.0, 3.53, id="a-long-way-alone"),
        pytest.param("G729/8000", 0.0, None, None, 4.10, id="g729-costs-eleven"),
        pytest.param("PCMU/8000", 1.0, 0.0, 0.0, 1.16, id="nothing-arrives"),
        pytest.param("opus/48000", 0.0, 10.0, 1.0, None, id="no-values-for-the-codec"),
        pytest.param(None, 0.0, 10.0, 1.0, None, id="codec-unknown"),
        pytest.param("PCMU/8000", None, 10.0, 1.0, None, id="loss-unknown"),
    ],
)
def test_scores(
    codec: str | None, loss: float | None, round_trip_ms: float | None, jitter_ms: float | None, expected: float | None
) -> None:
    """One score by hand for each input that matters."""
    got = estimated_mos(codec, loss, round_trip_ms=round_trip_ms, jitter_ms=jitter_ms)

    assert got == (None if expected is None else pytest.approx(expected, abs=0.02))


_SHARES = st.floats(0, 1)
_DELAYS = st.floats(0, 1e9)


@given(st.sampled_from(sorted(IMPAIRMENTS)), _SHARES, _SHARES, _DELAYS, _DELAYS)
def test_worse_is_never_scored_better(codec: str, loss: float, other: float, delay: float, more: float) -> None:
    """More loss or more delay never raises a score, and every score lies between 1 and 4.5."""
    low, high = sorted((loss, other))
    better = estimated_mos(codec, low, round_trip_ms=delay, jitter_ms=0)
    worse = estimated_mos(codec, high, round_trip_ms=delay + more, jitter_ms=more)

    assert better is not None
    assert worse is not None
    assert 1 <= worse <= better <= 4.5


def test_an_impairment_is_half_at_its_robustness() -> None:
    """What Bpl means."""
    for one in IMPAIRMENTS.values():
        cost = rating(one, 0.0, delay_ms=0) - rating(one, one.bpl / 100, delay_ms=0)
        assert math.isclose(cost, (95 - one.ie) / 2)


@pytest.mark.parametrize(
    ("mos", "band"),
    [(4.4, MosBand.SATISFIED), (4.03, MosBand.SATISFIED), (4.02, MosBand.SOME_DISSATISFIED),
     (3.5, MosBand.MANY_DISSATISFIED), (1.0, MosBand.POOR), (None, MosBand.UNKNOWN)],
)  # fmt: skip
def test_bands(mos: float | None, band: MosBand) -> None:
    """What callers think of it."""
    assert band_of(mos) is band

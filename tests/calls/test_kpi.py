"""Each ratio by its definition: what counts above the line, and what below."""

from collections.abc import Callable

import pytest

from everline.calls.kpi import KpiCounts, acd, asr, isa, kpis_of, ner, seer, ser

COUNTS = KpiCounts(
    attempts=100,
    answered=50,
    challenged=10,
    abandoned_ringing=4,
    outcomes={"answered": 40, "busy": 8, "no_answer": 5, "rejected": 3, "cancelled": 6, "failed": 23, "redirected": 5},
    statuses={302: 5, 401: 4, 407: 6, 408: 2, 480: 3, 486: 7, 600: 1, 603: 3, 500: 3, 503: 4, 504: 1, 404: 5},
    talks=40,
    talk_s=4800.0,
)


@pytest.mark.parametrize(
    ("ratio", "part", "whole"),
    [
        pytest.param(asr, 50, 90, id="asr-answered-of-seizures-and-a-challenge-is-none"),
        pytest.param(ner, 50 + 8 + 5 + 3 + 4, 90, id="ner-the-user-was-reached-or-it-rang-until-the-caller-gave-up"),
        pytest.param(ser, 50, 100 - 5 - 10, id="ser-without-redirected-and-challenged"),
        pytest.param(seer, 50 + 3 + 7 + 1 + 3, 100 - 5 - 10, id="seer-480-486-600-603-are-effective"),
        pytest.param(isa, 2 + 3 + 4 + 1, 100, id="isa-408-500-503-504-of-all"),
    ],
)
def test_ratios(ratio: Callable[[KpiCounts], float | None], part: int, whole: int) -> None:
    """RFC 6076 sections 4.6 to 4.8, ITU-T E.411 and E.425."""
    assert ratio(COUNTS) == pytest.approx(part / whole)


def test_average_call_duration() -> None:
    """Calls that still last do not count."""
    assert acd(COUNTS) == 120


@pytest.mark.parametrize(
    "counts", [KpiCounts(), KpiCounts(attempts=3, challenged=3)], ids=["no-call", "only-challenges"]
)
def test_no_ratio_without_an_attempt(counts: KpiCounts) -> None:
    """Nothing to divide by is None, not zero."""
    assert [one(counts) for one in (asr, ner, ser, seer, acd)] == [None] * 5


def test_all_figures_at_once() -> None:
    """What a page shows is what the functions say."""
    figures = kpis_of(COUNTS)

    assert (figures.attempts, figures.asr_ratio, figures.isa_ratio) == (100, asr(COUNTS), isa(COUNTS))
    assert (figures.ner_ratio, figures.ser_ratio, figures.seer_ratio) == (ner(COUNTS), ser(COUNTS), seer(COUNTS))

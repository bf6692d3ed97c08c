"""
Key figures of call attempts, from counts. Every ratio says its definition; None where nothing was attempted.

A call is counted once, however often its INVITE was sent, challenged or forked, by what it came to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from everline.calls.record import Outcome

DELIVERED: Final = frozenset({Outcome.ANSWERED, Outcome.BUSY, Outcome.NO_ANSWER, Outcome.REJECTED})
"""Outcomes for which the network did its part (ITU-T E.425 section 3.3: answered, busy, no answer, user rejection)."""

EFFECTIVE_STATUSES: Final = frozenset({480, 486, 600, 603})
"""Failures that come from the called user, not from the network (RFC 6076 section 4.7)."""

INEFFECTIVE_STATUSES: Final = frozenset({408, 500, 503, 504})
"""Failures that come from a broken or overloaded element (RFC 6076 section 4.8)."""


@dataclass(frozen=True, slots=True)
class KpiCounts:
    """
    What is counted over the calls that began in a range.

    Attributes:
        answered: Calls with a 2xx response to INVITE.
        challenged: Calls whose last word, so far, is a challenge (401, 402, 407).
        abandoned_ringing: Calls that the caller cancelled after a 18x response.
        outcomes: Calls by outcome; a call in progress has none.
        statuses: Calls that were not answered, by final failure.
        talks: Calls that were answered and ended.
        talk_s: Sum of their talk times.
        pdd_p50_s: Median post-dial delay; None when nothing rang.
        srd_p50_s: Median session request delay (RFC 6076 section 4.3); None without a response.
    """

    attempts: int = 0
    answered: int = 0
    challenged: int = 0
    abandoned_ringing: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)
    talks: int = 0
    talk_s: float = 0.0
    pdd_p50_s: float | None = None
    pdd_p95_s: float | None = None
    srd_p50_s: float | None = None
    srd_p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Kpis:
    """
    The figures of a range: what was counted, as in `KpiCounts`, and the ratios, 0 to 1.

    Each ratio's definition is with the function of its name in this module.

    Attributes:
        partial: A part of the store could not be asked, so that calls may be missing.
    """

    attempts: int
    answered: int
    outcomes: Mapping[str, int]
    statuses: Mapping[int, int]
    talk_s: float
    asr_ratio: float | None
    ner_ratio: float | None
    ser_ratio: float | None
    seer_ratio: float | None
    isa_ratio: float | None
    acd_s: float | None
    pdd_p50_s: float | None
    pdd_p95_s: float | None
    srd_p50_s: float | None
    srd_p95_s: float | None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class KpiBucket:
    """The figures of one step of time, from `start_us` (epoch microseconds)."""

    start_us: int
    kpis: Kpis


def kpis_of(counts: KpiCounts) -> Kpis:
    """All figures of one range."""
    return Kpis(
        attempts=counts.attempts,
        answered=counts.answered,
        outcomes=counts.outcomes,
        statuses=counts.statuses,
        talk_s=counts.talk_s,
        asr_ratio=asr(counts),
        ner_ratio=ner(counts),
        ser_ratio=ser(counts),
        seer_ratio=seer(counts),
        isa_ratio=isa(counts),
        acd_s=acd(counts),
        pdd_p50_s=counts.pdd_p50_s,
        pdd_p95_s=counts.pdd_p95_s,
        srd_p50_s=counts.srd_p50_s,
        srd_p95_s=counts.srd_p95_s,
    )


def asr(counts: KpiCounts) -> float | None:
    """
    Answer-seizure ratio: answered / seizures (ITU-T E.411 section 2.1, E.425).

    A call is a seizure unless its last word is a challenge: no circuit would have been seized for it.
    """
    return _ratio(counts.answered, counts.attempts - counts.challenged)


def ner(counts: KpiCounts) -> float | None:
    """
    Network effectiveness ratio: seizures that reached the called user / seizures (ITU-T E.425).

    The user was reached when the call was answered, busy, not answered or rejected, or when the caller
    gave up while it rang. Giving up before that counts against the network.
    """
    reached = sum(counts.outcomes.get(outcome, 0) for outcome in DELIVERED - {Outcome.ANSWERED})
    return _ratio(counts.answered + reached + counts.abandoned_ringing, counts.attempts - counts.challenged)


def ser(counts: KpiCounts) -> float | None:
    """
    Session establishment ratio: answered / (attempts - redirected) (RFC 6076 section 4.6).

    Challenged INVITEs are left out as well, since the one that follows them is the attempt.
    """
    return _ratio(counts.answered, _not_diverted(counts))


def seer(counts: KpiCounts) -> float | None:
    """
    Session establishment effectiveness ratio (RFC 6076 section 4.7).

    (answered + 480, 486, 600, 603) / (attempts - 3xx, 401, 402, 407).
    """
    effective = sum(counts.statuses.get(status, 0) for status in EFFECTIVE_STATUSES)
    return _ratio(counts.answered + effective, _not_diverted(counts))


def isa(counts: KpiCounts) -> float | None:
    """Ineffective session attempts: calls that ended in 408, 500, 503 or 504 / attempts (RFC 6076 section 4.8)."""
    return _ratio(sum(counts.statuses.get(status, 0) for status in INEFFECTIVE_STATUSES), counts.attempts)


def acd(counts: KpiCounts) -> float | None:
    """Average call duration: seconds of talk / calls that were answered and ended (ITU-T E.437 calls it ACD)."""
    return counts.talk_s / counts.talks if counts.talks else None


def _not_diverted(counts: KpiCounts) -> int:
    redirected = sum(calls for status, calls in counts.statuses.items() if 300 <= status < 400)
    return counts.attempts - redirected - counts.challenged


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None

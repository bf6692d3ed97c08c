"""Calls over time by what they came to: the table from which the page draws its chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from everline.app import words
from everline.app.words import OUTCOME_WORDS
from everline.calls.kpi import KpiBucket, Kpis
from everline.calls.record import Outcome

OPEN: Final = "open"
"""Stands for calls that have come to nothing yet: in progress, or merely challenged."""
ORDER: Final = (
    Outcome.ANSWERED, Outcome.CANCELLED, Outcome.REDIRECTED, Outcome.BUSY, Outcome.NO_ANSWER, Outcome.REJECTED,
    Outcome.FAILED, Outcome.TIMED_OUT,
)  # fmt: skip
"""From the ground up: what went well is at the bottom, so that what did not stands out against the sky."""
TOP_CODES: Final = 6


@dataclass(frozen=True, slots=True)
class Column:
    """
    One outcome.

    Attributes:
        key: Of the style sheet's colours.
        outcome: As a search takes it; empty for calls without one, which no search can name.
    """

    key: str
    outcome: str
    sign: str
    word: str
    calls: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of time: how many calls, by column."""

    since_us: int
    until_us: int
    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """All of it; without columns nothing began in the range."""

    columns: tuple[Column, ...]
    steps: tuple[Step, ...]


def course_of(series: Sequence[KpiBucket], *, until_us: int, step_s: int) -> Course:
    """Outcomes that any call of the range had, step by step."""
    keys = [key for key in (*ORDER, OPEN) if any(_calls(one.kpis, key) for one in series)]
    steps = tuple(
        Step(
            one.start_us,
            min(one.start_us + step_s * 1_000_000, until_us),
            tuple(_calls(one.kpis, key) for key in keys),
        )
        for one in series
    )
    columns = tuple(_column(key, sum(_calls(one.kpis, key) for one in series)) for key in keys)
    return Course(columns, steps)


def top_codes(kpis: Kpis) -> list[tuple[int, int]]:
    """The final failures that were met most often, and in how many calls."""
    return sorted(kpis.statuses.items(), key=lambda one: (-one[1], one[0]))[:TOP_CODES]


def calls_link(since_us: int, until_us: int, **filters: object) -> str:
    """The page of the calls of a range; a filter without a value is left out."""
    ends = {"since": words.iso_moment(since_us), "until": words.iso_moment(until_us)}
    return f"/calls?{urlencode(ends | {name: value for name, value in filters.items() if value})}"


def _column(key: str, calls: int) -> Column:
    if key == OPEN:
        return Column(OPEN, "", "…", "no outcome yet", calls)
    sign, word, _ = OUTCOME_WORDS[key]
    return Column(key, key, sign, word, calls)


def _calls(kpis: Kpis, key: str) -> int:
    if key == OPEN:
        return max(kpis.attempts - sum(kpis.outcomes.values()), 0)
    return kpis.outcomes.get(key, 0)

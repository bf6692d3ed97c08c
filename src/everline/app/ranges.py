"""The time range that a request asks for, and the steps in which figures over it are given."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from everline.app.moments import MomentRangeError, parse_moment_us
from everline.app.problems import ProblemError
from everline.app.range_menu import LASTS

DEFAULT: Final = "1h"
DAY_US: Final = 86_400 * 1_000_000
COMPARED_US: Final = 4 * 3600 * 1_000_000
MAX_TEXT: Final = 512
MAX_STEPS: Final = 2000
USUAL_STEPS: Final = 60
STEPS_S: Final = (10, 60, 300, 900, 3600, 21_600, 86_400)

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Span(BaseModel):
    """A time range: the `last` 15m, 1h, 4h, 24h or 7d; or `since`, an hour before the end, `until`, now."""

    model_config = ConfigDict(extra="forbid")

    last: Text = ""
    since: Text = ""
    until: Text = ""

    def bounds_us(self, now: float) -> tuple[int, int]:
        """
        Its ends, epoch microseconds.

        Raises:
            ProblemError: They are not times, or the wrong way round, or there are two ranges.
        """
        since_us, until_us = range_us(self.last, self.since, self.until, now=now)
        end_us = round(now * 1e6) if until_us is None else until_us
        start_us = max(end_us - LASTS[DEFAULT].span_s * 1_000_000, 0) if since_us is None else since_us
        if start_us >= end_us:
            raise ProblemError(400, "since is not before until", next_step="Exchange the two.")
        return start_us, end_us


class Range(Span):
    """A time range in steps."""

    step: Annotated[int | None, Field(ge=1, le=86_400)] = None

    def step_of(self, since_us: int, until_us: int) -> int:
        """
        Seconds of a step: the one asked for, else the shortest usual one that gives no more than 60 or so steps.

        Raises:
            ProblemError: There would be too many steps.
        """
        span_s = (until_us - since_us) / 1e6
        step_s = self.step or next((one for one in STEPS_S if span_s / one <= USUAL_STEPS), STEPS_S[-1])
        if span_s / step_s > MAX_STEPS:
            raise ProblemError(
                400, f"{span_s:.0f} s in steps of {step_s} s are too many", next_step="Give a longer step."
            )
        return step_s


def range_us(last: str, since: str, until: str, *, now: float) -> tuple[int | None, int | None]:
    """
    The ends of a range, epoch microseconds; None for an end that is left open.

    Raises:
        ProblemError: `last` is no usual span, comes with another range, or an end is no time.
    """
    since_us, until_us = moment_us("since", since), moment_us("until", until)
    if not last:
        return since_us, until_us
    if last not in LASTS:
        raise ProblemError(400, f"last={last[:80]!r} is unknown", next_step=f"Give one of {', '.join(LASTS)}.")
    if since_us is not None or until_us is not None:
        raise ProblemError(400, "last and since or until are two ranges", next_step="Leave one of them out.")
    return round((now - LASTS[last].span_s) * 1e6), None


def day_before(since_us: int, until_us: int) -> tuple[int, int] | None:
    """
    The same hours of the day before, with which a range is compared.

    None for one of more than four hours: that much twice takes a store longer than a reader waits.
    """
    if until_us - since_us > COMPARED_US or since_us < DAY_US:
        return None
    return since_us - DAY_US, until_us - DAY_US


def moment_us(name: str, value: str) -> int | None:
    """
    A parameter as epoch microseconds; None for an empty value.

    Raises:
        ProblemError: It is no time.
    """
    text = value.strip()
    if not text:
        return None
    try:
        return parse_moment_us(text)
    except MomentRangeError as error:
        step = "Give a time from 1970 to 9999."
        raise ProblemError(400, f"{name}={text[:80]!r} is out of range", next_step=step) from error
    except ValueError as error:
        step = "Give epoch seconds (1700000000) or ISO 8601 (2026-11-23T03:00:00Z)."
        raise ProblemError(400, f"{name}={text[:80]!r} is not a time", next_step=step) from error

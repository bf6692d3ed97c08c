"""Key figures: the range asked for, each figure with its unit and definition, and small drawings of its course."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from everline.app import words
from everline.app.problems import ProblemError
from everline.app.query import Text, moment_us
from everline.calls.kpi import KpiBucket, Kpis

DEFAULT_US: Final = 3600 * 1_000_000
MAX_STEPS: Final = 2000
STEPS_S: Final = (10, 60, 300, 900, 3600, 21_600, 86_400)
SPARK_STEPS: Final = 60
SPARK_WIDTH: Final = 240
SPARK_HEIGHT: Final = 40


class Span(BaseModel):
    """A time range; without `until` it ends now, without `since` it is an hour long."""

    model_config = ConfigDict(extra="forbid")

    since: Text = ""
    until: Text = ""

    def bounds_us(self, now: float) -> tuple[int, int]:
        """
        Its ends, epoch microseconds.

        Raises:
            ProblemError: They are not times, or the wrong way round.
        """
        until_us = moment_us("until", self.until)
        end_us = round(now * 1e6) if until_us is None else until_us
        since_us = moment_us("since", self.since)
        start_us = max(end_us - DEFAULT_US, 0) if since_us is None else since_us
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
        step_s = self.step or next((one for one in STEPS_S if span_s / one <= SPARK_STEPS), STEPS_S[-1])
        if span_s / step_s > MAX_STEPS:
            raise ProblemError(
                400, f"{span_s:.0f} s in steps of {step_s} s are too many", next_step="Give a longer step."
            )
        return step_s


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure on the overview."""

    name: str
    value: str
    definition: str
    spark: Markup


def figures_json(figures: Kpis | KpiBucket) -> dict[str, Any]:
    """The figures by name."""
    return asdict(figures)


def figures_of(kpis: Kpis, series: Sequence[KpiBucket], *, concurrent: int | None, span_s: float) -> list[Figure]:
    """What the overview shows, in the order of the questions that people ask."""

    def figure(name: str, value: str, definition: str, read: Callable[[Kpis], float | None]) -> Figure:
        return Figure(name, value, definition, sparkline([read(one.kpis) for one in series], label=name))

    rate = f"{kpis.attempts / span_s:.2f}"
    return [
        Figure("Concurrent", _count(concurrent), "Calls in progress now, as this node knows them.", Markup()),
        figure("Attempts", f"{kpis.attempts:,}", f"Calls that began; {rate} a second.", lambda one: one.attempts),
        figure(
            "ASR", words.percent(kpis.asr_ratio),
            "Answered / seizures: attempts but those merely challenged. ITU-T E.411.",
            lambda one: one.asr_ratio,
        ),
        figure(
            "NER", words.percent(kpis.ner_ratio),
            "Reached the callee / seizures: answered, busy, no answer, rejected, given up while ringing. ITU-T E.425.",
            lambda one: one.ner_ratio,
        ),
        figure("ACD", words.duration(kpis.acd_s), "Mean talk time of answered calls.", lambda one: one.acd_s),
        figure(
            "PDD p50", words.duration(kpis.pdd_p50_s), "Median of first INVITE to first 18x.", lambda one: one.pdd_p50_s
        ),
        figure(
            "PDD p95", words.duration(kpis.pdd_p95_s), "95 of 100 calls rang sooner.", lambda one: one.pdd_p95_s
        ),
    ]  # fmt: skip


def sparkline(values: Sequence[float | None], *, label: str) -> Markup:
    """A small curve from zero to its greatest value; a gap where nothing is known."""
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0:
        return Markup()
    wide = SPARK_WIDTH / max(len(values) - 1, 1)
    path, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{index * wide:.1f} {SPARK_HEIGHT - 2 - (SPARK_HEIGHT - 4) * value / top:.1f}")
        if pen == "M":
            path.append("h0.01")  # A lone point is drawn as a dot.
        pen = "L"
    frame = Markup('<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">')
    curve = Markup('<path d="{}" fill="none" stroke="currentColor"/></svg>').format(" ".join(path))
    return frame.format(f"{label} over the range", SPARK_WIDTH, SPARK_HEIGHT) + curve


def _count(number: int | None) -> str:
    return words.NOTHING if number is None else f"{number:,}"

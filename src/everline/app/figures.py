"""Key figures: each with its unit, definition, change since the day before, and a small drawing of its course."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from markupsafe import Markup

from everline.app import words
from everline.calls.kpi import KpiBucket, Kpis

SPARK_WIDTH: Final = 240
SPARK_HEIGHT: Final = 40

Read = Callable[[Kpis], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One figure on the overview.

    Attributes:
        change: Against the same hours of the day before, in words; empty where nothing is compared.
    """

    name: str
    value: str
    definition: str
    spark: Markup
    change: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """
    What figures are made of.

    Attributes:
        series: The range step by step.
        before: The figures of the same hours of the day before; None if they are not compared.
    """

    kpis: Kpis
    series: Sequence[KpiBucket]
    before: Kpis | None
    span_s: float


def figures_json(figures: Kpis | KpiBucket) -> dict[str, Any]:
    """The figures by name."""
    return asdict(figures)


def figures_of(span: Basis, *, concurrent: int | None) -> list[Figure]:
    """What the overview shows, in the order of the questions that people ask."""

    def figure(name: str, read: Read, show: Callable[[float | None], str], definition: str, diff: "Diff") -> Figure:
        value = read(span.kpis)
        spark = sparkline([read(one.kpis) for one in span.series], label=name)
        compared = change(value, read(span.before), diff=diff) if span.before else ""
        return Figure(name, show(value), definition, spark, compared)

    def per_second(calls: float | None) -> str:
        return words.NOTHING if calls is None else f"{calls / span.span_s:.2f} /s"

    return [
        Figure("Concurrent", _count(concurrent), "Calls in progress now, as this node knows them.", Markup()),
        figure("Attempts", lambda one: one.attempts, _count, "Calls that began.", relative),
        figure("CPS", lambda one: one.attempts, per_second, "Calls that began each second, on average.", relative),
        figure(
            "ASR", lambda one: one.asr_ratio, words.percent,
            "Answered / seizures: attempts but those merely challenged. ITU-T E.411.", points,
        ),
        figure(
            "NER", lambda one: one.ner_ratio, words.percent,
            "Reached the callee / seizures: answered, busy, no answer, rejected, given up while ringing. ITU-T E.425.",
            points,
        ),
        figure("ACD", lambda one: one.acd_s, words.duration, "Mean talk time of answered calls.", longer),
        figure("PDD p50", lambda one: one.pdd_p50_s, words.duration, "Median of first INVITE to first 18x.", longer),
        figure("PDD p95", lambda one: one.pdd_p95_s, words.duration, "95 of 100 calls rang sooner.", longer),
    ]  # fmt: skip


Diff = Callable[[float, float], str]
"""How far a value is from one before, without a sign; empty if they are as good as equal."""


def change(now: float | None, before: float | None, *, diff: Diff) -> str:
    """A change since the day before in words: a sign for its direction, and how far."""
    if now is None:
        return ""
    if before is None:
        return "none the day before"
    size = diff(now, before)
    return f"{'▲' if now > before else '▼'} {size} on the day before" if size else "as the day before"


def relative(now: float, before: float) -> str:
    """In per cent of what was; as it is where nothing was."""
    if before == 0:
        return f"{now:,.0f}" if now else ""
    share = abs(now - before) / before
    return f"{share:.0%}".replace("%", " %") if share >= 0.005 else ""


def points(now: float, before: float) -> str:
    """Ratios, in percentage points."""
    size = round(abs(now - before) * 100, 1)
    return f"{size:g} points" if size else ""


def longer(now: float, before: float) -> str:
    """Seconds."""
    size = abs(now - before)
    return words.duration(size) if size >= 0.0005 else ""


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


def _count(number: float | None) -> str:
    return words.NOTHING if number is None else f"{number:,.0f}"

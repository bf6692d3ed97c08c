"""What drills found, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from everline.drill.recovery import Recovery
from everline.drill.verdict import Verdict


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One fault, survived or not."""

    sentence: str
    recovery: Recovery | None
    verdict: Verdict
    most_lost: int = 0

    @property
    def is_passed(self) -> bool:
        """Recovered in time, nothing lost beyond what the formula allows, and all equal."""
        return self.recovery is not None and self.recovery.is_in_time and self._is_whole

    @property
    def is_only_late(self) -> bool:
        """All came back as it must, and nothing was lost, but not in time."""
        return self.recovery is not None and not self.recovery.is_in_time and self._is_whole

    @property
    def _is_whole(self) -> bool:
        return self.verdict.is_equal and len(self.verdict.lost) <= self.most_lost

    def as_json(self) -> dict[str, Any]:  # JSON
        """All of it."""
        return {
            "sentence": self.sentence,
            "passed": self.is_passed,
            "recovery": asdict(self.recovery) if self.recovery else None,
            "most_lost": self.most_lost,
            "verdict": self.verdict.as_json(),
        }


def table_of(results: Sequence[DrillResult]) -> Table:
    """One row a fault."""
    table = Table(title="Faults", show_lines=True)
    for name in ("fault", "recovered", "sent", "lost", "double", "wrong", "equal after"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for one in results:
        table.add_row(one.sentence, _recovered(one.recovery), *_figures(one), style="" if one.is_passed else "bold red")
    return table


def _recovered(recovery: Recovery | None) -> str:
    return f"{recovery.rto_s:.1f} s (≤ {recovery.within_s:g})" if recovery else "never"


def _figures(result: DrillResult) -> tuple[str, ...]:
    verdict = result.verdict
    allowed = f" (≤ {result.most_lost:,})" if result.most_lost else ""
    wrong = len({one.call_id for one in verdict.wrong}) + len(verdict.missing_calls) + len(verdict.extra_calls)
    equal = "never" if verdict.converged_after_s is None else f"{verdict.converged_after_s:.1f} s"
    return f"{verdict.sent:,}", f"{len(verdict.lost):,}{allowed}", f"{len(verdict.duplicated):,}", f"{wrong:,}", equal

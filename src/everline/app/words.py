"""Calls and numbers in the words and units that people read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from everline.calls.ladder import phrase
from everline.calls.quality_totals import LOSS_BAD, LOSS_HEARD
from everline.calls.record import CallRecord, Outcome, State

NOTHING: Final = "–"

OUTCOME_WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    Outcome.ANSWERED: ("✓", "answered", "good"),
    Outcome.BUSY: ("◐", "busy", "degraded"),
    Outcome.CANCELLED: ("↶", "cancelled", "unknown"),
    Outcome.NO_ANSWER: ("◌", "no answer", "degraded"),
    Outcome.REJECTED: ("⊘", "rejected", "degraded"),
    Outcome.REDIRECTED: ("↪", "redirected", "unknown"),
    Outcome.FAILED: ("✕", "failed", "bad"),
    Outcome.TIMED_OUT: ("⧗", "timed out", "bad"),
    State.TRYING: ("…", "trying", "unknown"),
    State.RINGING: ("♪", "ringing", "unknown"),
    State.ENDED: ("■", "ended", "unknown"),
}
"""For each outcome and state: a sign, a word, and a class for its colour."""


def duration(seconds: float | None) -> str:
    """Seconds as `85 ms`, `3.2 s`, `4 m 10 s` or `2 h 05 m`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"


def moment(us: int | None) -> str:
    """A time as people read it: UTC, to the second."""
    return NOTHING if us is None else _at(us).strftime("%Y-%m-%d %H:%M:%S")


def iso_moment(us: int | None) -> str:
    """A time as programs read it (RFC 3339), to the microsecond."""
    return "" if us is None else _at(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def percent(ratio: float | None) -> str:
    """A ratio as a percentage with one decimal; a dash without one."""
    return NOTHING if ratio is None else f"{ratio * 100:.1f} %"


def milliseconds(value: float | None) -> str:
    """Milliseconds as people read them: one decimal below ten."""
    return NOTHING if value is None else f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def score(mos: float | None) -> str:
    """A mean opinion score, so that its band can be told."""
    return NOTHING if mos is None else f"{mos:.2f}"


def loss_state(ratio: float | None) -> tuple[str, str]:
    """A sign and a class for a loss."""
    if ratio is None:
        return "", "unknown"
    if ratio > LOSS_BAD:
        return "✕", "bad"
    return ("◐", "degraded") if ratio > LOSS_HEARD else ("✓", "good")


def code(status: int | None) -> str:
    """A status with its phrase."""
    return NOTHING if not status else f"{status} {phrase(status)}"


def outcome_key(record: CallRecord) -> str:
    """The word that tells most about a call: its outcome if it has one, else its state."""
    return record.outcome or record.state


def headline(record: CallRecord) -> str:
    """What happened on this call, in one sentence."""
    if record.outcome is None:
        return _so_far(record)
    if record.outcome is Outcome.ANSWERED:
        return _answered(record)
    how = {
        Outcome.BUSY: "Busy",
        Outcome.CANCELLED: "Cancelled" + (" by the caller" if record.released_by == "caller" else ""),
        Outcome.NO_ANSWER: "No answer",
        Outcome.REJECTED: "Rejected",
        Outcome.REDIRECTED: "Redirected",
        Outcome.FAILED: "Failed",
        Outcome.TIMED_OUT: "Closed without a BYE: nothing more was heard",
    }[record.outcome]
    after = _between(record.invite_us, record.ended_us)
    when = f" after {duration(after)}" if after is not None else ""
    rang = ", it had rung" if record.ringing_us and record.outcome is not Outcome.TIMED_OUT else ""
    why = f" ({code(record.status)})" if record.status and record.outcome is not Outcome.TIMED_OUT else ""
    return f"{how}{when}{rang}{why}."


def _so_far(record: CallRecord) -> str:
    if record.state is State.ANSWERED:
        return f"Answered{_after_wait(record)}, talking since {moment(record.answered_us)} UTC."
    if record.state is State.RINGING:
        return f"Ringing since {moment(record.ringing_us)} UTC."
    return f"Trying since {moment(record.start_us)} UTC."


def _answered(record: CallRecord) -> str:
    talked = f", talked {duration(record.talk_s)}" if record.talk_s is not None else ""
    by = f", released by the {record.released_by}" if record.released_by else ""
    return f"Answered{_after_wait(record)}{talked}{by}."


def _after_wait(record: CallRecord) -> str:
    waited = _between(record.invite_us, record.answered_us)
    return "" if waited is None else f" after {duration(waited)}"


def _between(start_us: int | None, end_us: int | None) -> float | None:
    return None if start_us is None or end_us is None or end_us < start_us else (end_us - start_us) / 1e6


def _at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)

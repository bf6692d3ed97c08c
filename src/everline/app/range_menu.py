"""The choice of a time range in the top line: the range is part of the address, and goes along where there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

from everline.app.moments import parse_moment_us


class Last(NamedTuple):
    """A span that ends now."""

    label: str
    span_s: int


LASTS: Final[Mapping[str, Last]] = {
    "15m": Last("15 min", 900),
    "1h": Last("1 h", 3600),
    "4h": Last("4 h", 4 * 3600),
    "24h": Last("24 h", 24 * 3600),
    "7d": Last("7 days", 7 * 24 * 3600),
}
"""What `last` may be."""
UNLESS_CHOSEN: Final[Mapping[str, str]] = {"/": "1h", "/quality": "1h", "/calls": ""}
"""The pages that have a range, each with its `last` while none is chosen; empty for all time."""
_RANGE: Final = ("last", "since", "until")
_OF_A_MOMENT: Final = ("after", "step")
"""Parameters that mean nothing in another range."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A span to choose."""

    label: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class RangeMenu:
    """
    What the menu shows.

    Attributes:
        since, until: Of the form for any range, as `datetime-local` fields take them; empty where open.
        kept: What else the address says, and goes along.
        query: The range chosen, as it follows a `?` or `&`; empty if none is.
    """

    path: str
    label: str
    choices: tuple[Choice, ...]
    since: str
    until: str
    kept: tuple[tuple[str, str], ...]
    query: str


def range_menu(path: str, params: Mapping[str, str]) -> RangeMenu | None:
    """The menu of a page by its address, which may be wrong in any way; None for a page without a range."""
    if path not in UNLESS_CHOSEN:
        return None
    chosen = {name: params[name].strip() for name in _RANGE if params.get(name, "").strip()}
    kept = {name: value for name, value in params.items() if name not in (*_RANGE, *_OF_A_MOMENT)}
    last = chosen.get("last", "" if chosen else UNLESS_CHOSEN[path])
    choices = [
        Choice(one.label, f"{path}?{urlencode({**kept, 'last': name})}", is_current=name == last)
        for name, one in LASTS.items()
    ]
    if not UNLESS_CHOSEN[path]:
        choices.append(Choice("all time", f"{path}?{urlencode(kept)}" if kept else path, is_current=not chosen))
    since, until = (_field(chosen.get(name, "")) for name in ("since", "until"))
    return RangeMenu(
        path, _label(last, since, until), tuple(choices), since, until, tuple(kept.items()), urlencode(chosen)
    )


def _label(last: str, since: str, until: str) -> str:
    if last in LASTS:
        return f"Last {LASTS[last].label}"
    if not since and not until:
        return "All time"
    start, end = (one.replace("T", " ") for one in (since, until))
    same_day = end[11:] if start[:10] == end[:10] else end
    return f"{start or 'until'} {'–' if start else ''} {same_day or 'now'}".replace("  ", " ")


def _field(text: str) -> str:
    """To the minute, or to the second where it has some."""
    try:
        at = datetime.fromtimestamp(parse_moment_us(text) / 1e6, UTC)
    except ValueError:
        return ""
    return at.strftime("%Y-%m-%dT%H:%M:%S" if at.second else "%Y-%m-%dT%H:%M")

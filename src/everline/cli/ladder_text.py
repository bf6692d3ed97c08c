"""Draw the ladder of a call (the API's JSON) as lines of text: pure, no terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from everline.cli.text import one_line

_GUTTER: Final = 13
"""Left of the first column: milliseconds since the first message."""
_NARROWEST: Final = 14
_WIDEST: Final = 40

Row = Mapping[str, Any]  # JSON of the API, see everline.app.call_json


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and the dialog it belongs to (0 for none) for whoever has colours."""

    text: str
    dialog: int = 0


def draw_ladder(ladder: Mapping[str, Any], width: int) -> list[Line]:
    """
    Columns for addresses, arrows for messages; a list instead if the columns do not fit.

    Args:
        ladder: `columns` and `rows` as the API gives them.
        width: Cells of a line; no line is longer, but for the list of addresses.
    """
    columns, rows = ladder["columns"], ladder["rows"]
    if not rows:
        return []
    legend = [Line(_title(index, column)) for index, column in enumerate(columns)]
    spacing = min((width - _GUTTER) // len(columns), _WIDEST)
    if spacing < _NARROWEST:
        return [*legend, Line(""), *(_listed(row, width) for row in rows)]
    centres = [_GUTTER + spacing // 2 + spacing * index for index in range(len(columns))]
    head = _blank(centres, " ")
    for index, centre in enumerate(centres):
        number = str(index + 1)
        head[centre : centre + len(number)] = number
    drawn = [_arrow(row, centres, spacing, width) for row in rows]
    return [*legend, Line(""), Line("".join(head).rstrip()), *drawn]


def _title(index: int, column: Row) -> str:
    parts = (column["address"], column.get("role"), column.get("alias"))
    return f"{index + 1}  " + "  ".join(one_line(str(part)) for part in parts if part)


def _listed(row: Row, width: int) -> Line:
    ends = f"{row['source'] + 1} → {row['target'] + 1}"
    return Line(_cut(f"{_gutter(row)}{ends:<10}{_label(row)}", width), row["dialog"])


def _arrow(row: Row, centres: Sequence[int], spacing: int, width: int) -> Line:
    cells = _blank(centres, "│")
    cells[:_GUTTER] = _gutter(row)
    source, target = centres[row["source"]], centres[row["target"]]
    if source == target:  # A message to itself: it goes out and comes back.
        text = _cut("↺ " + _label(row), min(spacing - 2, width - source - 2))
        cells[source + 1 : source + 1 + len(text)] = text
        return Line("".join(cells).rstrip(), row["dialog"])
    left, right = sorted((source, target))
    inside = right - left - 1
    text = f" {_cut(_label(row), inside - 3)} ".center(inside - 1, "─")
    cells[left + 1 : right] = f"{text}▶" if source < target else f"◀{text}"
    return Line("".join(cells).rstrip(), row["dialog"])


def _blank(centres: Sequence[int], line: str) -> list[str]:
    cells = [" "] * (centres[-1] + 1)
    for centre in centres:
        cells[centre] = line
    # Room for what a message of the last column to itself says.
    return cells + [" "] * (centres[0] - _GUTTER)


def _gutter(row: Row) -> str:
    """Milliseconds since the first message; seconds from a thousand of them."""
    since_ms = row["since_ms"]
    text = f"{since_ms:>9.1f} ms" if since_ms < 1e6 else f"{since_ms / 1e3:>9.1f} s"
    return text.ljust(_GUTTER)


def _label(row: Row) -> str:
    label = one_line(str(row["label"]))
    label += " (SDP)" if row.get("has_sdp") else ""
    label += f" [{row['phase']}]" if row.get("phase") else ""
    return label + (f" ×{row['repeats'] + 1}" if row.get("repeats") else "")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"

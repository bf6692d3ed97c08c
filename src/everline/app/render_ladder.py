"""A ladder as a drawing (SVG) and as plain text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from markupsafe import Markup

from everline.app.visible import visible
from everline.calls.ladder import Column, Ladder, Phase, Row

GUTTER: Final = 100
"""Left of the first column: the time."""
COLUMN: Final = 158
ROW: Final = 32
HEAD: Final = 52
DIALOG_COLOURS: Final = 6
"""The style sheet has so many; further dialogs take them again."""

_LINE = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}" stroke="currentColor"/>')
_RECT = Markup('<rect class="{}" x="0" y="{}" width="100%" height="{}" fill="none"/>')
_TEXT = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}" fill="currentColor">{}</text>')


def first_rows(ladder: Ladder, limit: int) -> Ladder:
    """The beginning of a ladder, with the columns that it needs: those of later messages are to the right of them."""
    rows = ladder.rows[:limit]
    needed = 1 + max((max(row.source, row.target) for row in rows), default=-1)
    return replace(ladder, rows=rows, columns=ladder.columns[:needed])


def ladder_head_svg(ladder: Ladder) -> Markup:
    """The column heads; a drawing of their own, so that they can stay in sight."""
    parts = [_TEXT.format("time", GUTTER - 12, 20, "end", "ms")]
    parts += [_head(index, column) for index, column in enumerate(ladder.columns)]
    return _svg("ladder-head", _width(ladder), HEAD, Markup().join(parts), label="Addresses")


def ladder_svg(ladder: Ladder) -> Markup:
    """The arrows."""
    rows = ladder.rows
    height = ROW * len(rows) + 8
    lines = [
        _LINE.format("lifeline", _x(index), 0, _x(index), height) for index in range(len(ladder.columns))
    ]  # fmt: skip
    arrows = [_arrow(row, index * ROW) for index, row in enumerate(rows)]
    return _svg(
        "ladder-body",
        _width(ladder),
        height,
        Markup().join((*_shades(rows), *lines, *arrows)),
        label="Messages by time",
    )


def ladder_document(ladder: Ladder) -> Markup:
    """The whole ladder as a file of its own, without our style sheet."""
    width, height = _width(ladder), HEAD + ROW * len(ladder.rows) + 8
    start = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="12">'
    )
    body = Markup('<g transform="translate(0 {})">{}</g>').format(HEAD, ladder_svg(ladder))
    return start.format(width, height) + ladder_head_svg(ladder) + body + Markup("</svg>")


def ladder_text(ladder: Ladder) -> str:
    """The ladder for a ticket or a mail: one line a message."""
    lines = [f"{index + 1}: {_title(column)}" for index, column in enumerate(ladder.columns)]
    lines.append("")
    for row in ladder.rows:
        hop = f"{row.source + 1} → {row.target + 1}"
        lines.append(f"{row.since_ms:>12.1f} ms  {hop:<9} {row.label}{_notes(row)}")
    return "\n".join(map(visible, lines)) + "\n"


def notes(row: Row) -> list[str]:
    """What is to be said of a row beside its label."""
    said = []
    if row.repeats:
        said.append(f"{row.repeats}× retransmitted")
    if row.seen_by > 1:
        said.append(f"seen by {row.seen_by}")
    if row.branch:
        said.append(f"fork {row.branch}")
    if row.phase is not Phase.PLAIN:
        said.append(row.phase.value)
    if row.has_sdp:
        said.append("SDP")
    return said


def _notes(row: Row) -> str:
    said = notes(row)
    return f"  [{', '.join(said)}]" if said else ""


def _svg(css: str, width: int, height: int, inner: Markup, *, label: str) -> Markup:
    head = Markup('<svg class="{}" role="group" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">')
    drawn = head.format(css, label, width, height, width, height) + inner + Markup("</svg>")
    return Markup(visible(drawn))  # noqa: S704 - escaped above; signs hold no markup


def _head(index: int, column: Column) -> Markup:
    x = _x(index)
    title = Markup("<title>{}</title>").format(_title(column))
    name = _TEXT.format("address", x, 20, "middle", _cut(column.address, 26))
    below = " · ".join(part for part in (column.role.value, _cut(column.alias, 15)) if part)
    return Markup("<g>") + title + name + _TEXT.format("alias", x, 38, "middle", below) + Markup("</g>")


def _arrow(row: Row, top: int) -> Markup:
    """One row: time, arrow and label on a ground that takes clicks, all inside a link to the message."""
    middle, start, end = top + 22, _x(row.source), _x(row.target)
    left = min(start, end) + (COLUMN // 2 if row.source == row.target else abs(end - start) // 2)
    label = _TEXT.format("label", left, middle - 5, "middle", _cut(row.label, 28) + _signs(row))
    time = _TEXT.format("time", GUTTER - 12, middle + 4, "end", f"{row.since_ms:,.1f}")
    title = Markup("<title>{}</title>").format(f"{row.number}. {row.label}{_notes(row)}")
    line = _loop(start, middle) if row.source == row.target else _straight(start, end, middle)
    kind = f"row d{_colour(row)} s{row.event.status // 100}"
    link = Markup('<a class="{}" href="#m{}" data-row="{}">').format(kind, row.number, row.number)
    return link + title + _RECT.format("ground", top, ROW) + time + line + label + Markup("</a>")


def _straight(start: int, end: int, y: int) -> Markup:
    back = -8 if end > start else 8
    tip = Markup('<path class="tip" d="M{} {} l{} -4 v8 z" fill="currentColor"/>').format(end, y, back)
    return _LINE.format("arrow", start, y, end, y) + tip


def _loop(x: int, y: int) -> Markup:
    """A message that an address sent to itself."""
    path = Markup('<path class="arrow" d="M{} {} h28 v8 h-28" fill="none" stroke="currentColor"/>')
    return path.format(x, y - 4)


def _shades(rows: Sequence[Row]) -> list[Markup]:
    """What lies under the lines: the rows of a hold or a re-INVITE."""
    css = {Phase.HOLD: "hold", Phase.REINVITE: "reinvite"}
    return [_RECT.format(css[row.phase], index * ROW, ROW) for index, row in enumerate(rows) if row.phase in css]


def _signs(row: Row) -> str:
    """Short signs behind the label; the title of the row has them in words."""
    signs = (f" ×{row.repeats + 1}" if row.repeats else "") + (f" fork {row.branch}" if row.branch else "")
    return signs + (f" ({row.seen_by} taps)" if row.seen_by > 1 else "") + (" SDP" if row.has_sdp else "")


def _colour(row: Row) -> int:
    return 0 if row.dialog == 0 else (row.dialog - 1) % DIALOG_COLOURS + 1


def _title(column: Column) -> str:
    return " ".join(part for part in (column.address, column.role.value, column.alias) if part)


def _x(index: int) -> int:
    return GUTTER + COLUMN // 2 + index * COLUMN


def _width(ladder: Ladder) -> int:
    return GUTTER + COLUMN * max(len(ladder.columns), 1)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"

"""Print calls, a call and a node: with colours on a terminal, plain elsewhere."""

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from everline.cli.ladder_text import draw_ladder
from everline.cli.text import at_text, one_line, span_text

Object = dict[str, Any]  # JSON of the API

PLAIN_WIDTH: Final = 100
_COLUMNS: Final = (
    "began (UTC)",
    "caller",
    "callee",
    "state",
    "outcome",
    "status",
    "ringing after",
    "talked",
    "Call-ID",
)
_DIALOG_STYLES: Final = ("", "cyan", "green", "magenta", "yellow", "blue")
_OUTCOME_STYLES: Final = {"answered": "green", "failed": "red", "rejected": "red", "timed_out": "red"}


def calls(found: Iterable[Object]) -> None:
    """A table on a terminal; elsewhere tab-separated lines with a header, one call a line."""
    console = Console()
    if not console.is_terminal:
        print("\t".join(_COLUMNS))
        for one in found:
            print("\t".join(_cells(one)))
        return
    table = Table(*_COLUMNS, box=None, pad_edge=False, header_style="bold")
    for one in found:
        style = _OUTCOME_STYLES.get(str(one["outcome"]), "")
        table.add_row(*(Text(cell, style=style if index == 4 else "") for index, cell in enumerate(_cells(one))))
    if table.row_count:
        console.print(table)
    else:
        console.print("no call matches")


def call(found: Object, *, plain: bool) -> None:
    """The record of a call, then its ladder."""
    console = Console()
    coloured = console.is_terminal and not plain
    for name, value in _facts(found):
        if value:
            line = Text(f"{name:<14}", style="bold").append(one_line(value), style="not bold")
            console.print(line, soft_wrap=True) if coloured else print(line.plain)
    print()
    for one in draw_ladder(found["ladder"], console.width if coloured else PLAIN_WIDTH):
        if coloured:
            style = _DIALOG_STYLES[one.dialog % len(_DIALOG_STYLES)]
            console.print(Text(one.text, style=style), no_wrap=True, overflow="crop")
        else:
            print(one.text)


def status(found: Object) -> None:
    """The node and its ledger."""
    print(f"{'node':<14}{one_line(str(found['node']))}")
    print(f"{'version':<14}{one_line(str(found['version']))}")
    print(f"{'ready':<14}{'; '.join(one_line(str(one)) for one in found['not_ready']) or 'yes'}")
    for name, count in found["ledger"].items():
        print(f"{one_line(name):<14}{count}")


def _cells(found: Object) -> list[str]:
    values = (
        at_text(found["invite_at"] or found.get("first_at")),
        found["caller"], found["callee"], found["state"], found["outcome"], found["status"],
        span_text(found["pdd_s"]), span_text(found["talk_s"]), found["call_id"],
    )  # fmt: skip
    return ["" if value is None else one_line(str(value)) for value in values]


def _facts(found: Object) -> list[tuple[str, str]]:
    end = " ".join(str(found[name]) for name in ("state", "outcome", "status") if found.get(name))
    return [
        ("Call-ID", str(found["call_id"])),
        ("from", str(found["caller_uri"] or "")),
        ("to", str(found["callee_uri"] or "")),
        ("state", end),
        ("INVITE", at_text(found["invite_at"])),
        ("ringing", at_text(found["ringing_at"])),
        ("answered", at_text(found["answered_at"])),
        ("ended", at_text(found["ended_at"])),
        ("ringing after", span_text(found["pdd_s"])),
        ("talked", span_text(found["talk_s"])),
        ("released by", str(found["released_by"] or "")),
        ("codecs", " ".join(found.get("codecs") or ())),
        ("messages", str(found["messages"])),
    ]

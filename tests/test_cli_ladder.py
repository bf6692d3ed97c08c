"""The ladder in a terminal: arrows between columns, never wider than asked, never in control of the terminal."""

from typing import Any

import pytest

from everline.cli.ladder_text import draw_ladder
from everline.cli.text import one_line


def row(source: int, target: int, label: str, since_ms: float, **more: object) -> dict[str, Any]:
    """A row as the API gives it."""
    usual = {"dialog": 0, "repeats": 0, "phase": "", "has_sdp": False}
    return {"source": source, "target": target, "label": label, "since_ms": since_ms, **usual, **more}


def ladder(columns: int, *rows: dict[str, Any]) -> dict[str, Any]:
    """A ladder between so many addresses."""
    addresses = [{"address": f"192.0.2.{one}:5060", "role": "", "alias": ""} for one in range(1, columns + 1)]
    return {"columns": addresses, "rows": list(rows), "reports": 0}


CALL = (
    row(0, 1, "INVITE", 0.0, has_sdp=True),
    row(1, 2, "INVITE", 1.25),
    row(2, 1, "180 Ringing", 300.0, dialog=1, repeats=1),
    row(1, 0, "200 OK", 2000.5, dialog=1, phase="re-INVITE"),
    row(1, 1, "OPTIONS", 90000.0),
    row(2, 2, "OPTIONS", 90001.0),
)


def test_arrows_point_from_sender_to_receiver() -> None:
    """Time in the gutter, one column an address, the label on the arrow."""
    drawn = [line.text for line in draw_ladder(ladder(3, *CALL), 80)]

    assert drawn == [
        "1  192.0.2.1:5060",
        "2  192.0.2.2:5060",
        "3  192.0.2.3:5060",
        "",
        "                        1                     2                     3",
        "      0.0 ms            │─── INVITE (SDP) ───▶│                     │",
        "      1.2 ms            │                     │────── INVITE ──────▶│",
        "    300.0 ms            │                     │◀── 180 Ringing ×2 ──│",
        "   2000.5 ms            │◀ 200 OK [re-INVITE] │                     │",
        "  90000.0 ms            │                     │↺ OPTIONS            │",
        "  90001.0 ms            │                     │                     │↺ OPTIONS",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("columns", [3, 5, 9])
def test_no_line_is_wider_than_the_terminal(width: int, columns: int) -> None:
    """Where columns do not fit, a list of messages stands in their place."""
    long = row(0, columns - 1, "407 Proxy Authentication Required" * 3, 1.0)
    drawn = [line.text for line in draw_ladder(ladder(columns, *CALL, long), width)]

    assert max(map(len, drawn[columns:])) <= width
    assert sum("INVITE" in line for line in drawn) >= 2 or width == 20


def test_a_narrow_terminal_gets_a_list() -> None:
    """Sender and receiver by number."""
    drawn = [line.text for line in draw_ladder(ladder(3, *CALL), 50)]

    assert drawn[4] == "      0.0 ms 1 → 2     INVITE (SDP)"


def test_lines_know_their_dialog() -> None:
    """For whoever has colours."""
    assert [line.dialog for line in draw_ladder(ladder(3, *CALL), 80)][-6:] == [0, 0, 1, 1, 0, 0]


def test_no_message_no_ladder() -> None:
    """Nothing to draw."""
    assert draw_ladder(ladder(0), 80) == []


def test_what_came_from_the_network_cannot_control_the_terminal() -> None:
    """Escape sequences and line breaks are shown, not obeyed."""
    hostile = ladder(2, row(0, 1, "\x1b[2J\nX", 0.0))
    hostile["columns"][0]["alias"] = "\x1b]0;title\x07"

    drawn = "".join(line.text for line in draw_ladder(hostile, 80))

    assert drawn.isprintable()
    assert one_line("a\x1b\r\n\u202eb") == "a\\x1b\\r\\n\\u202eb"

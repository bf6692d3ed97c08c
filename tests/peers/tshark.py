"""What Wireshark makes of a capture."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HEP3_DISSECTOR: Final = Path(__file__).with_name("hep3.lua")
_SIP_FIELDS: Final = ("sip.Call-ID", "sip.CSeq", "sip.Request-Line", "sip.Status-Line")


def rows(capture: Path, fields: Sequence[str], *, only: str, options: Sequence[str] = ()) -> list[dict[str, str]]:
    """The fields of each packet that a display filter lets through."""
    wanted = [part for field in fields for part in ("-e", field)]
    printed = _tshark(capture, *options, "-Y", only, "-T", "fields", "-E", "separator=/t", *wanted)
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in printed.splitlines()]


def sip_rows(capture: Path) -> list[dict[str, str]]:
    """The SIP messages."""
    return rows(capture, _SIP_FIELDS, only="sip")


def expert_notes(capture: Path, *, options: Sequence[str] = ()) -> list[str]:
    """Whatever Wireshark finds malformed, or worth a warning or an error."""
    bad = '_ws.malformed || _ws.expert.severity == "Error" || _ws.expert.severity == "Warning"'
    return _tshark(capture, *options, "-Y", bad).splitlines()


def with_hep3() -> list[str]:
    """Options that teach tshark HEP3 on port 9060."""
    return ["-X", f"lua_script:{HEP3_DISSECTOR}"]


def _tshark(capture: Path, *arguments: str) -> str:
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

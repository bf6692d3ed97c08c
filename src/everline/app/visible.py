"""Text of strangers where it can be seen: what has no shape, or turns others around, shows as a sign for it. Pure."""

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
"""
Control characters but tab, line feed and carriage return; those that have no width, and those that turn the direction
of what follows: a caller could look like another one by them. Half a pair of UTF-16 can't be sent at all.
"""


def visible(text: str) -> str:
    """The same text with a sign for each character that can't be seen: `␀` to `␡`, or its number, `[U+202E]`."""
    return _UNSEEN.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x20:
        return chr(0x2400 + number)
    return "␡" if number == 0x7F else f"[U+{number:04X}]"

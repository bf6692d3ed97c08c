"""Values as SQL text: the only place where one becomes the other."""

from collections.abc import Iterable

_ESCAPES = {
    **{byte: f"\\x{byte:02X}" for byte in (*range(0x20), 0x7F)},
    ord("\\"): "\\\\",
    ord("'"): "\\'",
}


def text(value: str) -> str:
    """
    A text as an SQL literal that cannot end early, whatever it holds.

    A lone surrogate, which UTF-8 cannot hold, becomes its escape, as it does in the texts of an event.
    """
    clean = value.encode(errors="backslashreplace").decode()
    return "'" + clean.translate(_ESCAPES) + "'"


def pattern(value: str) -> str:
    """A text in which a LIKE pattern finds only itself."""
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def number(value: int) -> str:
    """An unsigned number; what lies outside of 64 bits becomes the nearest that does not."""
    return str(min(max(int(value), 0), 2**64 - 1))


def texts(values: Iterable[str]) -> str:
    """A non-empty list of texts for IN."""
    return "(" + ", ".join(map(text, values)) + ")"

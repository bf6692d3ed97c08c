"""The answer to a question, whichever engine gave it: columns of plain Python values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

AS_BYTES = frozenset({"payload"})
"""Columns of texts that need not be UTF-8."""


class Answer:
    """
    Columns by name, all of one length.

    Values are int, float, str (bytes in the columns of `AS_BYTES`), None, tuples and lists of those.
    """

    __slots__ = ("_columns", "partial")

    def __init__(self, columns: Mapping[str, Sequence[Any]], *, partial: bool = False) -> None:  # see the class
        self._columns = columns
        self.partial = partial
        """Whether a part of the store could not be asked, so that something may be missing."""

    def column(self, name: str) -> Sequence[Any]:  # see the class
        """One column."""
        return self._columns[name]

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:  # see the class
        """Row by row, the columns that are named; all of them if none is."""
        chosen = [self._columns[name] for name in names or self._columns]
        return zip(*chosen, strict=True)

    def named(self) -> Iterator[dict[str, Any]]:  # see the class
        """Row by row, each value by the name of its column."""
        return (dict(zip(self._columns, row, strict=True)) for row in self.rows())

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))


def plain(value: Any) -> Any:  # what an engine gives for one value
    """A value with its texts as str, its structs as tuples; what is not UTF-8 has escapes."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, dict):
        return tuple(map(plain, value.values()))
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value

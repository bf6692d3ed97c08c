"""Which part of the failover log: filters in the address, and the same part as files."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from everline.app.call_json import csv_cell
from everline.app.problems import ProblemError
from everline.cluster.entry import Entry, Episode, Kind, is_within

MAX_ENTRIES: Final = 2_000
_FILTERS: Final = ("kind", "node", "q")
Spans = Sequence[tuple[int, int]]
"""When drills were held."""
_COLUMNS: Final = (
    "at_us", "kind", "node", "region", "reason", "token", "detected_us", "acted_us", "by", "drill", "details",
)  # fmt: skip


class FailoverQuery(BaseModel):
    """How far back, and which entries and episodes; an empty value is no filter."""

    model_config = ConfigDict(extra="forbid")

    hours: Annotated[float, Field(ge=0.01, le=24 * 366, description="How far back.", allow_inf_nan=False)] = 24
    limit: Annotated[int, Field(ge=1, le=MAX_ENTRIES, description="Most entries read, the latest.")] = 500
    kind: Annotated[str, Field(max_length=40, description="Kind of entry, such as node_dead.")] = ""
    node: Annotated[str, Field(max_length=200, description="Name of the node, region or drill it is about.")] = ""
    q: Annotated[str, Field(max_length=200, description="Text in any field, case aside.")] = ""

    def check(self) -> None:
        """
        Look at what the schema can't.

        Raises:
            ProblemError: There is no such kind.
        """
        if self.kind and self.kind not in list(Kind):
            step = f"Give one of {', '.join(Kind)}."
            raise ProblemError(400, f"kind={self.kind!r} is unknown", next_step=step)

    def entries(self, log: Iterable[Entry]) -> list[Entry]:
        """The entries that match."""
        return [one for one in log if self._matches(one.kind, one.node, " ".join(map(str, one.as_json().values())))]

    def episodes(self, found: Iterable[Episode]) -> list[Episode]:
        """The episodes that match."""
        return [one for one in found if self._matches(one.kind, one.node, _text_of(one))]

    def _matches(self, kind: Kind, node: str, text: str) -> bool:
        return (
            (not self.kind or kind == self.kind)
            and (not self.node.strip() or node == self.node.strip())
            and self.q.strip().lower() in text.lower()
        )

    @property
    def address(self) -> str:
        """Query string with what is chosen."""
        return urlencode({"hours": f"{self.hours:g}", "limit": self.limit} | self._chosen())

    def with_hours(self, hours: int) -> str:
        """Query string of another time with the same filters."""
        return urlencode({"hours": hours} | self._chosen())

    def chips(self) -> list[tuple[str, str, str]]:
        """Name and value of each filter that is set, and the query string without it."""
        chosen = self._chosen()
        kept = {"hours": f"{self.hours:g}"}
        return [
            (name, value, urlencode(kept | {k: v for k, v in chosen.items() if k != name}))
            for name, value in chosen.items()
        ]

    def _chosen(self) -> dict[str, str]:
        return {name: getattr(self, name).strip() for name in _FILTERS if getattr(self, name).strip()}


def _text_of(one: Episode) -> str:
    return " ".join([one.kind, one.node, one.region, one.reason, one.by, str(one.token), json.dumps(dict(one.details))])


def entries_json(entries: Sequence[Entry], drills: Spans) -> list[dict[str, str | int | bool]]:
    """Entries field by field, each with whether a drill was held then."""
    return [{**one.as_json(), "drill": is_within(drills, one.at_us)} for one in entries]


def entries_csv(entries: Sequence[Entry], drills: Spans) -> str:
    """The same as CSV (RFC 4180), a header line first; no cell is run as a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in entries_json(entries, drills):
        writer.writerow([csv_cell(row[name]) for name in _COLUMNS])
    return out.getvalue()


def entries_jsonl(entries: Sequence[Entry], drills: Spans) -> str:
    """The same as JSON, one object a line."""
    return "".join(json.dumps(row) + "\n" for row in entries_json(entries, drills))

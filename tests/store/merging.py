"""What SQL makes of facts, beside what Python makes of them."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

from everline.calls.facts import NAMES, Facts, index_of
from everline.calls.record import CallRecord
from everline.store import derived
from everline.store.answer import Answer
from everline.store.literals import texts
from everline.store.rows import facts_of_rows
from everline.store.schema import COUNTED, DATABASE

COLUMNS = ("start_us", "answered_us", "ended_us", "status", "caller", "callee", "caller_agent", "callee_agent",
           "outcome", "state", "has_talk", "talk_us", "has_pdd", "pdd_us", "has_srd", "srd_us")  # fmt: skip


async def facts_and_columns(
    ask: Callable[[str], Awaitable[Answer]], call_ids: Iterable[str]
) -> dict[str, tuple[Facts, dict[str, Any]]]:
    """Facts and derived columns by Call-ID."""
    source = f"{DATABASE}.calls WHERE call_id IN {texts(call_ids)}"
    facts = derived.with_columns(derived.merged_facts(NAMES, source), used_in=", ".join(COLUMNS))
    columns_sql = ", ".join([*NAMES, *(f"{name} AS d_{name}" for name in COLUMNS)])
    rows = await ask(f"SELECT call_id, {columns_sql} FROM ({facts})")
    columns = rows.rows(*(f"d_{name}" for name in COLUMNS))
    return {
        call_id: (facts, dict(zip(COLUMNS, row, strict=True)))
        for (call_id, facts), row in zip(facts_of_rows(rows), columns, strict=True)
    }


def as_stored(facts: Facts) -> Facts:
    """Python's facts as a store gives them: of some unions the size, and no attempt for CSeq 0."""
    sizes = {index_of(name) for name in COUNTED}
    values = [len(value or ()) if index in sizes else value for index, value in enumerate(facts)]
    values[index_of("attempt")] = values[index_of("attempt")] or None
    return tuple(values)


def as_columns(record: CallRecord) -> dict[str, Any]:
    """What the derived columns must say for a record."""
    names = ("start_us", "answered_us", "ended_us", "status", "caller", "callee", "caller_agent", "callee_agent")
    found = {name: value for name, value in asdict(record).items() if name in names}
    found = {name: (0 if value is None else value) for name, value in found.items()}
    found |= {"outcome": record.outcome or "", "state": record.state}
    for name, seconds in (("talk", record.talk_s), ("pdd", record.pdd_s), ("srd", record.srd_s)):
        found |= {f"has_{name}": int(seconds is not None), f"{name}_us": round((seconds or 0) * 1e6)}
    return found

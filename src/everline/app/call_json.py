"""Calls, messages and ladders as JSON objects and CSV rows: the shapes that clients rely on."""

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from everline.app.services import PacketLedger
from everline.bus.transition import Transition
from everline.calls.event import Event
from everline.calls.ladder import Ladder, Row, address_text
from everline.calls.record import CallRecord

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | None"

CALL_KEYS: Final = (
    "call_id", "state", "outcome", "status", "caller", "callee", "caller_uri", "callee_uri",
    "invite_at", "ringing_at", "answered_at", "ended_at", "talk_s", "pdd_s", "srd_s", "released_by", "messages",
    "first_at", "last_at", "cause", "src", "dst", "caller_agent", "callee_agent", "codecs", "agents",
)  # fmt: skip

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def call_json(record: CallRecord) -> dict[str, Json]:
    """A call; times are UTC epoch seconds, null while unknown."""
    return {
        "call_id": record.call_id,
        "state": record.state.value,
        "outcome": record.outcome.value if record.outcome else None,
        "status": record.status,
        "caller": record.caller,
        "callee": record.callee,
        "caller_uri": record.caller_uri,
        "callee_uri": record.callee_uri,
        "invite_at": seconds(record.invite_us),
        "ringing_at": seconds(record.ringing_us),
        "answered_at": seconds(record.answered_us),
        "ended_at": seconds(record.ended_us),
        "talk_s": record.talk_s,
        "pdd_s": record.pdd_s,
        "srd_s": record.srd_s,
        "released_by": record.released_by,
        "messages": record.messages,
        "first_at": seconds(record.first_us),
        "last_at": seconds(record.last_us),
        "cause": record.cause,
        "src": address_text((record.src_ip, record.src_port)),
        "dst": address_text((record.dst_ip, record.dst_port)),
        "caller_agent": record.caller_agent,
        "callee_agent": record.callee_agent,
        "codecs": list(record.codecs),
        "agents": list(record.agents),
    }


def not_a_call_json(call_id: str, events: Sequence[Event]) -> dict[str, Json]:
    """What is known of a Call-ID without an INVITE (REGISTER, OPTIONS …): the keys of a call, `state` null."""
    known: dict[str, Json] = {
        "call_id": call_id,
        "messages": len(events),
        "first_at": seconds(events[0].captured_us),
        "last_at": seconds(events[-1].captured_us),
        "src": address_text((events[0].src_ip, events[0].src_port)),
        "dst": address_text((events[0].dst_ip, events[0].dst_port)),
        "cause": 0,
        "codecs": [],
        "agents": [*sorted({one.agent for one in events if one.agent})],
    }
    return {key: known.get(key) for key in CALL_KEYS}


def message_json(event: Event) -> dict[str, Json]:
    """A message with all its fields; the payload as text, and as it was in base64."""
    fields: dict[str, Json] = {name: getattr(event, name) for name in Event._fields if name != "payload"}
    fields["event_key"] = str(event.event_key)  # 64 bits do not fit a JavaScript number.
    fields["captured_at"] = seconds(event.captured_us)
    fields["payload"] = event.payload.decode("utf-8", "replace")
    fields["payload_base64"] = base64.b64encode(event.payload).decode()
    return fields


def ladder_json(ladder: Ladder) -> dict[str, Json]:
    """Columns and rows; a row names its columns by index."""
    return {
        "columns": [{"address": one.address, "role": one.role.value, "alias": one.alias} for one in ladder.columns],
        "rows": [_row_json(row) for row in ladder.rows],
        "reports": ladder.reports,
    }


def transition_json(transition: Transition) -> dict[str, Json]:
    """One live event."""
    return {**transition.message(), "call": call_json(transition.record)}


def ledger_json(ledger: PacketLedger) -> dict[str, Json]:
    """What became of the messages received."""
    return {
        "received": ledger.received,
        "stored": ledger.stored,
        "rejected": ledger.rejected,
        "dropped": ledger.dropped,
        "pending": ledger.pending,
        "kernel_drops": ledger.kernel_drops,
        "lost": ledger.lost,
        "missing": ledger.missing,
    }


def csv_rows(records: Iterable[CallRecord], *, header: bool = False) -> str:
    """Calls as CSV (RFC 4180), with the keys of `call_json` as columns."""
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(CALL_KEYS)
    for record in records:
        writer.writerow([csv_cell(value) for value in call_json(record).values()])
    return out.getvalue()


def seconds(us: int | None) -> float | None:
    """Epoch microseconds as seconds."""
    return None if us is None else us / 1e6


def csv_cell(value: Json) -> str:
    """
    A CSV cell that no spreadsheet runs as a formula.

    A text that begins like one (also by signs of full width, which some take for the same) gets an apostrophe, but a
    plain +number stays: it is what these files are about.
    """
    text = "" if value is None else (" ".join(map(str, value)) if isinstance(value, list) else str(value))
    is_number = isinstance(value, int | float) or (text[:1] == "+" and text[1:].isdigit())
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


def _row_json(row: Row) -> dict[str, Json]:
    return {
        "number": row.number,
        "source": row.source,
        "target": row.target,
        "label": row.label,
        "method": row.event.method,
        "status": row.event.status or None,
        "at": row.at_us / 1e6,
        "since_ms": row.since_ms,
        "dialog": row.dialog,
        "repeats": row.repeats,
        "seen_by": row.seen_by,
        "branch": row.branch,
        "phase": row.phase.value,
        "has_sdp": row.has_sdp,
        "transport": row.transport,
        "event_key": str(row.event.event_key),
    }

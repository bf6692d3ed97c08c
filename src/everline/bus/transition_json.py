"""A transition as it is kept in a stream and published: one JSON text, read by this or another version of Everline."""

import json
from dataclasses import fields
from typing import Any, Final

from everline.bus.transition import Transition
from everline.calls.record import CallRecord, Outcome, State

_NAMES: Final = tuple(one.name for one in fields(CallRecord))
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_SEQUENCES: Final = frozenset({"codecs", "agents"})


def encode_transition(transition: Transition) -> str:
    """The message, and the call's record as `call`."""
    message = transition.message()
    message["call"] = {name: getattr(transition.record, name) for name in _NAMES}
    return _ENCODE(message)


def decode_transition(stream_id: str, text: bytes | str) -> Transition:
    """
    The transition again.

    Raises:
        ValueError: The text is none; a field of its record is missing.
    """
    said: dict[str, Any] = json.loads(text)
    try:
        record = _record(said["call"])
        return Transition(stream_id, said["event_type"], said["event_id"], said["timestamp"], record)
    except (KeyError, TypeError) as fault:
        raise ValueError(f"transition {stream_id} is of another version of Everline: {fault!r} is missing") from fault


def _record(said: dict[str, Any]) -> CallRecord:
    values = {name: said[name] for name in _NAMES}
    values |= {name: tuple(values[name]) for name in _SEQUENCES}
    values["state"] = State(values["state"])
    values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
    return CallRecord(**values)

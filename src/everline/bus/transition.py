"""What live state tells its listeners: one transition of one call."""

from dataclasses import dataclass
from typing import Any

from everline.calls.record import CallRecord

CREATE = "call_create"
RINGING = "caller_ringing"
ANSWER = "call_answer"
HANGUP = "call_hangup"


@dataclass(frozen=True, slots=True)
class Transition:
    """
    A call came one step further.

    Attributes:
        stream_id: Position in this bus's stream; see `Position`.
        event_type: One of the names above.
        event_id: The same for the same step of the same call, wherever it is published.
        timestamp: When the step happened, by capture time, UTC epoch seconds.
        record: The call as it was known then.
    """

    stream_id: str
    event_type: str
    event_id: str
    timestamp: float
    record: CallRecord

    @property
    def call_id(self) -> str:
        """Call-ID of the call."""
        return self.record.call_id

    @property
    def caller_uri(self) -> str:
        """Who calls."""
        return self.record.caller_uri

    @property
    def callee_uri(self) -> str:
        """Who is called."""
        return self.record.callee_uri

    def message(self) -> dict[str, Any]:
        """The transition as it goes over the wire (JSON)."""
        return {
            "event_type": self.event_type,
            "event_id": self.event_id,
            "call_id": self.call_id,
            "caller_uri": self.caller_uri,
            "callee_uri": self.callee_uri,
            "timestamp": self.timestamp,
        }

"""What every node says several times a second: that it is there, who it is, how it does. JSON, at most 8 kB."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from everline.errors import EverlineError

CHANNEL: Final = "everline:heartbeat"
MAX_BYTES: Final = 8_192
_MAX_TEXT: Final = 128
_MAX_NUMBER: Final = 1 << 63


class Activity(StrEnum):
    """What a node is doing."""

    UP = "up"
    DRAINED = "drained"
    """By the operator: it does its work, takes nothing new."""
    STOPPING = "stopping"


class StoreHealth(StrEnum):
    """How the store answers a node. NONE: its role has nothing to do with it."""

    OK = "ok"
    PARTIAL = "partial"
    SPOOLING = "spooling"
    DOWN = "down"
    NONE = "none"


class BeatError(EverlineError):
    """What came over the channel is no heartbeat; `reason` is one of a closed set, for a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no heartbeat ({reason}): see who else publishes to {CHANNEL} in this Redis")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Health:
    """
    How a node does.

    Args:
        spool_bytes: What waits in its spool, the oldest of it for `spool_age_s`.
        leader_token: Its token, while it leads.
        received: Datagrams it has received since its start, of which `stored` are stored.
        shares: Of a balancer, the part of all datagrams that each ingest node gets from it.
    """

    store: StoreHealth = StoreHealth.NONE
    bus_ok: bool = True
    spool_bytes: int = 0
    spool_age_s: float = 0.0
    leader_token: int = 0
    received: int = 0
    stored: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """
    One of them.

    Args:
        boot: Made anew at each start of the process.
        sequence: Counts the beats of this boot.
        sent_us: By the clock of the sender, epoch microseconds.
    """

    node: str
    role: str
    region: str
    rack: str
    host: str
    boot: str
    sequence: int
    sent_us: int
    activity: Activity
    version: str
    health: Health = Health()

    def encode(self) -> bytes:
        """As it goes over the channel."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def parse_beat(data: bytes) -> Heartbeat:
    """
    What a node said. Fields that are not known here are passed over: a later version may say more.

    Raises:
        BeatError: It is none: too large, no JSON, a field missing or of a wrong kind.
    """
    if len(data) > MAX_BYTES:
        raise BeatError("too_large")
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        raise BeatError("no_json") from None
    try:
        health = read["health"]
        return Heartbeat(
            **{name: _text(read[name]) for name in ("node", "role", "region", "rack", "host", "boot", "version")},
            sequence=_number(read["sequence"]),
            sent_us=_number(read["sent_us"]),
            activity=Activity(read["activity"]),
            health=Health(
                store=StoreHealth(health["store"]),
                bus_ok=_flag(health["bus_ok"]),
                spool_age_s=_seconds(health["spool_age_s"]),
                shares={_text(name): _seconds(share) for name, share in health.get("shares", {}).items()},
                **{name: _number(health[name]) for name in ("spool_bytes", "leader_token", "received", "stored")},
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BeatError("bad_field") from None


def _text(value: Any) -> str:  # JSON of a stranger
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable():
        return value
    raise ValueError


def _number(value: Any) -> int:  # JSON of a stranger
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER:
        return value
    raise ValueError


def _seconds(value: Any) -> float:  # JSON of a stranger
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER:
        return float(value)
    raise ValueError


def _flag(value: Any) -> bool:  # JSON of a stranger
    if isinstance(value, bool):
        return value
    raise ValueError

"""What the answers of Redis, Sentinel, ClickHouse, Keeper and HTTP servers mean."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

from everline.bus.settings import Address
from everline.store.cluster_schema import KEEPER_PATH, REPLICATED

MOST_LAG_S: Final = 3
"""A replica acknowledges once a second; one that is hung is dropped from the list only after `repl-timeout`."""
MOST_DELAY_S: Final = 2
"""How far a replicated table may be behind its partners."""
REPLICA_COLUMNS: Final = ("table", "is_readonly", "is_session_expired", "queue_size", "absolute_delay",
                          "zookeeper_path")  # fmt: skip
"""Of system.replicas, what a server knows by itself."""
PARTNER_COLUMNS: Final = ("table", "active_replicas", "total_replicas")
"""Of system.replicas, what a server asks Keeper for: without Keeper there is an error, or no answer for long."""
_NEVER_S: Final = 1_000_000_000
"""ClickHouse calls a replica that has not read its queue since its start behind by all the time since 1970."""
Figures = Mapping[str, int]
"""Name, with its unit, and number."""
_SLAVE: Final = re.compile(r"slave\d+")


def nearest_skew(earliest_s: float, latest_s: float, *, asked_at: float, answered_at: float) -> float:
    """
    The smallest difference to our clock that an answer allows, 0 if the clocks may agree.

    The other's time was between `earliest_s` and `latest_s` when it answered, which was between `asked_at` and
    `answered_at` on our clock.
    """
    least, most = earliest_s - answered_at, latest_s - asked_at
    return min(max(least, 0.0), most) if most < 0 or least > 0 else 0.0


def redis_role(role: Any, told: Mapping[str, str], *, others: int) -> tuple[str, list[str], Figures]:
    """What ROLE and INFO replication say, what is wrong with it, and by how much replicas are behind."""
    if text(role[0]) == "master":
        return _primary(int(role[1]), role[2], told, others=others)
    source, state = Address(text(role[1]), int(role[2])), text(role[3])
    faults = [] if state == "connected" else [f"its link to the primary {source} is in state {state}"]
    heard = int(told.get("master_last_io_seconds_ago", -1))
    return f"replica of {source}", faults, {"heard_primary_s": heard} if heard >= 0 else {}


def _primary(offset: int, replicas: Any, told: Mapping[str, str], *, others: int) -> tuple[str, list[str], Figures]:
    have = len(replicas)
    faults = [f"{have} of {others} replicas follow it"] if have < others else []
    lags = dict(lag for name, value in told.items() if _SLAVE.fullmatch(name) for lag in _lag(value))
    faults += [f"replica {at} was last heard {lag} s ago" for at, lag in lags.items() if lag > MOST_LAG_S]
    behind = [max(0, offset - int(acknowledged)) for _, _, acknowledged in replicas]
    figures = {"replicas": have, "behind_bytes": max(behind, default=0), "lag_s": max(lags.values(), default=0)}
    return f"primary, {have} replicas", faults, figures


def _lag(value: str) -> Iterator[tuple[Address, int]]:
    """Of `ip=10.0.0.2,port=6379,state=online,offset=14,lag=0`; nothing until the replica has said something."""
    found = dict(pair.partition("=")[::2] for pair in value.split(","))
    if int(found.get("lag", -1)) >= 0:
        yield Address(found["ip"], int(found["port"])), int(found["lag"])


def replicated_tables(
    rows: Iterable[tuple[Any, ...]], partners: Mapping[str, tuple[int, int]] | None, *, cluster: str
) -> tuple[tuple[str, ...], int, Figures]:
    """
    What is wrong with the tables of a server, how many it has of `REPLICATED`, and how far they are behind.

    Args:
        rows: `REPLICA_COLUMNS` of each table.
        partners: The other `PARTNER_COLUMNS` by table; None if Keeper did not tell the server.
        cluster: In whose part of Keeper the tables belong.
    """
    told: dict[str, list[str]] = {}
    names: set[str] = set()
    queued, behind = 0, [0]
    for table, readonly, expired, queue, delay, path in rows:
        names.add(table)
        queued += queue
        behind += [delay] if delay < _NEVER_S else []
        active, total = (partners or {}).get(table, (0, 0))
        for fault, is_so in (
            (f"of another cluster ({path}): give this one other servers, or cluster: its name",
             not str(path).startswith(f"{KEEPER_PATH}/{cluster}/")),
            ("read-only, the server has no session at Keeper", readonly or expired),
            (f"{active} of {total} replicas take part", active < total),
            ("has not read yet what its partners have", delay >= _NEVER_S),
            (f"{delay} s behind, {queue} parts to fetch or merge", MOST_DELAY_S < delay < _NEVER_S),
        ):  # fmt: skip
            if is_so:
                told.setdefault(fault, []).append(table)
    faults = [f"{_tables(tables)}: {fault}" for fault, tables in told.items()]
    if partners is None:
        faults.insert(0, "Keeper gives it no answer, it can only be read: is its host cut off?")
    return tuple(faults), len(names & REPLICATED), {"queue_parts": queued, "behind_s": max(behind)}


def _tables(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f"{names[0]} and {more} other table{'s' if more > 1 else ''}" if more else names[0]


def keeper_figures(answer: str) -> Figures:
    """Of `srvr`: how many clients are connected, how many requests wait, and the last transaction it knows."""
    found = {}
    for name, pattern in (("connections", r"^Connections: (\d+)"), ("outstanding", r"^Outstanding: (\d+)"),
                          ("zxid", r"^Zxid: (0x[0-9a-f]+)")):  # fmt: skip
        if match := re.search(pattern, answer, re.MULTILINE):
            found[name] = int(match.group(1), 0)
    return found


def http_skew(head: str, asked_at: float, answered_at: float) -> float | None:
    """How far a server's clock is off by the Date of its answer; None if it has none."""
    found = re.search(r"^date: (.+)$", head, re.MULTILINE | re.IGNORECASE)
    if not found:
        return None
    try:
        at = parsedate_to_datetime(found.group(1).strip()).timestamp()
    except ValueError:
        return None
    # Servers tell the date of up to a second ago (they format it once a second), cut to whole seconds.
    return nearest_skew(at, at + 2, asked_at=asked_at, answered_at=answered_at)


def info(said: Any) -> dict[str, str]:
    """INFO, whichever shape the driver gives it."""
    if isinstance(said, dict):
        return {str(name): _flat(value) for name, value in said.items()}
    lines = (line.partition(":") for line in text(said).splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def _flat(value: Any) -> str:
    return ",".join(f"{one}={other}" for one, other in value.items()) if isinstance(value, dict) else str(value)


def pairs(said: Any) -> dict[str, str]:
    """Names and values of Sentinel, whichever shape the driver gives them."""
    if not isinstance(said, dict):
        said = dict(zip(said[::2], said[1::2], strict=True))
    return {text(name): text(value) for name, value in said.items()}


def text(value: Any) -> str:
    """A word off the wire."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""
What an auditor asks one server about its own copy, as SQL text. Pure: nothing here asks.

All of it concerns the `_local` tables. Rows that arrived a moment ago may still be on their way between replicas,
so every question about messages leaves out what was received after `settled_us`.
"""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

from collections.abc import Iterable
from dataclasses import dataclass

from everline.calls.event import TIMEOUT_METHOD, Event
from everline.calls.facts import FACTS, index_of
from everline.store.literals import number, texts
from everline.store.schema import DATABASE, HOUR_OF, HOUR_US, IS_CALL_EVENT, Kind, calls_select, lookup_select, merged

_MESSAGES = f"{DATABASE}.messages_local"
_CALLS = f"{DATABASE}.calls_local"
_LOOKUP = f"{DATABASE}.lookup_local"
_HOURS_A_DAY = 24
LATE_S = 3
"""A fetch that has waited for longer is behind; a younger one is of what is just being stored."""


@dataclass(frozen=True, slots=True)
class Slice:
    """
    Messages of some hours, as far as they have settled.

    Attributes:
        low: First hour since the epoch.
        high: Last hour, included.
        settled_us: Messages received from then on are left out.
    """

    low: int
    high: int
    settled_us: int

    def where(self) -> str:
        """The condition on `messages_local`; the day lets the engine leave out whole partitions."""
        first, last = self.low // _HOURS_A_DAY, self.high // _HOURS_A_DAY
        return (
            f"day >= toDate(toUInt16({first})) AND day <= toDate(toUInt16({last})) "
            f"AND captured_us >= {number(self.low * HOUR_US)} AND captured_us < {number((self.high + 1) * HOUR_US)} "
            f"AND received_us < {number(self.settled_us)}"
        )


def days() -> str:
    """On which days there are messages: `partition`, such as 20261123."""
    return (
        "SELECT DISTINCT partition FROM system.parts "
        f"WHERE active AND database = '{DATABASE}' AND table = 'messages_local' ORDER BY partition DESC"
    )


def hours_of(day: int) -> str:
    """In which hours of a day (since the epoch) there are messages: `hour`, since the epoch too."""
    return f"SELECT DISTINCT {HOUR_OF} AS hour FROM {_MESSAGES} WHERE day = toDate(toUInt16({day})) ORDER BY hour"


def message_digests(part: Slice) -> str:
    """What a server holds of each hour, whatever is there twice: `hour`, `events`, `digest`."""
    return (
        f"SELECT hour, count() AS events, groupBitXor(mix) AS digest FROM ("
        # FINAL merges as it reads, by the key of a message: what is there twice counts once, and memory stays small.
        f"SELECT {HOUR_OF} AS hour, cityHash64(call_id, captured_us, event_key) AS mix "
        f"FROM {_MESSAGES} FINAL WHERE {part.where()}"
        f") GROUP BY hour ORDER BY hour"
    )


def bucket_digests(part: Slice, buckets: int) -> str:
    """The same, split by Call-ID into buckets: `bucket`, `events`, `digest`."""
    return (
        f"SELECT bucket, count() AS events, groupBitXor(mix) AS digest FROM ("
        f"SELECT cityHash64(call_id) % {buckets} AS bucket, cityHash64(call_id, captured_us, event_key) AS mix "
        f"FROM {_MESSAGES} FINAL WHERE {part.where()}"
        f") GROUP BY bucket ORDER BY bucket"
    )


def keys(part: Slice, buckets: int, bucket: int) -> str:
    """Which messages are in one bucket: `call_id`, `captured_us`, `event_key`."""
    return (
        f"SELECT DISTINCT call_id, captured_us, event_key FROM {_MESSAGES} "
        f"WHERE {part.where()} AND cityHash64(call_id) % {buckets} = {bucket}"
    )


def messages_of(part: Slice, call_ids: Iterable[str]) -> str:
    """The messages of some calls, each once, as columns of `Event`."""
    return (
        f"SELECT {', '.join(Event._fields)} FROM {_MESSAGES} WHERE {part.where()} AND call_id IN {texts(call_ids)} "
        f"LIMIT 1 BY call_id, captured_us, event_key"
    )


def calls_behind(part: Slice) -> str:
    """Of which hours `calls_local` knows less than `messages_local`, on this server: `hour`, `calls`, `events`."""
    keys_of_fact = merged(FACTS[index_of("event_keys")])
    return (
        f"SELECT hour, count() AS calls, sum(n - m) AS events FROM ("
        f"SELECT {HOUR_OF} AS hour, call_id, uniqExact(event_key) AS n FROM {_MESSAGES} "
        f"WHERE {part.where()} AND {IS_CALL_EVENT} AND method != '{TIMEOUT_METHOD}' GROUP BY hour, call_id"
        f") ANY LEFT JOIN ("
        f"SELECT hour, call_id, {keys_of_fact} AS m FROM {_CALLS} "
        f"WHERE hour >= {part.low} AND hour <= {part.high} GROUP BY hour, call_id"
        f") USING hour, call_id WHERE m < n GROUP BY hour ORDER BY hour"
    )


def lookup_behind(part: Slice) -> str:
    """Of which hours `lookup_local` misses calls, on this server: `hour`, `calls`."""
    return (
        f"SELECT hour, count() AS calls FROM ("
        f"SELECT DISTINCT {HOUR_OF} AS hour, call_id FROM {_MESSAGES} WHERE {part.where()} AND {IS_CALL_EVENT}"
        f") WHERE (hour, call_id) NOT IN ("
        f"SELECT hour, value FROM {_LOOKUP} WHERE kind = '{Kind.CALL}' AND hour >= {part.low} AND hour <= {part.high}"
        f") GROUP BY hour ORDER BY hour"
    )


def refill(hour: int) -> tuple[str, str]:
    """Make `calls_local` and `lookup_local` of one hour again, out of this server's messages; harmless when whole."""
    whole = Slice(hour, hour, 2**63)
    source = f"(SELECT * FROM {_MESSAGES} WHERE {whole.where()})"
    columns = ", ".join(["in_call", "hour", "call_id", "day", *(fact.name for fact in FACTS)])
    return (
        f"INSERT INTO {_CALLS} ({columns}) {calls_select(source)}",
        f"INSERT INTO {_LOOKUP} (kind, value, hour, call_id, day) {lookup_select(source)}",
    )


def replicas() -> str:
    """
    How each replicated table of this server is: `table`, `readonly`, `fetches` that wait.

    Of what it knows without asking Keeper.
    """
    return (
        "SELECT table, toUInt8(is_readonly OR is_session_expired) AS readonly, "
        "inserts_in_queue AS fetches "
        f"FROM system.replicas WHERE database = '{DATABASE}' ORDER BY table"
    )


def late_fetches() -> str:
    """
    How many parts a server should have fetched by now (`late`).

    Those that nobody has any more are left out: ClickHouse looks for them for tens of seconds, and gives up.
    """
    return (
        f"SELECT count() AS late FROM system.replication_queue WHERE database = '{DATABASE}' AND type = 'GET_PART' "
        f"AND create_time < now() - {LATE_S} AND position(last_exception, 'No active replica has part') = 0"
    )


def restart_replica(table: str) -> str:
    """Make a table leave the read-only state now: by itself it looks only every ten seconds."""
    return f"SYSTEM RESTART REPLICA {DATABASE}.{table}"


def attach(table: str) -> str:
    """Bring back a table whose definition is on the server's disk."""
    return f"ATTACH TABLE {DATABASE}.{table}"


def keeper_answers() -> str:
    """Answers if the server has a session with Keeper, else it is an error."""
    return "SELECT count() AS found FROM system.zookeeper WHERE path = '/clickhouse'"

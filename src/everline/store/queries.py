"""The questions that a store answers, as SQL text. Pure: nothing here asks."""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from everline.calls.event import RTCP, Event
from everline.calls.facts import FACTS, NAMES, index_of
from everline.calls.record import STATUS_OUTCOMES, Outcome, State
from everline.calls.timeout import Patience
from everline.store import derived
from everline.store.filters import CallFilter, PageKey
from everline.store.literals import number, pattern, text, texts
from everline.store.schema import DATABASE, DAY_US, HOUR_US, Kind, merged

ALL_HOURS: Final = 2**32 - 1
MAX_DAY: Final = 2**16 - 1
MAX_DESCRIBED: Final = 20
"""So many different descriptions of a call are read."""
TAIL_HOURS: Final = 24
"""How long after the end of a range its calls are followed, to see how they ended, when figures are made."""

_MESSAGES: Final = f"{DATABASE}.messages"
_CALLS: Final = f"{DATABASE}.calls"
_LOOKUP: Final = f"{DATABASE}.lookup"
_OF_RECORD: Final = tuple(name for name in NAMES if name not in {"codecs", "user_agents", "agents", "event_keys"})
"""The facts that the derived columns are made of."""

_BY_STATUS: Final = {
    outcome: [str(code) for code, means in STATUS_OUTCOMES.items() if means is outcome]
    for outcome in (Outcome.BUSY, Outcome.NO_ANSWER, Outcome.REJECTED)
}
"""Outcomes that only a final response gives; a call is also cancelled by CANCEL or BYE."""


class Window(NamedTuple):
    """A range of hours since the epoch, both included."""

    low: int
    high: int


class Place(NamedTuple):
    """An hour in which something of a call was captured."""

    call_id: str
    hour: int


@dataclass(frozen=True, slots=True)
class Hint:
    """Rows of `lookup` that lead to all calls a filter can match."""

    kind: Kind
    condition: str

    def where(self, window: Window) -> str:
        """The rows within some hours."""
        return f"kind = '{self.kind}' AND {self.condition} AND {_within(window)}"


def hint_of(wanted: CallFilter) -> Hint | None:
    """The likely most selective way through `lookup`, or None if only time narrows."""
    for who in (wanted.caller, wanted.callee, wanted.number):
        if who and who.strip("*"):
            return Hint(Kind.NUMBER, matches("value", who))
    if wanted.ip is not None:
        return Hint(Kind.IP, f"value = {text(wanted.ip)}")
    if wanted.status is not None and wanted.status >= 300:
        return Hint(Kind.STATUS, f"value = {text(str(wanted.status))}")
    if wanted.outcome in _BY_STATUS:
        return Hint(Kind.STATUS, f"value IN {texts(_BY_STATUS[wanted.outcome])}")
    if wanted.user_agent:
        return Hint(Kind.AGENT, _contains("value", wanted.user_agent))
    return None


def hours_of(wanted: CallFilter) -> Window:
    """The hours in which a call must have begun."""
    high = ALL_HOURS if wanted.until_us is None else max(wanted.until_us - 1, 0) // HOUR_US
    return Window(max(wanted.since_us or 0, 0) // HOUR_US, min(high, ALL_HOURS))


def hour_counts(hours: Window, hint: Hint | None) -> str:
    """How many rows a search would meet in each hour, newest first: `hour`, `rows`."""
    source = f"{_CALLS} WHERE in_call = 1 AND {_within(hours)}"
    if hint:
        source = f"{_LOOKUP} WHERE {hint.where(Window(hours.low, ALL_HOURS))}"
    return f"SELECT hour, count() AS rows FROM {source} GROUP BY hour ORDER BY hour DESC"


def hinted_calls(hours: Window, hint: Hint) -> str:
    """All calls that a hint leads to: `call_id`."""
    return f"SELECT DISTINCT call_id FROM {_LOOKUP} WHERE {hint.where(Window(hours.low, ALL_HOURS))}"


def candidates(window: Window, wanted: CallFilter, *, hint: Hint | None, before: PageKey | None, limit: int) -> str:
    """
    Calls that seem to have begun in a window, newest first: `call_id`, `start`.

    `start` is made of what was captured in these hours alone. A call that really began in them has the
    event of its start in them, so of it `start` is true; where it is not, the call began in other hours.
    """
    source = f"{_CALLS} WHERE in_call = 1 AND {_within(window)}"
    if hint:
        # An INVITE transaction ends within the hour after its start: proxies give up after minutes (RFC 3261 s.16.6).
        # With the hour, since by the Call-ID alone every call of these hours would be read.
        rows = f"{_LOOKUP} WHERE {hint.where(Window(window.low, window.high + 1))}"
        source += f" AND (hour, call_id) IN (SELECT arrayJoin([hour, toUInt32(hour - 1)]) AS at, call_id FROM {rows})"
    # Fact `who` is long, and only calls of which no INVITE request was seen here need it.
    invited = f"SELECT call_id, {_merged('invite_us')} AS start FROM {source} GROUP BY call_id HAVING start > 0"
    others = f"SELECT call_id FROM {source} GROUP BY call_id HAVING {_merged('invite_us')} = 0"
    answering = (
        f"SELECT call_id, {derived.part('who', 'captured_us', of=_merged('who'))} AS start FROM {source} "
        f"AND call_id IN ({others}) GROUP BY call_id HAVING start > 0"
    )
    bounds = [f"start >= {number(wanted.since_us or 0)}", *_before("start", before)]
    if wanted.until_us is not None:
        bounds.append(f"start < {number(wanted.until_us)}")
    return (
        f"SELECT call_id, start FROM ({invited} UNION ALL {answering}) WHERE {' AND '.join(bounds)} "
        f"ORDER BY start DESC, call_id DESC LIMIT {limit}"
    )


def places(call_ids: Iterable[str]) -> str:
    """In which hours something of these calls is: `call_id`, `hour`."""
    where = f"kind = '{Kind.CALL}' AND value IN {texts(call_ids)}"
    return f"SELECT DISTINCT value AS call_id, hour FROM {_LOOKUP} WHERE {where}"


def records(found: Sequence[Place], wanted: CallFilter, *, before: PageKey | None = None, limit: int) -> str:
    """Whole facts of the calls at these places that a filter matches, newest first."""
    pairs = ", ".join(f"({hour}, {text(call_id)})" for call_id, hour in found)
    source = f"{_CALLS} WHERE in_call IN (0, 1) AND (hour, call_id) IN ({pairs})"
    conditions = ["1 = 1", *_before("start_us", before), *_conditions(wanted)]
    rest = f"WHERE {' AND '.join(conditions)} ORDER BY start_us DESC, call_id DESC LIMIT {limit}"
    facts = derived.with_columns(derived.merged_facts(NAMES, source), used_in=rest)
    return f"SELECT call_id, {', '.join(NAMES)} FROM ({facts}) {rest}"


def messages(call_id: str, *, limit: int) -> str:
    """The messages of a call, each once, as columns of `Event`."""
    of_call = f"FROM {_MESSAGES} WHERE call_id = {text(call_id)}"
    # Which ones, before their payloads are read. 18.16 would count what is there several times in LIMIT … BY … LIMIT.
    keys = f"SELECT DISTINCT captured_us, event_key {of_call} ORDER BY captured_us, event_key LIMIT {limit}"
    return (
        f"SELECT {', '.join(Event._fields)} {of_call} AND (captured_us, event_key) IN ({keys}) "
        f"ORDER BY captured_us, event_key LIMIT 1 BY captured_us, event_key"
    )


def newest_reports(since_us: int, until_us: int, *, limit: int) -> str:
    """How many RTCP packets were captured in a range, counted up to a limit from the newest on, and since when."""
    newest = f"SELECT captured_us {_reports(since_us, until_us)} ORDER BY captured_us DESC LIMIT {limit}"
    return f"SELECT count() AS reports, min(captured_us) AS since FROM ({newest})"


def reports(since_us: int, until_us: int, *, limit: int) -> str:
    """RTCP packets of a range, newest first, each once, as columns of `Event`."""
    # The limit is above what is wanted: 18.16 counts what is there several times in LIMIT … BY … LIMIT.
    return (
        f"SELECT {', '.join(Event._fields)} {_reports(since_us, until_us)} "
        f"ORDER BY captured_us DESC, event_key DESC, call_id LIMIT 1 BY call_id, captured_us, event_key LIMIT {limit}"
    )


def described(call_ids: Iterable[str]) -> str:
    """What the INVITEs of calls and the responses to them describe, each once, as columns of `Described`."""
    columns = "call_id, status, codecs"
    return (
        f"SELECT {columns} FROM {_MESSAGES} WHERE call_id IN {texts(call_ids)} AND method = 'INVITE' "
        f"AND codecs != '' AND status < 300 GROUP BY {columns} ORDER BY {columns} LIMIT {MAX_DESCRIBED} BY call_id"
    )


def figures(since_us: int, until_us: int, *, step_us: int) -> str:
    """What `calls.kpi.KpiCounts` holds, by `step`: how many times `step_us` after `since_us` calls began."""
    outcomes = ", ".join(f"countIf(outcome = '{outcome}') AS {outcome}" for outcome in Outcome)
    columns = (
        f"toUInt32(intDiv(start_us - {number(since_us)}, {step_us})) AS step, count() AS attempts, "
        "countIf(answered_us > 0) AS with_answer, countIf(is_challenge) AS challenged, "
        f"countIf(outcome = '{Outcome.CANCELLED}' AND answered_us = 0 AND ringing_us > 0) AS abandoned_ringing, "
        "countIf(has_talk) AS talks, sum(talk_us) AS all_talk_us, "
        "sumMapIf([status], [toUInt64(1)], end = 'failure') AS statuses, "
        "countIf(has_pdd) AS with_pdd, quantilesExactIf(0.5, 0.95)(pdd_us, has_pdd) AS pdd, "
        "countIf(has_srd) AS with_srd, quantilesExactIf(0.5, 0.95)(srd_us, has_srd) AS srd, "
        f"{outcomes}"
    )
    attempts = _attempts(since_us, until_us, used_in=columns)
    return f"SELECT {columns} FROM ({attempts}) GROUP BY step ORDER BY step"


def top_failures(since_us: int, until_us: int, *, limit: int) -> str:
    """Which destinations were not reached, most often first: `callee`, `status`, `calls`."""
    attempts = _attempts(since_us, until_us, used_in="callee, status, end")
    return (
        f"SELECT callee, status, count() AS calls FROM ({attempts}) WHERE end = 'failure' "
        f"GROUP BY callee, status ORDER BY calls DESC, callee, status LIMIT {limit}"
    )


def open_calls(patience: Patience, since_us: int, now_us: int, *, limit: int) -> str:
    """Calls without an end that were silent for as long as patience lasts, longest silent first: `call_id`."""
    source = f"{_CALLS} WHERE in_call = 1 AND hour >= {max(since_us, 0) // HOUR_US}"
    maybe = f"SELECT DISTINCT call_id FROM {source} AND NOT ({derived.ENDED_IN_ROW})"
    of_those = f"{source} AND call_id IN ({maybe})"
    facts = derived.with_columns(derived.merged_facts(_OF_RECORD, of_those), used_in="end, start_us, answered_us")
    lasts_us = f"if(answered_us > 0, {number(patience.answered_us)}, {number(patience.ringing_us)})"
    return (
        f"SELECT call_id FROM ({facts}) WHERE end = '' AND start_us >= {number(since_us)} "
        f"AND last_us + {lasts_us} <= {number(now_us)} ORDER BY last_us, call_id LIMIT {limit}"
    )


def late_calls(since_us: int, ended_since_us: int, *, limit: int) -> str:
    """Calls in progress that began in a range, and those that ended a moment ago, longest silent first: `call_id`."""
    source = f"{_CALLS} WHERE in_call = 1 AND hour >= {max(since_us, 0) // HOUR_US}"
    facts = derived.with_columns(derived.merged_facts(_OF_RECORD, source), used_in="end, start_us")
    return (
        f"SELECT call_id FROM ({facts}) WHERE start_us >= {number(since_us)} "
        f"AND (end = '' OR last_us >= {number(ended_since_us)}) ORDER BY last_us, call_id LIMIT {limit}"
    )


def partitions(table: str) -> str:
    """The partitions of a table: `partition`."""
    return f"SELECT DISTINCT partition FROM system.parts WHERE active AND database = '{DATABASE}' AND table = '{table}'"


def drop_partition(table: str, partition: str) -> str:
    """Delete a partition: a number (a day) as it is, all else (a Monday) as text."""
    value = partition if partition.isdigit() else text(partition)
    return f"ALTER TABLE {DATABASE}.{table} DROP PARTITION {value}"


def matches(column: str, wanted: str) -> str:
    """A text that may stand for any text in front or at the end, by `*`."""
    core = wanted.strip("*")
    anything_before, anything_after = wanted.startswith("*"), wanted.endswith("*")
    if not anything_before and not anything_after:
        return f"{column} = {text(wanted)}"
    shape = ("%" if anything_before else "") + pattern(core) + ("%" if anything_after else "")
    return f"{column} LIKE {text(shape)}"


def _reports(since_us: int, until_us: int) -> str:
    """Where RTCP of a range is: of the days that it touches, which are partitions."""
    low, high = max(since_us, 0), max(until_us - 1, 0)
    days = (f"toDate(toUInt16({min(us // DAY_US, MAX_DAY)}))" for us in (low, high))
    return (
        f"FROM {_MESSAGES} WHERE day >= {next(days)} AND day <= {next(days)} AND protocol = {RTCP} "
        f"AND captured_us >= {number(low)} AND captured_us < {number(max(until_us, 0))}"
    )


def _attempts(since_us: int, until_us: int, *, used_in: str) -> str:
    """
    Calls whose initial INVITE was captured, and that began in a range: facts, and the columns that some SQL uses.

    A call with rows in the hour before the range began before it. One that was silent for longer than
    that has no initial INVITE in the hours that are read.
    """
    low, high = max(since_us, 0) // HOUR_US, max(until_us, 0) // HOUR_US
    earlier = f"SELECT call_id FROM {_CALLS} WHERE in_call = 1 AND hour + 1 = {low}"
    source = f"{_CALLS} WHERE in_call = 1 AND {_within(Window(low, high + TAIL_HOURS))} AND call_id NOT IN ({earlier})"
    if high - low < TAIL_HOURS:
        # Most calls of the tail began later than a short range: they are left out before anything of them is merged.
        source += f" AND call_id IN (SELECT call_id FROM {_CALLS} WHERE in_call = 1 AND {_within(Window(low, high))})"
    facts = derived.with_columns(derived.merged_facts(_OF_RECORD, source), used_in=f"start_us, {used_in}")
    is_initial = f"{derived.part('who', 'status')} = 0 AND {derived.part('who', 'to_tag')} = ''"
    is_within = f"start_us >= {number(since_us)} AND start_us < {number(until_us)}"
    return f"SELECT * FROM ({facts}) WHERE {is_initial} AND {is_within}"


def _merged(name: str) -> str:
    return merged(FACTS[index_of(name)])


def _conditions(wanted: CallFilter) -> list[str]:
    found = [f"start_us >= {number(wanted.since_us)}"] if wanted.since_us is not None else []
    if wanted.until_us is not None:
        found.append(f"start_us < {number(wanted.until_us)}")
    if wanted.number is not None:
        found.append(f"({matches('caller', wanted.number)} OR {matches('callee', wanted.number)})")
    if wanted.caller is not None:
        found.append(matches("caller", wanted.caller))
    if wanted.callee is not None:
        found.append(matches("callee", wanted.callee))
    if wanted.call_id is not None:
        found.append(f"call_id = {text(wanted.call_id)}")
    if wanted.state is not None:
        found.append(f"state = '{State(wanted.state)}'")
    if wanted.outcome is not None:
        found.append(f"outcome = '{Outcome(wanted.outcome)}'")
    if wanted.status is not None:
        found.append(f"status = {number(wanted.status)}")
    if wanted.ip is not None:
        ends = f"{derived.part('who', 'src_ip')}, {derived.part('who', 'dst_ip')}"
        found.append(f"has([{ends}], {text(wanted.ip)})")
    if wanted.user_agent is not None:
        agents = (_contains(column, wanted.user_agent) for column in ("caller_agent", "callee_agent"))
        found.append(f"({' OR '.join(agents)})")
    return found


def _contains(column: str, wanted: str) -> str:
    return f"positionCaseInsensitiveUTF8({column}, {text(wanted)}) > 0"


def _before(column: str, key: PageKey | None) -> list[str]:
    if key is None:
        return []
    at = number(key.start_us)
    return [f"({column} < {at} OR ({column} = {at} AND call_id < {text(key.call_id)}))"]


def _within(window: Window) -> str:
    return f"hour >= {window.low} AND hour <= {window.high}"

"""
The record of a call as SQL over its merged facts: the same rules as `everline.calls.record`, case by case.

Python makes the records that are shown. This makes the columns that the engine filters and counts by.
"""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

import re
from collections.abc import Mapping, Sequence
from typing import Final

from everline.calls.facts import CHALLENGES, FACTS, index_of
from everline.calls.record import STATUS_OUTCOMES, Outcome, State
from everline.store.schema import merged

_NAME: Final = re.compile(r"[a-z_]+")


def _of_row(fact: str) -> str:
    return f"finalizeAggregation({fact})"


def part(fact: str, field: str, *, of: str = "") -> str:
    """One field of a fact of several; `of` names another value of the same shape."""
    return f"tupleElement({of or fact}, {FACTS[index_of(fact)].fields.index(field) + 1})"


def merged_facts(names: Sequence[str], source: str) -> str:
    """Facts by call, merged from the rows that `source` ("table WHERE …") selects; only calls."""
    columns = ", ".join(f"{merged(FACTS[index_of(name)])} AS {name}" for name in names)
    renamed = columns.replace(" AS ", " AS m_")
    inner = f"SELECT call_id, {renamed} FROM {source} GROUP BY call_id"
    outer = ", ".join(f"m_{name} AS {name}" for name in names)
    return f"SELECT call_id, {outer} FROM ({inner}) WHERE {part('who', 'captured_us', of='m_who')} > 0"


def with_columns(facts: str, *, used_in: str) -> str:
    """Everything that `facts` selects, and besides what some SQL uses of the columns of the record."""
    used = set(_NAME.findall(used_in))
    for name, expression in reversed(list(COLUMNS.items())):  # Each is made of facts and of columns before it.
        if name in used:
            used.update(_NAME.findall(expression))
    columns = [f"{expression} AS {name}" for name, expression in COLUMNS.items() if name in used]
    return f"SELECT {', '.join(['*', *columns])} FROM ({facts})"


def _failure(field: str, of: str = "f") -> str:
    return part("failures", field, of=of)


def _outcome_of_status(status: str) -> str:
    by_outcome: dict[Outcome, list[int]] = {}
    for code, outcome in STATUS_OUTCOMES.items():
        by_outcome.setdefault(outcome, []).append(code)
    cases = [f"{status} < 400, '{Outcome.REDIRECTED}'"]
    cases += [f"{status} IN ({', '.join(map(str, codes))}), '{outcome}'" for outcome, codes in by_outcome.items()]
    return f"multiIf({', '.join(cases)}, '{Outcome.FAILED}')"


_TOLD: Final = f"{_failure('dst_ip')} = caller_ip AND {_failure('dst_port')} = caller_port"
_FIRST_TOLD: Final = (
    f"{_failure('status')} = {_failure('status', 'final')} AND {_failure('to_tag')} = {_failure('to_tag', 'final')}"
)
_FROM_CALLER: Final = (
    f"{part('cancels', 'src_ip', of='c')} = caller_ip AND {part('cancels', 'src_port', of='c')} = caller_port"
)
_CONFIRMED: Final = (
    f"answered_us > 0 OR joined_late OR {part('bye', 'from_tag')} != {part('who', 'from_tag')} OR ack_us > 0"
)

COLUMNS: Final[Mapping[str, str]] = {
    "start_us": f"if(invite_us > 0, invite_us, {part('who', 'captured_us')})",
    "caller": f"if({part('who', 'from_user')} = '', {part('who', 'from_host')}, {part('who', 'from_user')})",
    "callee": f"if({part('who', 'to_user')} = '', {part('who', 'to_host')}, {part('who', 'to_user')})",
    "caller_ip": f"if({part('who', 'status')} > 0, {part('who', 'dst_ip')}, {part('who', 'src_ip')})",
    "caller_port": f"if({part('who', 'status')} > 0, {part('who', 'dst_port')}, {part('who', 'src_port')})",
    "caller_agent": f"if({part('who', 'status')} > 0, '', {part('who', 'user_agent')})",
    "callee_agent": part("answer", "user_agent"),
    "answered_us": part("answer", "captured_us"),
    "bye_us": part("bye", "captured_us"),
    "joined_late": f"{part('who', 'status')} = 0 AND {part('who', 'to_tag')} != ''",
    # The final failure: see record._final_failure. Of an empty array, arrayElement is a tuple of zeros.
    "sorted_failures": "arraySort(failures)",
    "last_cseq": _failure("cseq", "arrayElement(sorted_failures, -1)"),
    "last_failures": f"arrayFilter(f -> {_failure('cseq')} = last_cseq, sorted_failures)",
    "was_told": f"arrayExists(f -> {_TOLD}, last_failures)",
    "told": f"arrayFilter(f -> NOT was_told OR ({_TOLD}), last_failures)",
    "final": "arrayElement(told, -1)",
    "failed_us": _failure("captured_us", f"arrayElement(arrayFilter(f -> {_FIRST_TOLD}, told), 1)"),
    "cancelled_us": part(
        "cancels", "captured_us", of=f"arrayElement(arraySort(arrayFilter(c -> {_FROM_CALLER}, cancels)), 1)"
    ),
    "end": (
        "multiIf(answered_us = 0 AND NOT joined_late AND notEmpty(failures) "
        "AND last_cseq >= attempt, 'failure', bye_us > 0, 'bye', "
        "answered_us = 0 AND cancelled_us > 0, 'cancel', timeout_us > last_us, 'timeout', '')"
    ),
    "ended_us": (
        "multiIf(end = 'failure', failed_us, end = 'bye', bye_us, "
        "end = 'cancel', cancelled_us, end = 'timeout', timeout_us, 0)"
    ),
    "status": f"if(end = 'failure', {_failure('status', 'final')}, {part('answer', 'status')})",
    "outcome": (
        f"multiIf(end = 'failure', {_outcome_of_status('status')}, "
        f"end = 'bye', if({_CONFIRMED}, '{Outcome.ANSWERED}', '{Outcome.CANCELLED}'), "
        f"end = 'cancel', '{Outcome.CANCELLED}', end = 'timeout', '{Outcome.TIMED_OUT}', '')"
    ),
    "state": (
        f"multiIf(end != '', '{State.ENDED}', answered_us > 0, '{State.ANSWERED}', "
        f"ringing_us > 0, '{State.RINGING}', '{State.TRYING}')"
    ),
    "has_talk": f"outcome = '{Outcome.ANSWERED}' AND answered_us > 0 AND ended_us >= answered_us",
    "talk_us": "if(has_talk, ended_us - answered_us, 0)",
    "has_pdd": "invite_us > 0 AND ringing_us >= invite_us",
    "pdd_us": "if(has_pdd, ringing_us - invite_us, 0)",
    "has_srd": "invite_us > 0 AND response_us >= invite_us",
    "srd_us": "if(has_srd, response_us - invite_us, 0)",
    "is_challenge": f"outcome = '{Outcome.FAILED}' AND status IN ({', '.join(map(str, sorted(CHALLENGES)))})",
}
"""Zero or an empty text stands for None."""

ENDED_IN_ROW: Final = (
    f"{part('bye', 'captured_us', of=_of_row('bye'))} > 0 OR ("
    f"{part('answer', 'captured_us', of=_of_row('answer'))} = 0 AND {_of_row('attempt')} > 0 AND "
    f"arrayExists(f -> {_failure('cseq')} >= {_of_row('attempt')}, {_of_row('failures')}))"
)
"""
Whether a row of `calls` alone shows that a call has ended, without merging; of most calls that ended one row does.

A call that goes on has a row that does not: a BYE ends it for good, and what undoes a failure, an answer or another
attempt, is in another row if it is not in this one.
"""

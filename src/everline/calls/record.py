"""The call record: what the facts of a call say. Pure functions of facts, no state of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from everline.calls.facts import CHALLENGES, NAMES, Facts


class State(StrEnum):
    """How far a call has come."""

    TRYING = "trying"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a call attempt ended."""

    ANSWERED = "answered"
    BUSY = "busy"
    CANCELLED = "cancelled"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    REDIRECTED = "redirected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


STATUS_OUTCOMES: Final[Mapping[int, Outcome]] = {
    486: Outcome.BUSY, 600: Outcome.BUSY,
    487: Outcome.CANCELLED,
    408: Outcome.NO_ANSWER, 480: Outcome.NO_ANSWER,
    603: Outcome.REJECTED, 607: Outcome.REJECTED, 608: Outcome.REJECTED,
}  # fmt: skip
"""What a final failure means (RFC 3261 section 21, RFC 8197, RFC 8688); 3xx redirects, the rest failed."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """
    One call attempt. Times are UTC epoch microseconds, None while unknown.

    Attributes:
        start_us: When it began: the first INVITE, or the first message seen of it.
        status: The final response, or None while there is none.
        released_by: "caller" or "callee" where a BYE or CANCEL tells, else None.
        messages: How many different messages were captured.
        cause: Q.850 cause that came with the end, 0 without.
    """

    call_id: str
    state: State
    outcome: Outcome | None
    status: int | None
    caller: str
    caller_uri: str
    callee: str
    callee_uri: str
    start_us: int
    first_us: int
    last_us: int
    invite_us: int | None
    response_us: int | None
    ringing_us: int | None
    answered_us: int | None
    ended_us: int | None
    released_by: str | None
    cause: int
    messages: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    caller_agent: str
    callee_agent: str
    codecs: tuple[str, ...]
    agents: tuple[str, ...]

    @property
    def talk_s(self) -> float | None:
        """Seconds from the answer to the BYE; None unless both were seen in that order."""
        if self.outcome is not Outcome.ANSWERED:
            return None
        return _seconds_between(self.answered_us, self.ended_us)

    @property
    def pdd_s(self) -> float | None:
        """Post-dial delay: seconds from the first INVITE to the first 18x; None unless both were seen."""
        return _seconds_between(self.invite_us, self.ringing_us)

    @property
    def srd_s(self) -> float | None:
        """Session request delay: first INVITE to the first response but 100 and challenges (RFC 6076 s.4.3)."""
        return _seconds_between(self.invite_us, self.response_us)


class End(NamedTuple):
    """How a call ended: the outcome, and what is known with it."""

    outcome: Outcome
    ended_us: int
    status: int | None = None
    released_by: str | None = None
    cause: int = 0


class Who(NamedTuple):
    """The value of fact `who`, by name; see its definition for the order."""

    status: int
    to_tag: str
    captured_us: int
    event_key: int
    from_user: str
    from_host: str
    to_user: str
    to_host: str
    from_tag: str
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    user_agent: str


class Failure(NamedTuple):
    """One member of fact `failures`, by name."""

    cseq: int
    captured_us: int
    status: int
    to_tag: str
    dst_ip: str
    dst_port: int
    cause: int


def is_call(facts: Facts) -> bool:
    """Whether these are the facts of a call: an INVITE transaction was seen."""
    return _by_name(facts)["who"] is not None


def record_of(call_id: str, facts: Facts) -> CallRecord:
    """
    Read the record of a call out of its facts.

    Raises:
        ValueError: `is_call` does not hold.
    """
    seen = _by_name(facts)
    if seen["who"] is None:
        raise ValueError(f"no INVITE transaction was seen of {call_id!r}: not a call")
    who, answer, end = Who(*seen["who"]), seen["answer"], _end(seen)
    source, target = (who.src_ip, who.src_port), (who.dst_ip, who.dst_port)
    if who.status:  # Only responses were seen: they travel the other way.
        source, target = target, source
    return CallRecord(
        call_id=call_id,
        state=State.ENDED if end else _progress(seen),
        outcome=end.outcome if end else None,
        status=end.status if end else (answer[1] if answer else None),
        caller=who.from_user or who.from_host,
        caller_uri=_uri(who.from_user, who.from_host),
        callee=who.to_user or who.to_host,
        callee_uri=_uri(who.to_user, who.to_host),
        start_us=seen["invite_us"] or who.captured_us,
        first_us=seen["first_us"],
        last_us=seen["last_us"],
        invite_us=seen["invite_us"],
        response_us=seen["response_us"],
        ringing_us=seen["ringing_us"],
        answered_us=answer[0] if answer else None,
        ended_us=end.ended_us if end else None,
        released_by=end.released_by if end else None,
        cause=end.cause if end else 0,
        messages=_size(seen["event_keys"]),
        src_ip=source[0],
        src_port=source[1],
        dst_ip=target[0],
        dst_port=target[1],
        caller_agent=who.user_agent if not who.status else "",
        callee_agent=answer[3] if answer else "",
        codecs=tuple(dict.fromkeys(codec for offer in sorted(seen["codecs"] or ()) for codec in offer.split(","))),
        agents=tuple(sorted(seen["agents"] or ())),
    )


def outcome_of_status(status: int) -> Outcome:
    """What a final failure response (300 to 699) means for the call."""
    if 300 <= status < 400:
        return Outcome.REDIRECTED
    return STATUS_OUTCOMES.get(status, Outcome.FAILED)


def is_challenge(record: CallRecord) -> bool:
    """Whether the call ended, so far, in nothing but a challenge: the caller may well try again."""
    return record.outcome is Outcome.FAILED and record.status in CHALLENGES


def _progress(seen: Mapping[str, Any]) -> State:
    if seen["answer"]:
        return State.ANSWERED
    return State.RINGING if seen["ringing_us"] else State.TRYING


def _end(seen: Mapping[str, Any]) -> End | None:
    """The end of a call, or None while it lasts. An answer outweighs a failure, a BYE a timeout."""
    answer, bye = seen["answer"], seen["bye"]
    if answer is None and not _joined_late(seen):
        failure = _final_failure(seen)
        if failure is not None:
            return failure
    if bye is not None:
        return _released(seen)
    if answer is None:
        cancelled_us = _cancelled_us(seen)
        if cancelled_us is not None:
            return End(Outcome.CANCELLED, cancelled_us, released_by="caller")
    if seen["timeout_us"] is not None and seen["timeout_us"] > (seen["last_us"] or 0):
        return End(Outcome.TIMED_OUT, seen["timeout_us"], status=answer[1] if answer else None)
    return None


def _released(seen: Mapping[str, Any]) -> End:
    """A BYE was seen. Without an answer, it was lost to us if the dialog must have been confirmed."""
    bye_us, from_tag, cause, _to_tag = seen["bye"]
    by = "caller" if from_tag == Who(*seen["who"]).from_tag else "callee"
    answer = seen["answer"]
    # Only the caller may send BYE in an early dialog (RFC 3261 section 15), and a failure's ACK comes with a failure.
    confirmed = answer is not None or by == "callee" or seen["ack_us"] is not None or _joined_late(seen)
    outcome = Outcome.ANSWERED if confirmed else Outcome.CANCELLED
    return End(outcome, bye_us, status=answer[1] if answer else None, released_by=by, cause=cause)


def _joined_late(seen: Mapping[str, Any]) -> bool:
    """Whether the first INVITE seen is a re-INVITE: the call was answered before, and its failure ends nothing."""
    who = Who(*seen["who"])
    return who.status == 0 and who.to_tag != ""


def _final_failure(seen: Mapping[str, Any]) -> End | None:
    """
    The failure that the caller was told: highest CSeq, and of a forked attempt the one that went to the caller.

    None while there is none, or while the caller has tried again since (a higher CSeq).
    """
    failures = sorted(Failure(*one) for one in seen["failures"] or ())
    if not failures or failures[-1].cseq < (seen["attempt"] or 0):
        return None
    caller = _caller_address(Who(*seen["who"]))
    last_attempt = [one for one in failures if one.cseq == failures[-1].cseq]
    told = [one for one in last_attempt if (one.dst_ip, one.dst_port) == caller] or last_attempt
    final = told[-1]
    # The first time it was told: a response repeats until its ACK arrives.
    ended_us = min(one.captured_us for one in told if (one.status, one.to_tag) == (final.status, final.to_tag))
    outcome = outcome_of_status(final.status)
    by = "caller" if outcome is Outcome.CANCELLED else None
    return End(outcome, ended_us, status=final.status, released_by=by, cause=final.cause)


def _cancelled_us(seen: Mapping[str, Any]) -> int | None:
    """When the caller sent CANCEL. A proxy cancels its branches too, and that ends no call."""
    caller = _caller_address(Who(*seen["who"]))
    return min((at for at, ip, port in seen["cancels"] or () if (ip, port) == caller), default=None)


def _caller_address(who: Who) -> tuple[str, int]:
    """Where the first INVITE seen came from; responses travel the other way."""
    return (who.dst_ip, who.dst_port) if who.status else (who.src_ip, who.src_port)


def _by_name(facts: Facts) -> dict[str, Any]:
    return dict(zip(NAMES, facts, strict=True))


def _size(keys: frozenset[int] | int | None) -> int:
    """How many event keys; a store tells only their number."""
    return keys if isinstance(keys, int) else len(keys or ())


def _uri(user: str, host: str) -> str:
    return f"sip:{user}@{host}" if user else f"sip:{host}"


def _seconds_between(start_us: int | None, end_us: int | None) -> float | None:
    """Seconds between two moments; None when one is unknown or clocks put them the wrong way round."""
    if start_us is None or end_us is None or end_us < start_us:
        return None
    return (end_us - start_us) / 1e6

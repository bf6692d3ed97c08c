"""
Call flows as text, one captured message a line: `seconds from>to what options`.

    0    A>P INVITE          a request; A is the caller, P and Q are proxies, B, C and D could answer
    1    B>P 180             a response to INVITE
    30.1 B>A 200/BYE         a response to another method
    40   A>B RE-INVITE cseq=2

Requests down the line (A P Q B C D) come from the caller, those up from the callee. Options: `cseq=`, `tag=` (the
tag of the callee's side, else the letter that answers, `b` for proxies), `cause=`, `codecs=`, `ua=`, `agent=`.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from everline.calls.decode import event_key
from everline.calls.event import SIP, SYNTHETIC, TIMEOUT_METHOD, Event
from everline.calls.facts import NOTHING, Facts, facts_of, merge

CALL_ID: Final = "a84b4c76e66710@192.0.2.1"
START_US: Final = 1_700_000_000_000_000
HOSTS: Final = {name: f"192.0.2.{number}" for number, name in enumerate("APQBCD", 1)}
OUTSIDE_DIALOG: Final = frozenset({"INVITE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE"})


def flow(text: str, *, call_id: str = CALL_ID, start_us: int = START_US) -> list[Event]:
    """The events of a call flow, in the order written; `TIMEOUT` as what is Everline's own event."""
    return [_event(line.split(), call_id, start_us) for line in text.strip().splitlines()]


def _event(words: Sequence[str], call_id: str, start_us: int) -> Event:
    at, hop, what, *rest = words
    options = dict(word.split("=", 1) for word in rest)
    sender, receiver = hop.split(">")
    down = "APQBCD".index(sender) < "APQBCD".index(receiver)
    status, method = (int(what[:3]), what[4:] or "INVITE") if what[0].isdigit() else (0, what)
    from_caller = down if status == 0 else not down
    theirs = options.get("tag") or (sender if sender in "BCD" else receiver if receiver in "BCD" else "B").lower()
    in_dialog = status > 100 or (status == 0 and method not in OUTSIDE_DIALOG)
    caller, callee = ("alice", "a.example", "a"), ("bob", "b.example", theirs)
    (from_user, from_host, from_tag), (to_user, to_host, to_tag) = (caller, callee) if from_caller else (callee, caller)
    captured_us = start_us + round(float(at) * 1e6)
    hosts = (HOSTS[sender], 5060, HOSTS[receiver], 5060)
    payload = " ".join(words[1:]).encode()
    return Event(
        call_id=call_id, captured_us=captured_us, event_key=event_key(captured_us, *hosts, payload),
        received_us=captured_us, protocol=SYNTHETIC if method == TIMEOUT_METHOD else SIP, ip_proto=17,
        src_ip=hosts[0], src_port=hosts[1], dst_ip=hosts[2], dst_port=hosts[3],
        method=method.removeprefix("RE-"), status=status, cseq=int(options.get("cseq", 1)),
        from_user=from_user, from_host=from_host, from_tag=from_tag,
        to_user=to_user, to_host=to_host, to_tag=to_tag if in_dialog else "",
        user_agent=options.get("ua", ""), codecs=options.get("codecs", ""), cause=int(options.get("cause", 0)),
        agent=options.get("agent", "probe-1"), correlation_id="", node="ingest-1", payload=payload,
    )  # fmt: skip


def disordered(events: Sequence[Event], random: Random) -> list[Event]:
    """The same events in another order, some of them more than once."""
    again = [*events, *random.choices(events, k=len(events) // 2)]
    random.shuffle(again)
    return again


def merged_from_parts(events: Sequence[Event], random: Random) -> Facts:
    """The facts of events that were dealt to several nodes, merged in any order."""
    parts: list[list[Event]] = [[] for _ in range(random.randint(1, 4))]
    for event in events:
        random.choice(parts).append(event)
    facts = NOTHING
    for part in parts:
        facts = merge(facts_of(part), facts)
    return facts

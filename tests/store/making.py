"""Events and calls for the tests of the store."""

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from everline.calls.event import SIP, SYNTHETIC, TIMEOUT_METHOD, Event, EventBatch
from everline.calls.facts import facts_of, is_call_event
from everline.calls.record import CallRecord, is_call, record_of
from everline.store.store import Store

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US

CALLER = ("10.0.0.1", 5060)
CALLEE = ("10.0.0.2", 5060)


def event(call_id: str, captured_us: int, method: str = "INVITE", status: int = 0, **fields: Any) -> Event:  # any field
    """An event of a plain call: the caller's requests, the callee's responses."""
    source, target = (CALLEE, CALLER) if status else (CALLER, CALLEE)
    known: dict[str, Any] = {
        "event_key": xxh3_64_intdigest(repr((captured_us, method, status, sorted(fields.items()))).encode()),
        "received_us": captured_us + 500,
        "protocol": SYNTHETIC if method == TIMEOUT_METHOD else SIP,
        "ip_proto": 17,
        "src_ip": source[0],
        "src_port": source[1],
        "dst_ip": target[0],
        "dst_port": target[1],
        "cseq": 1,
        "from_user": "alice",
        "from_host": "a.example",
        "from_tag": "ft",
        "to_user": "bob",
        "to_host": "b.example",
        "to_tag": "",
        "user_agent": "",
        "codecs": "",
        "cause": 0,
        "agent": "sbc",
        "correlation_id": "",
        "node": "n1",
        "payload": b"INVITE",
    }
    return Event(call_id=call_id, captured_us=captured_us, method=method, status=status, **{**known, **fields})


def answered(call_id: str, start_us: int, *, talk_s: int = 60, **fields: Any) -> list[Event]:  # any field
    """A call that was answered after 5 s and ended by the caller."""
    pick_up = start_us + 5 * SECOND_US
    return [
        event(call_id, start_us, **fields),
        event(call_id, start_us + 2 * SECOND_US, status=180, to_tag="tt", **fields),
        event(call_id, pick_up, status=200, to_tag="tt", **fields),
        event(call_id, pick_up + talk_s * SECOND_US, "BYE", to_tag="tt", cause=16, **fields),
    ]


def failed(call_id: str, start_us: int, status: int, **fields: Any) -> list[Event]:  # any field
    """A call that was refused after a second."""
    return [
        event(call_id, start_us, **fields),
        event(call_id, start_us + SECOND_US, status=status, to_tag="tt", **fields),
    ]


def records_of(events: Iterable[Event]) -> list[CallRecord]:
    """The records of all calls in some events as Python makes them, newest first."""
    by_call: dict[str, list[Event]] = {}
    for one in events:
        by_call.setdefault(one.call_id, []).append(one)
    facts = {call_id: facts_of(its) for call_id, its in by_call.items()}
    found = [record_of(call_id, one) for call_id, one in facts.items() if is_call(one)]
    return sorted(found, key=lambda record: (record.start_us, record.call_id), reverse=True)


async def insert(store: Store, *batches: Sequence[Event]) -> None:
    """Give batches to a store."""
    for batch in batches:
        await store.insert(EventBatch.of(batch))


_TEXTS = st.sampled_from(["", "a", "b", "A", "é", "\x00", "a'b\\", "\U0001f600"])
_TAGS = st.sampled_from(["", "ft", "t1", "t2"])
_METHODS = st.sampled_from(
    ["INVITE"] * 8 + ["BYE", "CANCEL", "ACK", "OPTIONS", "NOTIFY", "REGISTER", TIMEOUT_METHOD, "UPDATE", "X'"]
)
_STATUSES = st.sampled_from(
    [0, 0, 0, 100, 101, 180, 183, 200, 202, 302, 401, 407, 404, 480, 486, 487, 503, 600, 699, 700]
)
_OFFSETS = st.sampled_from([0, 1, 2, 3, 1_000_000, HOUR_US - 1, HOUR_US, HOUR_US + 1, 3 * HOUR_US, DAY_US - 1, DAY_US])


def any_event(call_id: str, start_us: int) -> st.SearchStrategy[Event]:
    """Events that are as likely to tie, collide and contradict each other as can be."""
    address = st.sampled_from([CALLER, CALLEE, ("10.0.0.1", 5080), ("2001:db8::1", 5060)])
    return st.builds(
        lambda at, method, status, source, target, fields: event(
            call_id, start_us + at, method, status,
            **{"src_ip": source[0], "src_port": source[1], "dst_ip": target[0], "dst_port": target[1], **fields},
        ),
        _OFFSETS, _METHODS, _STATUSES, address, address,
        st.fixed_dictionaries({
            "event_key": st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]),
            "cseq": st.sampled_from([0, 1, 1, 2, 2**31 - 1]),
            "from_user": _TEXTS, "from_host": _TEXTS, "from_tag": _TAGS,
            "to_user": _TEXTS, "to_host": _TEXTS, "to_tag": _TAGS,
            "user_agent": _TEXTS, "codecs": st.sampled_from(["", "PCMA", "PCMA,PCMU"]),
            "cause": st.sampled_from([0, 16, 17]), "agent": _TEXTS,
        }),
    )  # fmt: skip


def any_call(call_id: str, start_us: int) -> st.SearchStrategy[list[Event]]:
    """The events of one call, each event key with one event."""
    return st.lists(
        any_event(call_id, start_us), min_size=1, max_size=10, unique_by=lambda one: (one.captured_us, one.event_key)
    ).filter(lambda events: any(map(is_call_event, events)))

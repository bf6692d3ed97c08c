"""Calls as captured messages, and a store and a node that hold them: what the tests of the application look at."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from argon2 import PasswordHasher

from everline.access.account import User
from everline.access.audit import AuditEntry, in_order
from everline.access.book import Book
from everline.access.gate import Gate
from everline.access.local_book import LocalBook
from everline.access.roles import Role
from everline.access.signing import KeyRing
from everline.access.throttle import MemoryThrottle, Throttle
from everline.access.trail import Trail
from everline.app.services import PacketLedger, Services
from everline.bus.memory import MemoryBus
from everline.calls.agreed import Described, described_by
from everline.calls.event import RTCP, SIP, Event
from everline.calls.facts import facts_of
from everline.calls.kpi import KpiBucket, KpiCounts, Kpis, kpis_of
from everline.calls.record import CallRecord, is_call, record_of
from everline.store.filters import CallFilter, CallPage, FailedTarget, PageKey
from everline.store.reports import Reports

NOW = 1_790_000_000.0
START_US = 1_789_999_400_000_000
TOKEN = "a-token-only-for-tests"
KEY = "a-session-key-only-for-tests"
PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(1, 8, 1).hash(PASSWORD)
"""A quick one: how slow ours is matters in tests of passwords only."""

ALICE = ("192.0.2.1", 5060)
PROXY = ("192.0.2.9", 5060)
BOB = ("198.51.100.7", 5062)
CAROL = ("198.51.100.8", 5060)

OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n"
HOLD = OFFER + "a=sendonly\r\n"


def message(
    what: str | int,
    at_ms: float = 0,
    *,
    call_id: str = "call-1@test",
    ends: tuple[tuple[str, int], tuple[str, int]] = (ALICE, BOB),
    method: str = "INVITE",
    cseq: int = 1,
    from_tag: str = "a",
    to_tag: str = "",
    agent: str = "sbc-1",
    user_agent: str = "",
    sdp: str = "",
    caller: str = "+49301",
    callee: str = "+49302",
    ip_proto: int = 17,
) -> Event:
    """One message: a request of a method, or a response with a status to one of `method`."""
    status = what if isinstance(what, int) else 0
    verb = method if status else str(what)
    line = f"SIP/2.0 {status} Phrase" if status else f"{verb} sip:{callee}@example.org SIP/2.0"
    text = (
        f"{line}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {verb}\r\nFrom: <sip:{caller}@example.org>;tag={from_tag}\r\n"
        f"To: <sip:{callee}@example.org>{';tag=' + to_tag if to_tag else ''}\r\nUser-Agent: {user_agent}\r\n\r\n{sdp}"
    )
    captured_us = START_US + round(at_ms * 1000)
    return Event(
        call_id=call_id, captured_us=captured_us, event_key=hash((captured_us, ends, text, agent)) & (2**64 - 1),
        received_us=captured_us, protocol=SIP, ip_proto=ip_proto,
        src_ip=ends[0][0], src_port=ends[0][1], dst_ip=ends[1][0], dst_port=ends[1][1],
        method=verb, status=status, cseq=cseq,
        from_user=caller, from_host="example.org", from_tag=from_tag,
        to_user=callee, to_host="example.org", to_tag=to_tag, user_agent=user_agent,
        codecs="PCMU,PCMA" if sdp else "", cause=0, agent=agent, correlation_id=call_id, node="ingest-1",
        payload=text.encode(),
    )  # fmt: skip


def answered_call(call_id: str = "call-1@test", *, start_ms: float = 0, caller_agent: str = "Phone 1.0") -> list[Event]:
    """A call that rang after 0.2 s, was answered after 3.2 s and released by the caller after 250 s of talk."""
    back = (BOB, ALICE)
    one = partial(message, call_id=call_id)
    return [
        one("INVITE", start_ms, sdp=OFFER, user_agent=caller_agent),
        one(100, start_ms + 20, ends=back),
        one(180, start_ms + 200, ends=back, to_tag="b"),
        one(200, start_ms + 3200, ends=back, to_tag="b", sdp=OFFER, user_agent="Desk 2.0"),
        one("ACK", start_ms + 3250, to_tag="b"),
        one("BYE", start_ms + 253_200, to_tag="b", cseq=2),
        one(200, start_ms + 253_230, ends=back, method="BYE", to_tag="b", cseq=2),
    ]


def busy_call(call_id: str, *, start_ms: float = 0, caller: str = "+49301") -> list[Event]:
    """A call that met a busy callee."""
    return [
        message("INVITE", start_ms, call_id=call_id, caller=caller),
        message(486, start_ms + 900, call_id=call_id, ends=(BOB, ALICE), to_tag="b", caller=caller),
        message("ACK", start_ms + 950, call_id=call_id, to_tag="b", caller=caller),
    ]


@dataclass
class ListStore:
    """A store in a list: slow and plain, by the same definitions."""

    events: list[Event] = field(default_factory=list)
    partial_since: float | None = None
    most_reports: int = 20_000

    def everything(self) -> list[CallRecord]:
        """Every call, newest first."""
        by_call: dict[str, list[Event]] = {}
        for event in self.events:
            by_call.setdefault(event.call_id, []).append(event)
        facts = {call_id: facts_of(events) for call_id, events in by_call.items()}
        records = [record_of(call_id, one) for call_id, one in facts.items() if is_call(one)]
        return sorted(records, key=lambda one: (one.start_us, one.call_id), reverse=True)

    async def search(self, wanted: CallFilter, *, limit: int, after: PageKey | None = None) -> CallPage:
        """One page."""
        matching = [one for one in self.everything() if _matches(one, wanted)]
        if after is not None:
            matching = [one for one in matching if (one.start_us, one.call_id) < tuple(after)]
        page = matching[:limit]
        more = len(matching) > limit
        key = PageKey(page[-1].start_us, page[-1].call_id) if more else None
        return CallPage(tuple(page), key, partial=self.partial_since is not None)

    async def call(self, call_id: str) -> CallRecord | None:
        """One call."""
        return next((one for one in self.everything() if one.call_id == call_id), None)

    async def records(self, call_ids: Sequence[str]) -> list[CallRecord]:
        """Some calls."""
        return [one for one in self.everything() if one.call_id in call_ids]

    async def messages(self, call_id: str) -> list[Event]:
        """Its messages."""
        found = {one.event_key: one for one in self.events if one.call_id == call_id}
        return sorted(found.values(), key=lambda one: (one.captured_us, one.event_key))

    async def reports(self, since_us: int, until_us: int) -> Reports:
        """The newest reports, at most `most_reports`, and all that was described."""
        found = [one for one in self.events if one.protocol == RTCP and since_us <= one.captured_us < until_us]
        found.sort(key=lambda one: (one.captured_us, one.event_key), reverse=True)
        described: dict[str, list[Described]] = {}
        for event in self.events:
            described.setdefault(event.call_id, []).extend(described_by([event]))
        is_cut = len(found) > self.most_reports
        low_us = found[self.most_reports].captured_us + 1 if is_cut else since_us
        return Reports(found[: self.most_reports], described, low_us, is_cut, self.partial_since is not None)

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """Attempts, answers and how calls ended are enough for a page."""
        within = [one for one in self.everything() if since_us <= one.start_us < until_us]
        answered = [one for one in within if one.answered_us]
        talk_s = sum(one.talk_s or 0 for one in answered)
        outcomes = Counter(str(one.outcome) for one in within if one.outcome)
        statuses = Counter(one.status for one in within if one.status and not one.answered_us)
        counts = KpiCounts(
            len(within), len(answered), outcomes=dict(outcomes), statuses=dict(statuses),
            talks=len(answered), talk_s=talk_s, pdd_p50_s=0.2, pdd_p95_s=1.4,
        )  # fmt: skip
        return kpis_of(counts if within else KpiCounts())

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """The same by steps."""
        starts = range(since_us, until_us, step_s * 1_000_000)
        return [KpiBucket(at, await self.kpis(at, at + step_s * 1_000_000)) for at in starts]

    async def top_failures(self, since_us: int, until_us: int, *, limit: int) -> list[FailedTarget]:
        """Callees and statuses, most often first."""
        within = [one for one in self.everything() if since_us <= one.start_us < until_us and not one.answered_us]
        found = Counter((one.callee, one.status) for one in within if one.status)
        return [FailedTarget(callee, status or 0, calls) for (callee, status), calls in found.most_common(limit)]


def services_with(
    events: Iterable[Event] = (),
    *,
    bus: MemoryBus | None = None,
    faults: Sequence[str] = (),
    gate: Gate | None = None,
    metrics: Callable[[], str] = lambda: "everline_received_total 12\n",
) -> Services:
    """What an application needs, around the events given."""
    return Services(
        store=ListStore(list(events)),
        bus=bus or MemoryBus(),
        metrics=metrics,
        ledger=lambda: PacketLedger(received=12, stored=10, rejected=1, dropped=0, pending=1),
        readiness=lambda: faults,
        node="node-1",
        gate=gate or gate_with(),
        clock=lambda: NOW,
    )


@dataclass
class ListAudit:
    """An audit log in a list."""

    kept: list[AuditEntry] = field(default_factory=list)

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Keep entries."""
        self.kept += entries

    async def entries(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """The latest."""
        return in_order(one for one in self.kept if before is None or one.seq < before)[-limit:]


def gate_with(
    *users: User, token: str = TOKEN, keys: str = KEY, book: Book | None = None, throttle: Throttle | None = None
) -> Gate:
    """A gate around the users given, whose password is `PASSWORD`."""

    def clock() -> float:
        return NOW

    leaves = {f"users/{one.name}": [one.encode(), 0] for one in users}
    kept = book or LocalBook(json.dumps(leaves))
    trail = Trail(kept, ListAudit(), node="node-1", clock=clock)
    return Gate(kept, trail, throttle or MemoryThrottle(), KeyRing.parse(keys), token, clock)


def user_of(role: Role, name: str = "") -> User:
    """A user with `PASSWORD`, of the name of the role unless given."""
    return User(name or role.value, role, PASSWORD_HASH)


def _matches(record: CallRecord, wanted: CallFilter) -> bool:
    """Equality is enough here: what a filter means in full is the store's own test."""
    exact = (
        (wanted.caller, (record.caller,)), (wanted.callee, (record.callee,)),
        (wanted.number, (record.caller, record.callee)), (wanted.call_id, (record.call_id,)),
        (wanted.state, (record.state,)), (wanted.outcome, (record.outcome,)), (wanted.status, (record.status,)),
        (wanted.ip, (record.src_ip, record.dst_ip)), (wanted.user_agent, (record.caller_agent, record.callee_agent)),
    )  # fmt: skip
    since, until = wanted.since_us or 0, wanted.until_us or record.start_us + 1
    return since <= record.start_us < until and all(value is None or value in having for value, having in exact)


def with_clock(services: Services, now: float) -> Services:
    """The same services at another time."""
    return replace(services, clock=lambda: now, gate=replace(services.gate, clock=lambda: now))

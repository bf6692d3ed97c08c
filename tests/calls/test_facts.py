"""The laws of facts: in whatever order, however often and wherever events are merged, the facts are the same."""

from collections.abc import Callable, Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.calls.dialogs import START_US, flow

from everline.calls.event import RTCP, SIP, SYNTHETIC, TIMEOUT_METHOD, Event
from everline.calls.facts import (
    FACTS,
    NAMES,
    NOTHING,
    Facts,
    Law,
    absorb,
    facts_of,
    freeze,
    index_of,
    is_call_event,
    merge,
)

# Few values of each kind, so that ties and repetitions are common: that is where an order could show.
TAGS = st.sampled_from(["", "a", "b"])
HOSTS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])
PORTS = st.sampled_from([5060, 5062])
NAMES_OF_USERS = st.sampled_from(["", "alice", "bob"])
EVENTS = st.builds(
    Event,
    call_id=st.just("one@call"),
    captured_us=st.integers(START_US, START_US + 4),
    event_key=st.integers(0, 5) | st.integers(0, 2**64 - 1),
    received_us=st.integers(0, 3),
    protocol=st.sampled_from([SIP, SIP, SIP, RTCP, SYNTHETIC]),
    ip_proto=st.just(17),
    src_ip=HOSTS,
    src_port=PORTS,
    dst_ip=HOSTS,
    dst_port=PORTS,
    method=st.sampled_from(
        ["INVITE", "INVITE", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", TIMEOUT_METHOD]
    ),
    status=st.sampled_from([0, 0, 100, 180, 183, 200, 202, 302, 401, 407, 408, 486, 487, 603]),
    cseq=st.integers(1, 3),
    from_user=NAMES_OF_USERS,
    from_host=NAMES_OF_USERS,
    from_tag=TAGS,
    to_user=NAMES_OF_USERS,
    to_host=NAMES_OF_USERS,
    to_tag=TAGS,
    user_agent=st.sampled_from(["", "Phone", "PBX"]),
    codecs=st.sampled_from(["", "PCMA/8000", "PCMA/8000,opus/48000"]),
    cause=st.sampled_from([0, 16, 17]),
    agent=st.sampled_from(["", "sbc-1", "7"]),
    correlation_id=st.just(""),
    node=st.sampled_from(["ingest-1", "ingest-2"]),
    payload=st.just(b""),
)
SOME_EVENTS = st.lists(EVENTS, max_size=8)
SOME_FACTS = SOME_EVENTS.map(facts_of)
RANDOMS = st.randoms(use_true_random=False)


def disordered(events: list[Event], random: Random) -> list[Event]:
    """The same events, some of them again, in another order."""
    again = events + [event for event in events if random.random() < 0.5]
    random.shuffle(again)
    return again


@given(SOME_EVENTS, RANDOMS)
def test_order_and_repetition_do_not_matter(events: list[Event], random: Random) -> None:
    """A datagram may come late, or twice by two ways."""
    assert facts_of(disordered(events, random)) == facts_of(events)


@given(SOME_EVENTS, RANDOMS)
def test_the_split_over_nodes_does_not_matter(events: list[Event], random: Random) -> None:
    """Any node may take any event; what each made of its share merges to the same."""
    shares: list[list[Event]] = [[], [], []]
    for event in disordered(events, random):
        random.choice(shares).append(event)
    first, second, third = map(facts_of, shares)

    assert merge(merge(first, second), third) == facts_of(events)


@given(SOME_FACTS, SOME_FACTS)
def test_merging_is_commutative(left: Facts, right: Facts) -> None:
    """Neither of two sides of a healed partition is the newer one."""
    assert merge(left, right) == merge(right, left)


@given(SOME_FACTS, SOME_FACTS, SOME_FACTS)
def test_merging_is_associative(one: Facts, two: Facts, three: Facts) -> None:
    """A store may merge its parts in the background as it likes."""
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(SOME_FACTS)
def test_merging_is_idempotent_and_nothing_is_neutral(facts: Facts) -> None:
    """A retry, a replayed spool or a mirrored node change nothing, and neither does a node that saw nothing."""
    assert merge(facts, facts) == facts
    assert merge(facts, NOTHING) == merge(NOTHING, facts) == facts


@given(SOME_FACTS, SOME_FACTS)
def test_merging_only_ever_adds(left: Facts, right: Facts) -> None:
    """What was merged in is in: merging it again changes nothing."""
    both = merge(left, right)

    assert merge(both, left) == merge(both, right) == both


@given(SOME_EVENTS, SOME_EVENTS)
def test_absorbing_an_event_is_merging_its_facts(before: list[Event], more: list[Event]) -> None:
    """The live state absorbs event by event, the store merges facts: both by the same laws."""
    values = [set(value) if isinstance(value, frozenset) else value for value in facts_of(before)]
    expected = facts_of(before)
    for event in more:
        if is_call_event(event):
            absorb(values, event)
        expected = merge(expected, facts_of([event]))

    assert freeze(values) == expected


@given(SOME_EVENTS, st.integers(0, 9), st.text(max_size=5))
def test_facts_hold_nothing_of_the_node_that_took_the_event(events: list[Event], received_us: int, node: str) -> None:
    """When and where it was received is not call data: two nodes with one datagram give one fact."""
    elsewhere = [event._replace(received_us=received_us, node=node) for event in events]

    assert facts_of(elsewhere) == facts_of(events)


@given(SOME_EVENTS)
def test_facts_can_be_compared_and_kept(events: list[Event]) -> None:
    """Each fact is a value: comparable within its kind, hashable, and of the type its law says."""
    facts = facts_of(events)

    hash(facts)
    for fact, value in zip(FACTS, facts, strict=True):
        assert value is None or isinstance(value, frozenset) == (fact.law is Law.UNION)


# --- negative control: the same property, and merges that are wrong ---------------------------------------------


def counted(events: Iterable[Event]) -> int:
    """How many events arrived: no fact, since one that arrives twice is counted twice."""
    return sum(1 for _ in events)


def last_seen(events: Iterable[Event]) -> object:
    """The status that arrived last: no fact, since arrival has no order."""
    return [event.status for event in events][-1:]


def first_caller(events: Iterable[Event]) -> object:
    """Who sent the earliest message, ties by arrival: no fact, since a tie must be decided by content."""
    return min(
        ((event.captured_us, number, event.from_tag) for number, event in enumerate(events)), default=(0, 0, "")
    )[2]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(counted, id="a-count"),
        pytest.param(last_seen, id="last-one-wins"),
        pytest.param(first_caller, id="ties-by-arrival"),
    ],
)
def test_a_merge_that_breaks_the_laws_is_found(wrong: Callable[[Iterable[Event]], object]) -> None:
    """The properties above can fail: on the same kind of events they tell wrong merges from facts."""
    found = 0
    for seed in range(50):
        random = Random(seed)
        events = flow("0 A>B INVITE\n0 B>A RE-INVITE\n1 B>A 180\n4 B>A 200\n4 A>B ACK\n9 A>B BYE")
        found += wrong(disordered(events, random)) != wrong(events)
        assert facts_of(disordered(events, random)) == facts_of(events)

    assert found > 10


# --- which events make facts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "method", "expected"),
    [
        pytest.param(SIP, "INVITE", True, id="invite"),
        pytest.param(SIP, "OPTIONS", True, id="options-may-be-within-a-call"),
        pytest.param(SIP, "REGISTER", False, id="register-never-is"),
        pytest.param(SIP, "PUBLISH", False, id="publish-never-is"),
        pytest.param(SYNTHETIC, TIMEOUT_METHOD, True, id="our-own-timeout"),
        pytest.param(RTCP, "RTCP", False, id="rtcp-is-kept-and-makes-no-facts"),
    ],
)
def test_which_events_make_facts(protocol: int, method: str, expected: bool) -> None:  # noqa: FBT001
    """An event that makes none changes nothing."""
    event = flow("0 A>B INVITE")[0]._replace(protocol=protocol, method=method)

    assert is_call_event(event) is expected
    assert (facts_of([event]) == NOTHING) is not expected


def fact(name: str, text: str) -> object:
    """One fact of a flow."""
    return facts_of(flow(text))[index_of(name)]


CHALLENGED = "0 A>B INVITE\n1 B>A 407\n2 A>B INVITE cseq=2\n3 B>A 180 cseq=2\n4 B>A 200 cseq=2"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(
            "first_us", "2 A>B INVITE\n1 B>A 100", START_US + 1_000_000, id="first-is-the-earliest-not-the-first-come"
        ),
        pytest.param("last_us", "2 A>B INVITE\n9 A>A TIMEOUT", START_US + 2_000_000, id="our-timeout-is-nothing-seen"),
        pytest.param("timeout_us", "2 A>B INVITE\n9 A>A TIMEOUT", START_US + 9_000_000, id="timeout"),
        pytest.param("invite_us", CHALLENGED, START_US, id="the-call-began-with-the-challenged-invite"),
        pytest.param("attempt", CHALLENGED, 2, id="the-second-attempt"),
        pytest.param("attempt", "0 A>B RE-INVITE cseq=7", None, id="a-re-invite-is-no-attempt"),
        pytest.param("response_us", CHALLENGED, START_US + 3_000_000, id="a-challenge-is-no-response-yet"),
        pytest.param("response_us", "0 B>A 100", None, id="nor-is-100"),
        pytest.param("ringing_us", "5 B>A 183\n6 B>A 180", START_US + 5_000_000, id="any-18x-is-ringing"),
        pytest.param("ringing_us", "5 B>A 199", None, id="199-is-not"),
        pytest.param(
            "answer", "4 B>A 200 ua=PBX\n5 B>A 200 ua=PBX", (START_US + 4_000_000, 200, "b", "PBX"), id="first-2xx"
        ),
        pytest.param("answer", "4 B>A 200/BYE", None, id="a-200-to-bye-is-no-answer"),
        pytest.param("ack_us", "4 A>B ACK", START_US + 4_000_000, id="ack"),
        pytest.param("bye", "9 B>A BYE cause=16\n9.1 A>B 200/BYE", (START_US + 9_000_000, "b", 16, "a"), id="bye"),
        pytest.param(
            "cancels",
            "8 A>B CANCEL\n8.1 B>A 200/CANCEL",
            frozenset({(START_US + 8_000_000, "192.0.2.1", 5060)}),
            id="cancels",
        ),
        pytest.param(
            "failures",
            "2 B>A 486 cause=17\n3 A>B ACK",
            frozenset({(1, START_US + 2_000_000, 486, "b", "192.0.2.1", 5060, 17)}),
            id="failures",
        ),
        pytest.param("codecs", "0 A>B INVITE codecs=x/1\n1 B>A 200 codecs=y/1", frozenset({"x/1", "y/1"}), id="codecs"),
        pytest.param("codecs", "0 A>B UPDATE codecs=x/1", None, id="codecs-of-invite-only"),
        pytest.param(
            "user_agents", "0 A>B INVITE ua=P\n1 B>A 200\n2 A>B BYE ua=Q", frozenset({"P", "Q"}), id="user-agents"
        ),
        pytest.param(
            "agents", "0 A>B INVITE agent=x\n1 B>A 200 agent=", frozenset({"x"}), id="agents-that-have-a-name"
        ),
    ],
)
def test_each_fact(name: str, text: str, expected: object) -> None:
    """What each fact is made of; what is not listed in its definition does not touch it."""
    assert fact(name, text) == expected


def test_who_is_the_first_initial_invite() -> None:
    """Before any response, before any re-INVITE, then the earliest: also when it arrives last or its clock is late."""
    late, early = flow("5 A>B INVITE\n6 A>B INVITE")
    others = flow("1 B>A 180\n2 B>A RE-INVITE\n7 A>B INVITE cseq=2")

    who = facts_of([*others, early, late])[index_of("who")]

    assert who[:4] == (0, "", late.captured_us, late.event_key)
    assert who[4:] == ("alice", "a.example", "bob", "b.example", "a", "192.0.2.1", 5060, "192.0.2.4", 5060, "")


def test_every_fact_has_a_name_of_its_own() -> None:
    """The store names its columns by them."""
    assert len(set(NAMES)) == len(NAMES) == len(NOTHING)

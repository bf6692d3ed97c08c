"""Call records: how each kind of call comes out, whatever the order in which its messages arrive."""

from itertools import chain
from random import Random

import pytest
from tests.calls.dialogs import CALL_ID, START_US, disordered, flow, merged_from_parts

from everline.calls.event import Event
from everline.calls.facts import facts_of
from everline.calls.record import CallRecord, Outcome, State, is_call, is_challenge, outcome_of_status, record_of

# Parts that many flows share. A calls B directly, or through proxy P.
RING = "0 A>B INVITE\n0.1 B>A 100\n1 B>A 180"
TALK = f"{RING}\n4 B>A 200\n4.1 A>B ACK"
PROXIED = "0 A>P INVITE\n0.01 P>A 100\n0.1 P>B INVITE\n1 B>P 180\n1.1 P>A 180"
CHALLENGED = "0 A>P INVITE\n0.1 P>A 407\n0.2 A>P ACK"
RETRIED = f"{CHALLENGED}\n0.3 A>P INVITE cseq=2\n0.4 P>A 100 cseq=2"


def record(text: str) -> CallRecord:
    """The record of a flow."""
    return record_of(CALL_ID, facts_of(flow(text)))


def summary(one: CallRecord) -> str:
    """A record in words: outcome, status, end and who released, or the state while it lasts."""
    if one.outcome is None:
        assert one.ended_us is None
        assert one.state is not State.ENDED
        return one.state.value
    assert one.ended_us is not None
    assert one.state is State.ENDED
    by = f" by {one.released_by}" if one.released_by else ""
    return f"{one.outcome} {one.status or '-'} at {(one.ended_us - START_US) / 1e6:g}{by}"


CASES = {
    # Answered.
    "released-by-the-caller": (f"{TALK}\n34 A>B BYE cseq=2\n34.1 B>A 200/BYE", "answered 200 at 34 by caller"),
    "released-by-the-callee": (f"{TALK}\n34 B>A BYE\n34.1 A>B 200/BYE", "answered 200 at 34 by callee"),
    "bye-from-both-sides-at-once": (
        f"{TALK}\n34 B>A BYE\n34.01 A>B BYE\n34.1 A>B 200/BYE\n34.1 B>A 200/BYE", "answered 200 at 34 by callee",
    ),
    "bye-sent-again": (f"{TALK}\n34 A>B BYE\n34.5 A>B BYE\n35.5 A>B BYE", "answered 200 at 34 by caller"),
    "bye-challenged": (
        f"{TALK}\n34 A>B BYE cseq=2\n34.1 B>A 407/BYE cseq=2\n34.2 A>B BYE cseq=3\n34.3 B>A 200/BYE cseq=3",
        "answered 200 at 34 by caller",
    ),
    "early-media": ("0 A>B INVITE\n1 B>A 183\n4 B>A 200\n4.1 A>B ACK\n9 A>B BYE", "answered 200 at 9 by caller"),
    "still-talking": (TALK, "answered"),
    "cancel-came-too-late": (f"{TALK}\n3.9 A>B CANCEL\n4.2 A>B BYE", "answered 200 at 4.2 by caller"),
    "hold-and-resume": (
        f"{TALK}\n10 A>B RE-INVITE cseq=2\n10.1 B>A 200 cseq=2\n10.2 A>B ACK cseq=2\n"
        "20 A>B RE-INVITE cseq=3\n20.1 B>A 200 cseq=3\n20.2 A>B ACK cseq=3\n34 A>B BYE cseq=4",
        "answered 200 at 34 by caller",
    ),
    "re-invite-by-the-callee": (
        f"{TALK}\n10 B>A RE-INVITE cseq=7\n10.1 A>B 200 cseq=7\n10.2 B>A ACK cseq=7\n34 B>A BYE cseq=8",
        "answered 200 at 34 by callee",
    ),
    "re-invite-refused": (
        f"{TALK}\n10 A>B RE-INVITE cseq=2\n10.1 B>A 488 cseq=2\n10.2 A>B ACK cseq=2", "answered",
    ),
    "re-invite-refused-then-released": (
        f"{TALK}\n10 A>B RE-INVITE cseq=2\n10.1 B>A 488 cseq=2\n34 B>A BYE", "answered 200 at 34 by callee",
    ),
    "update-prack-and-refer": (
        "0 A>B INVITE\n1 B>A 183\n1.1 A>B PRACK cseq=2\n1.2 B>A 200/PRACK cseq=2\n2 B>A UPDATE\n2.1 A>B 200/UPDATE\n"
        "4 B>A 200\n4.1 A>B ACK\n20 B>A REFER\n20.1 A>B 202/REFER\n20.2 A>B NOTIFY\n34 A>B BYE",
        "answered 200 at 34 by caller",
    ),
    "forked-and-one-answers": (
        "0 A>P INVITE\n0.1 P>B INVITE\n0.1 P>C INVITE\n1 B>P 180\n1.1 P>A 180 tag=b\n1.5 C>P 183\n1.6 P>A 183 tag=c\n"
        "4 C>P 200\n4.1 P>A 200 tag=c\n4.2 P>B CANCEL\n4.3 B>P 200/CANCEL\n4.4 B>P 487\n4.5 P>B ACK\n"
        "5 A>C ACK\n34 C>A BYE",
        "answered 200 at 34 by callee",
    ),
    "tried-one-after-the-other": (
        "0 A>P INVITE\n0.1 P>B INVITE\n20 B>P 408\n20.1 P>C INVITE\n24 C>P 200\n24.1 P>A 200 tag=c\n34 A>C BYE",
        "answered 200 at 34 by caller",
    ),
    "challenged-and-then-answered": (
        f"{RETRIED}\n4 P>A 200 cseq=2\n4.1 A>P ACK cseq=2\n34 A>P BYE cseq=3", "answered 200 at 34 by caller",
    ),
    "challenged-and-talking": (f"{RETRIED}\n4 P>A 200 cseq=2\n4.1 A>P ACK cseq=2", "answered"),
    # Not answered.
    "busy": (f"{RING}\n2 B>A 486 cause=17\n2.1 A>B ACK", "busy 486 at 2"),
    "busy-everywhere": (f"{RING}\n2 B>A 600\n2.1 A>B ACK", "busy 600 at 2"),
    "busy-said-again-and-again": (f"{RING}\n2 B>A 486\n2.5 B>A 486\n3.5 B>A 486\n3.6 A>B ACK", "busy 486 at 2"),
    "busy-through-a-proxy": (f"{PROXIED}\n2 B>P 486\n2.01 P>B ACK\n2.1 P>A 486\n2.2 A>P ACK", "busy 486 at 2.1"),
    "cancelled": (
        f"{RING}\n8 A>B CANCEL\n8.1 B>A 200/CANCEL\n8.2 B>A 487\n8.3 A>B ACK", "cancelled 487 at 8.2 by caller",
    ),
    "cancelled-and-no-487-seen": (f"{RING}\n8 A>B CANCEL\n8.1 B>A 200/CANCEL", "cancelled - at 8 by caller"),
    "cancelled-through-a-proxy": (
        f"{PROXIED}\n8 A>P CANCEL\n8.1 P>A 200/CANCEL\n8.1 P>B CANCEL\n8.2 B>P 200/CANCEL\n8.3 B>P 487\n8.4 P>A 487",
        "cancelled 487 at 8.4 by caller",
    ),
    "bye-before-the-answer": (f"{RING}\n3 A>B BYE\n3.1 B>A 200/BYE\n3.2 B>A 487", "cancelled 487 at 3.2 by caller"),
    "bye-before-the-answer-and-no-487-seen": (f"{RING}\n3 A>B BYE\n3.1 B>A 200/BYE", "cancelled - at 3 by caller"),
    "no-answer-by-timeout": (f"{RING}\n30 B>A 408", "no_answer 408 at 30"),
    "no-answer-by-the-phone": (f"{RING}\n30 B>A 480 cause=19", "no_answer 480 at 30"),
    "no-answer-by-the-timer-of-a-proxy": (
        f"{PROXIED}\n20 P>B CANCEL\n20.1 B>P 200/CANCEL\n20.2 B>P 487\n20.3 P>B ACK\n20.4 P>A 408\n20.5 A>P ACK",
        "no_answer 408 at 20.4",
    ),
    "the-cancel-of-a-proxy-alone-ends-nothing": (f"{PROXIED}\n20 P>B CANCEL\n20.1 B>P 200/CANCEL", "ringing"),
    "rejected": (f"{RING}\n2 B>A 603", "rejected 603 at 2"),
    "unwanted": (f"{RING}\n2 B>A 607", "rejected 607 at 2"),
    "redirected": (f"{RING}\n2 B>A 302\n2.1 A>B ACK", "redirected 302 at 2"),
    "redirected-and-tried-again": (f"{RING}\n2 B>A 302\n2.1 A>B ACK\n2.2 A>C INVITE cseq=2\n3 C>A 180", "ringing"),
    "not-found": ("0 A>B INVITE\n0.1 B>A 404", "failed 404 at 0.1"),
    "forked-and-the-caller-is-told-one": (
        "0 A>P INVITE\n0.1 P>B INVITE\n0.1 P>C INVITE\n2 B>P 486\n3 C>P 480\n3.1 P>A 486 tag=b\n3.2 A>P ACK",
        "busy 486 at 3.1",
    ),
    "only-the-far-side-of-a-proxy-seen": ("0.1 P>B INVITE\n1 B>P 180\n2 B>P 486\n2.1 P>B ACK", "busy 486 at 2"),
    "refused-and-only-the-response-seen": ("2 B>A 486", "busy 486 at 2"),
    "challenged-and-given-up": (CHALLENGED, "failed 407 at 0.1"),
    "challenged-and-still-going-on": (RETRIED, "trying"),
    "challenged-and-ringing": (f"{RETRIED}\n1 P>A 180 cseq=2", "ringing"),
    "challenged-and-then-busy": (f"{RETRIED}\n2 P>A 486 cseq=2", "busy 486 at 2"),
    "challenged-twice": (f"{RETRIED}\n0.5 P>A 407 cseq=2", "failed 407 at 0.5"),
    "challenged-and-cancelled-without-487": (f"{RETRIED}\n5 A>P CANCEL cseq=2", "cancelled - at 5 by caller"),
    # Parts of a call lost.
    "bye-lost": (TALK, "answered"),
    "bye-lost-and-given-up": (f"{TALK}\n7000 A>A TIMEOUT", "timed_out 200 at 7000"),
    "bye-after-it-was-given-up": (f"{TALK}\n7000 A>A TIMEOUT\n8000 A>B BYE", "answered 200 at 8000 by caller"),
    "bye-that-arrived-late": (f"{TALK}\n34 A>B BYE\n7000 A>A TIMEOUT", "answered 200 at 34 by caller"),
    "heard-of-again-after-it-was-given-up": (f"{TALK}\n7000 A>A TIMEOUT\n7200 A>B UPDATE cseq=2", "answered"),
    "given-up-twice": (f"{TALK}\n7000 A>A TIMEOUT\n7200 A>B UPDATE\n9000 A>A TIMEOUT", "timed_out 200 at 9000"),
    "end-of-a-ringing-call-lost": (f"{RING}\n300 A>A TIMEOUT", "timed_out - at 300"),
    "answer-lost-and-ack-seen": ("0 A>B INVITE\n1 B>A 180\n4.1 A>B ACK\n34 A>B BYE", "answered - at 34 by caller"),
    "answer-lost-and-the-callee-releases": (f"{RING}\n34 B>A BYE", "answered - at 34 by callee"),
    "answer-lost-after-a-challenge": (f"{RETRIED}\n4 A>P ACK cseq=2\n9 A>P BYE cseq=3", "answered - at 9 by caller"),
    "answer-seen-before-its-invite": (
        "0.2 A>B INVITE\n0.1 B>A 200\n4.1 A>B ACK\n34 A>B BYE", "answered 200 at 34 by caller",
    ),
    "invite-lost": ("1 B>A 180\n4 B>A 200\n4.1 A>B ACK\n34 B>A BYE", "answered 200 at 34 by callee"),
    "only-the-middle-seen": (
        "100 A>B RE-INVITE cseq=2\n100.1 B>A 200 cseq=2\n134 B>A BYE", "answered 200 at 134 by callee",
    ),
    "only-a-refused-re-invite-seen": (
        "100 A>B RE-INVITE cseq=2\n100.1 B>A 488 cseq=2\n100.2 A>B ACK cseq=2\n134 A>B BYE cseq=3",
        "answered - at 134 by caller",
    ),
    "only-a-refused-re-invite-and-no-bye-seen": ("100 A>B RE-INVITE cseq=2\n100.1 B>A 491 cseq=2", "trying"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_how_a_call_comes_out(text: str, expected: str) -> None:
    """The outcome, the final response, when it ended and who released it."""
    assert summary(record(text)) == expected


@pytest.mark.parametrize("text", [text for text, _ in CASES.values()], ids=CASES.keys())
def test_the_order_of_arrival_does_not_matter(text: str) -> None:
    """Messages come late, twice, and to several nodes: the whole record is the same, field by field."""
    events, random = flow(text), Random(text)
    expected = record(text)

    for _ in range(30):
        assert record_of(CALL_ID, facts_of(disordered(events, random))) == expected
        assert record_of(CALL_ID, merged_from_parts(disordered(events, random), random)) == expected


def test_the_order_of_arrival_matters_to_a_record_that_takes_the_last_message() -> None:
    """The test above can fail: a record that trusts arrival does."""
    events, random = flow(CASES["cancelled"][0]), Random(1)

    def last_wins(seen: list[Event]) -> tuple[int, int]:
        return seen[-1].status, len(seen)

    assert {last_wins(disordered(events, random)) for _ in range(30)} != {last_wins(events)}


# --- the other fields --------------------------------------------------------------------------------------------


def test_times_of_an_answered_call() -> None:
    """Each time is that of the first message that says it; durations follow (RFC 6076 for SRD, ours for PDD)."""
    got = record(f"{TALK}\n5 B>A 200\n34 A>B BYE\n34.1 B>A 200/BYE")

    times = (got.start_us, got.invite_us, got.response_us, got.ringing_us, got.answered_us, got.ended_us)
    assert [(at or 0) - START_US for at in times] == [0, 0, 1_000_000, 1_000_000, 4_000_000, 34_000_000]
    assert (got.first_us - START_US, got.last_us - START_US) == (0, 34_100_000)
    assert (got.talk_s, got.pdd_s, got.srd_s) == (30.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "talk_s", "pdd_s", "srd_s"),
    [
        pytest.param(RING, None, 1.0, 1.0, id="ringing"),
        pytest.param(f"{RING}\n2 B>A 486", None, 1.0, 1.0, id="busy"),
        pytest.param("0 A>B INVITE\n0.1 B>A 100", None, None, None, id="a-100-is-no-response-one-could-notice"),
        pytest.param(f"{RETRIED}\n3 P>A 183 cseq=2", None, 3.0, 3.0, id="nor-is-a-challenge"),
        pytest.param("0 A>B INVITE\n0.5 B>A 404", None, None, 0.5, id="a-failure-is-one-and-rings-nothing"),
        pytest.param("4 B>A 200\n34 A>B BYE", 30.0, None, None, id="invite-lost"),
        pytest.param("0 A>B INVITE\n34 B>A BYE", None, None, None, id="answer-lost"),
        pytest.param("2 A>B INVITE\n1 B>A 180\n4 B>A 200\n3 A>B BYE", None, None, None, id="clocks-that-disagree"),
        pytest.param(f"{TALK}\n7000 A>A TIMEOUT", None, 1.0, 1.0, id="nobody-knows-how-long-they-talked"),
    ],
)
def test_durations_are_none_where_an_end_is_unknown(
    text: str, talk_s: float | None, pdd_s: float | None, srd_s: float | None
) -> None:
    """No duration is ever negative or made up."""
    got = record(text)

    assert (got.talk_s, got.pdd_s, got.srd_s) == (talk_s, pdd_s, srd_s)


def test_a_call_over_midnight_is_one_call() -> None:
    """2023-11-15 00:00:00 UTC is 6,400 seconds after its start."""
    got = record(f"{TALK}\n7000 A>B BYE")

    assert (got.ended_us or 0) - got.start_us == 7_000_000_000
    assert got.talk_s == 6996.0


def test_caller_and_callee() -> None:
    """From and To of the first INVITE, whoever sends the later ones; addresses are those of its hop."""
    for text in (f"{PROXIED}\n10 B>A RE-INVITE cseq=7", "0.01 P>A 100\n1 B>P 180\n1.1 P>A 180"):
        got = record(text)

        assert (got.caller, got.caller_uri) == ("alice", "sip:alice@a.example")
        assert (got.callee, got.callee_uri) == ("bob", "sip:bob@b.example")
        assert (got.src_ip, got.src_port, got.dst_ip, got.dst_port) == ("192.0.2.1", 5060, "192.0.2.2", 5060)


def test_who_has_no_user_is_known_by_the_host() -> None:
    """Trunks call without a user part."""
    event = flow("0 A>B INVITE")[0]._replace(from_user="", to_user="")

    got = record_of(CALL_ID, facts_of([event]))

    assert (got.caller, got.caller_uri, got.callee, got.callee_uri) == (
        "a.example", "sip:a.example", "b.example", "sip:b.example",
    )  # fmt: skip


def test_user_agents_codecs_causes_and_agents() -> None:
    """What the caller offered and the callee answered, the cause of the end, and every agent that saw it."""
    got = record(
        "0 A>B INVITE ua=Phone codecs=PCMA/8000,opus/48000 agent=sbc-2\n4 B>A 200 ua=PBX codecs=PCMA/8000 agent=sbc-1\n"
        "34 A>B BYE cause=16 ua=Phone agent=sbc-1"
    )

    assert (got.caller_agent, got.callee_agent) == ("Phone", "PBX")
    assert got.codecs == ("PCMA/8000", "opus/48000")
    assert (got.cause, got.agents) == (16, ("sbc-1", "sbc-2"))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(f"{RING}\n2 B>A 486 cause=17", 17, id="failure"),
        pytest.param(f"{TALK}\n34 B>A BYE cause=16", 16, id="bye"),
        pytest.param(f"{RING}\n8 A>B CANCEL cause=16", 0, id="cancel-says-nothing-of-the-line"),
        pytest.param(f"{RING}\n1.5 B>A 183 cause=127", 0, id="not-over"),
    ],
)
def test_cause_is_that_of_the_end(text: str, cause: int) -> None:
    """Q.850, from the Reason header (RFC 3326)."""
    assert record(text).cause == cause


def test_messages_are_counted_by_what_they_are() -> None:
    """A datagram that arrives twice is one, a retransmission is another, one seen at two points is two."""
    events = flow(f"{RING}\n2 B>A 486\n2.5 B>A 486\n2 P>A 486")

    assert record_of(CALL_ID, facts_of(chain(events, events, events))).messages == 6


# --- what is a call, what a status means -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "NOTIFY", "INFO", "BYE"])
def test_only_an_invite_makes_a_call(method: str) -> None:
    """Other methods with a Call-ID of their own give no record."""
    facts = facts_of(flow(f"0 A>B {method}\n0.1 B>A 200/{method}"))

    assert not is_call(facts)
    with pytest.raises(ValueError, match="no INVITE transaction was seen of 'a84b"):
        record_of(CALL_ID, facts)


def test_a_timeout_alone_makes_no_call() -> None:
    """Our own event closes calls and opens none."""
    assert not is_call(facts_of(flow("0 A>A TIMEOUT")))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, Outcome.REDIRECTED) for status in (300, 301, 302, 380, 399)),
        *((status, Outcome.BUSY) for status in (486, 600)),
        (487, Outcome.CANCELLED),
        *((status, Outcome.NO_ANSWER) for status in (408, 480)),
        *((status, Outcome.REJECTED) for status in (603, 607, 608)),
        *((status, Outcome.FAILED) for status in (400, 401, 403, 404, 407, 481, 488, 500, 503, 504, 604, 606, 699)),
    ],
)
def test_outcome_of_status(status: int, outcome: Outcome) -> None:
    """RFC 3261 section 21, RFC 8197 (607), RFC 8688 (608)."""
    assert outcome_of_status(status) is outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(CHALLENGED, True, id="challenged"),
        pytest.param(CHALLENGED.replace("407", "401"), True, id="challenged-by-the-callee"),
        pytest.param(RETRIED, False, id="retried"),
        pytest.param(CHALLENGED.replace("407", "403"), False, id="refused"),
    ],
)
def test_is_challenge(text: str, expected: bool) -> None:  # noqa: FBT001
    """So far it ended in a challenge: most callers try again at once, so a live view waits with it."""
    assert is_challenge(record(text)) is expected

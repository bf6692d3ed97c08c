"""The ladder: what is one arrow, what is a repeat, and what lies between which addresses."""

import time
from collections.abc import Sequence

import pytest
from tests.app.calls_for_test import ALICE, BOB, CAROL, HOLD, OFFER, PROXY, answered_call, message

from everline.calls.event import RTCP, Event
from everline.calls.ladder import Phase, Role, ladder_of, phrase

IN_DIALOG = {"to_tag": "b"}


@pytest.mark.parametrize(
    ("sightings", "rows"),
    [
        pytest.param([(0, "a"), (500, "a"), (1500, "a")], [(2, 1)], id="sent-again-is-a-retransmission"),
        pytest.param([(0, "a"), (3, "b")], [(0, 2)], id="two-capture-points-saw-one-message"),
        pytest.param([(0, "a"), (3, "b"), (500, "a"), (503, "b")], [(1, 2)], id="both-points-saw-both-transmissions"),
        pytest.param([(0, "a"), (500, "a"), (700, "b"), (900, "b")], [(1, 2)], id="a-late-point-pairs-in-order"),
        pytest.param([(0, "a"), (1001, "b")], [(1, 2)], id="more-than-a-second-apart-is-sent-again"),
        pytest.param([(0, ""), (3, "")], [(1, 1)], id="mirrored-sip-has-no-agent-to-tell-points-apart"),
    ],
)
def test_one_message_is_one_row(sightings: Sequence[tuple[int, str]], rows: list[tuple[int, int]]) -> None:
    """Same addresses and same bytes: one row with its repeats and its capture points."""
    ladder = ladder_of([message("INVITE", at, agent=agent) for at, agent in sightings])

    assert [(row.repeats, row.seen_by) for row in ladder.rows] == rows


def test_rows_say_what_when_and_between_whom() -> None:
    """An answered call, arrow by arrow."""
    ladder = ladder_of(answered_call())

    assert [(row.number, row.source, row.target, row.label, row.since_ms, row.has_sdp) for row in ladder.rows] == [
        (1, 0, 1, "INVITE", 0.0, True),
        (2, 1, 0, "100 Trying", 20.0, False),
        (3, 1, 0, "180 Ringing", 200.0, False),
        (4, 1, 0, "200 OK", 3200.0, True),
        (5, 0, 1, "ACK", 3250.0, False),
        (6, 0, 1, "BYE", 253_200.0, False),
        (7, 1, 0, "200 OK", 253_230.0, False),
    ]
    assert [(one.address, one.role, one.alias) for one in ladder.columns] == [
        ("192.0.2.1:5060", Role.CALLER, "Phone 1.0"),
        ("198.51.100.7:5062", Role.CALLEE, "Desk 2.0"),
    ]


def test_columns_follow_the_path_even_when_clocks_do_not() -> None:
    """The second hop is stamped before the first: the proxy still stands between its neighbours."""
    ladder = ladder_of([message("INVITE", 0, ends=(PROXY, BOB)), message("INVITE", 5, ends=(ALICE, PROXY))])

    assert [one.address for one in ladder.columns] == ["192.0.2.1:5060", "192.0.2.9:5060", "198.51.100.7:5062"]
    assert [one.role for one in ladder.columns] == [Role.CALLER, Role.PROXY, Role.CALLEE]


def test_forks_are_numbered_and_stand_side_by_side() -> None:
    """One INVITE to two places: two branches, two early dialogs, two colours."""
    ladder = ladder_of([
        message("INVITE", 0, ends=(ALICE, PROXY)),
        message("INVITE", 1, ends=(PROXY, BOB)),
        message("INVITE", 2, ends=(PROXY, CAROL)),
        message(180, 3, ends=(BOB, PROXY), to_tag="b"),
        message(180, 4, ends=(CAROL, PROXY), to_tag="c"),
    ])  # fmt: skip

    assert [row.branch for row in ladder.rows] == [0, 1, 2, 0, 0]
    assert [row.dialog for row in ladder.rows] == [0, 0, 0, 1, 2]
    assert [one.address for one in ladder.columns][2:] == ["198.51.100.7:5062", "198.51.100.8:5060"]


def test_a_failure_and_its_ack_make_no_dialog() -> None:
    """A challenge carries a tag, and no dialog comes of it (RFC 3261 section 12.1)."""
    ladder = ladder_of([
        message("INVITE", 0),
        message(407, 1, ends=(BOB, ALICE), to_tag="x"),
        message("ACK", 2, to_tag="x"),
    ])  # fmt: skip

    assert [row.dialog for row in ladder.rows] == [0, 0, 0]


def test_both_directions_are_one_dialog() -> None:
    """A BYE from the callee swaps the tags."""
    ladder = ladder_of([
        message(200, 0, ends=(BOB, ALICE), to_tag="b"),
        message("BYE", 1, ends=(BOB, ALICE), from_tag="b", to_tag="a"),
    ])  # fmt: skip

    assert [row.dialog for row in ladder.rows] == [1, 1]


@pytest.mark.parametrize(
    ("later", "phases"),
    [
        pytest.param([("INVITE", 2, OFFER), (200, 2, ""), ("ACK", 2, ""), ("INFO", 3, "")],
                     [Phase.REINVITE] * 3 + [Phase.PLAIN], id="re-invite-to-its-ack"),
        pytest.param([("INVITE", 2, HOLD), (200, 2, ""), ("INFO", 3, "")],
                     [Phase.HOLD] * 3, id="hold-lasts"),
        pytest.param([("INVITE", 2, HOLD), (200, 2, ""), ("INVITE", 3, OFFER), ("INFO", 4, "")],
                     [Phase.HOLD, Phase.HOLD, Phase.REINVITE, Phase.PLAIN], id="until-it-is-taken-back"),
        pytest.param([("INVITE", 2, HOLD), (488, 2, ""), ("INFO", 3, "")],
                     [Phase.HOLD, Phase.REINVITE, Phase.PLAIN], id="a-refused-hold-is-none"),
        pytest.param([("INFO", 2, ""), ("BYE", 3, "")], [Phase.PLAIN] * 2, id="a-plain-call"),
    ],
)  # fmt: skip
def test_hold_and_re_invite(later: Sequence[tuple[str | int, int, str]], phases: list[Phase]) -> None:
    """A dialog is on hold by its last offer that was not refused."""
    start = [message("INVITE", 0, sdp=OFFER), message(200, 1, ends=(BOB, ALICE), to_tag="b")]
    rest = [
        message(
            what, 10 + at, to_tag="b", cseq=cseq, sdp=sdp, ends=(BOB, ALICE) if isinstance(what, int) else (ALICE, BOB)
        )
        for at, (what, cseq, sdp) in enumerate(later)
    ]

    ladder = ladder_of([*start, *rest])

    assert [row.phase for row in ladder.rows[2:]] == phases


def test_reports_are_counted_not_drawn() -> None:
    """RTCP would bury the signalling."""
    report = message("INVITE", 5)._replace(protocol=RTCP)

    ladder = ladder_of([message("INVITE", 0), report])

    assert (len(ladder.rows), ladder.reports) == (1, 1)


def test_nothing_gives_an_empty_ladder() -> None:
    """No message, no column."""
    ladder = ladder_of([])

    assert (ladder.rows, ladder.columns, ladder.reports) == ((), (), 0)


@pytest.mark.parametrize("kind", ["all-different", "one-message-again-and-again", "one-message-from-many-agents"])
def test_many_messages_take_linear_time(kind: str) -> None:
    """Twice as many messages must not take four times as long; a hostile call is no exception."""

    def made(count: int) -> list[Event]:
        if kind == "all-different":
            return [message("INFO", at, cseq=at, to_tag="b") for at in range(count)]
        return [
            message("INVITE", at, agent="a" if kind.endswith("again") or at < count // 2 else str(at))
            for at in range(count)
        ]

    def seconds(events: list[Event]) -> float:
        return min(timed(events) for _ in range(3))  # What else the machine does only ever adds to it.

    def timed(events: list[Event]) -> float:
        start = time.process_time()
        ladder_of(events)
        return time.process_time() - start

    assert seconds(made(20_000)) < 10 * max(seconds(made(5_000)), 0.01)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (180, "Ringing"),
        (486, "Busy Here"),
        (503, "Service Unavailable"),
        (499, "Client Error"),
        (299, "Success"),
        (42, "Unknown"),
    ],
)
def test_phrase(status: int, words: str) -> None:
    """A registered status has its phrase, another that of its class (RFC 3261 section 8.1.3.2)."""
    assert phrase(status) == words

"""Who reaches for the seat first, and who gives it up: rules as tables."""

import pytest

from everline.cluster.candidacy import (
    Candidate,
    LastTerm,
    Reason,
    Standing,
    Term,
    encode_term,
    parse_candidate,
    parse_last,
    parse_term,
    patience_s,
    reason_to_leave,
    why_empty,
)

READY, DRAINED, UNHEALTHY, HELD = Standing.READY, Standing.DRAINED, Standing.UNHEALTHY, Standing.HELD_DOWN


def candidate(standing: Standing = READY, priority: int = 0, node: str = "me") -> Candidate:
    """One of them."""
    return Candidate(node, "app", "north", priority, standing)


def other(standing: Standing = READY, priority: int = 0) -> Candidate:
    """Another."""
    return candidate(standing, priority, "other")


@pytest.mark.parametrize(
    ("me", "others", "expected"),
    [
        pytest.param(candidate(), [other()], None, id="a-fit-leader-stays"),
        pytest.param(candidate(DRAINED), [other()], Reason.DRAINED, id="a-drained-one-leaves-to-a-ready-one"),
        pytest.param(candidate(UNHEALTHY), [other()], Reason.UNHEALTHY, id="an-unhealthy-one-too"),
        pytest.param(candidate(UNHEALTHY), [other(UNHEALTHY), other(DRAINED), other(HELD)], None,
                     id="if-nobody-is-ready-it-stays"),
        pytest.param(candidate(DRAINED), [], None, id="the-only-one-stays"),
        pytest.param(candidate(DRAINED), [candidate(READY)], None, id="its-own-earlier-self-is-nobody-else"),
        pytest.param(candidate(DRAINED), [other(READY, 1)], Reason.DRAINED, id="a-witness-is-better-than-nobody"),
        pytest.param(candidate(READY, 1), [other()], Reason.PREFERRED, id="a-witness-leaves-to-an-app-node"),
        pytest.param(candidate(READY, 1), [other(READY, 1)], None, id="but-not-to-another-witness"),
        pytest.param(candidate(READY, 1), [other(UNHEALTHY)], None, id="nor-to-a-sick-app-node"),
    ],
)  # fmt: skip
def test_why_a_leader_gives_the_seat_up(me: Candidate, others: list[Candidate], expected: Reason | None) -> None:
    """Only while somebody better stands by."""
    assert reason_to_leave(me, others) == expected


def test_the_fitter_reaches_sooner() -> None:
    """Whoever is ready comes before everybody who is not, and an app node before a witness."""
    order = [candidate(), candidate(READY, 1), candidate(DRAINED), candidate(UNHEALTHY, 1)]
    waits = [patience_s(one, [other()]) for one in order]

    assert waits == sorted(set(waits))
    assert waits[0] == 0
    assert patience_s(candidate(READY, 5), [other()]) < patience_s(candidate(HELD), [other()])


def test_one_that_is_not_fit_does_not_wait_for_nobody() -> None:
    """The others are as unfit, or it is alone."""
    for others in ([], [other(DRAINED)], [candidate(READY)]):
        assert patience_s(candidate(UNHEALTHY), others) == 0


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(None, Reason.FIRST, id="nobody-led-before"),
        pytest.param(LastTerm("a"), Reason.SESSION_LOST, id="it-never-said-that-it-leaves"),
        pytest.param(LastTerm("a", Reason.DRAINED), Reason.DRAINED, id="it-said-why"),
        pytest.param(LastTerm("a", "a word of a later version"), Reason.SESSION_LOST, id="it-said-something-unknown"),
    ],
)
def test_why_the_seat_is_empty(last: LastTerm | None, expected: Reason) -> None:
    """For the failover log."""
    assert why_empty(last) is expected


def test_what_is_written_is_read() -> None:
    """Each of the three znodes."""
    term = Term(7, "a", "app", "north", Reason.FIRST, 1, 2, "b")

    assert parse_term(encode_term(term), 7) == term
    assert parse_candidate(candidate(DRAINED, 1).encode()) == candidate(DRAINED, 1)
    assert parse_last(LastTerm("a", "drained").encode()) == LastTerm("a", "drained")


@pytest.mark.parametrize("data", [b"", b"\xff", b"null", b"[]", b"{}", b'{"node": 1}', b'"text"'])
def test_what_somebody_else_wrote_is_nothing(data: bytes) -> None:
    """Keeper may be shared."""
    assert [parse_term(data, 1), parse_candidate(data), parse_last(data)] == [None] * 3

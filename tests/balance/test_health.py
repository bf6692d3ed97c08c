"""Members are left in time, let in with care, and never all left at once because the balancer itself is cut off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.balance.health import (
    CALM_S,
    FIRST_HOLD_S,
    LONGEST_HOLD_S,
    PROBE_EVERY_S,
    Health,
    MemberHealth,
    Standing,
)

STEPS = {"+": MemberHealth.answered, "-": MemberHealth.missed, "!": MemberHealth.refused}


def after(story: str) -> MemberHealth:
    """A member after probes every 200 ms: + answered, - missed, ! refused by its host."""
    member = MemberHealth()
    for number, step in enumerate(story.replace(" ", "")):
        STEPS[step](member, number * PROBE_EVERY_S)
    return member


def end(story: str) -> float:
    """When the last probe was."""
    return (len(story.replace(" ", "")) - 1) * PROBE_EVERY_S


@pytest.mark.parametrize(
    ("story", "standing"),
    [
        pytest.param("", Standing.IN, id="at-first-it-is-believed"),
        pytest.param("--", Standing.IN, id="two-misses-are-no-death"),
        pytest.param("--+--", Standing.IN, id="an-answer-between-begins-anew"),
        pytest.param("---", Standing.SILENT, id="three-are"),
        pytest.param("+!", Standing.REFUSING, id="a-refusal-is-at-once"),
        pytest.param("!-", Standing.REFUSING, id="silence-does-not-revive-what-refused"),
        pytest.param("---+", Standing.SILENT, id="one-answer-is-not-enough"),
        pytest.param("---+-+", Standing.SILENT, id="two-apart-neither"),
        pytest.param("---++", Standing.IN, id="two-are"),
        pytest.param("!++", Standing.IN, id="also-after-a-refusal"),
        pytest.param("---++ ---++", Standing.HELD, id="the-second-time-it-waits"),
        pytest.param("!++ !+++++", Standing.IN, id="for-a-second"),
        pytest.param("!++ !+++++ !+++++", Standing.HELD, id="then-for-two"),
        pytest.param("!++ !+++++ !++++++++++", Standing.IN, id="and-no-longer"),
    ],
)
def test_what_a_member_is_after_some_probes(story: str, standing: Standing) -> None:
    """Three misses, one refusal; two answers."""
    assert after(story).standing(end(story)) is standing


def test_the_wait_doubles_up_to_a_bound() -> None:
    """However often it comes and goes."""
    member, now_s = MemberHealth(), 0.0
    waits = []
    for _ in range(10):
        member.refused(now_s)
        went_s = now_s
        while member.standing(now_s) is not Standing.IN:
            now_s += 0.25
            member.answered(now_s)
        waits.append(now_s - went_s)

    assert waits[0] < FIRST_HOLD_S
    assert waits[1:8] == [FIRST_HOLD_S * 2**n for n in range(7)]
    assert waits[8:] == [LONGEST_HOLD_S, LONGEST_HOLD_S]
    assert member.changes == 20


def test_a_member_that_lived_long_has_no_past() -> None:
    """A restart a day is no flapping."""
    member = after("!++ !+++++")

    member.refused(CALM_S + 10)
    member.answered(CALM_S + 10.2)
    member.answered(CALM_S + 10.4)

    assert member.standing(CALM_S + 10.4) is Standing.IN


@pytest.mark.parametrize(
    ("stories", "draining", "usable"),
    [
        pytest.param({"a": "+", "b": "+", "c": "+"}, "", "abc", id="all"),
        pytest.param({"a": "+", "b": "!", "c": "+"}, "", "ac", id="without-the-dead"),
        pytest.param({"a": "+", "b": "---"}, "", "a", id="half-of-them-is-enough"),
        pytest.param({"a": "+", "b": "---", "c": "---"}, "", "abc", id="with-less-all-are-used"),
        pytest.param({"a": "+", "b": "---", "c": "!"}, "", "ab", id="but-not-who-refuses"),
        pytest.param({"a": "---", "b": "---"}, "", "ab", id="when-all-are-silent-all-are-used"),
        pytest.param({"a": "!", "b": "!"}, "", "", id="when-all-refuse-nobody"),
        pytest.param({"a": "+", "b": "+", "c": "+"}, "c", "ab", id="who-drains-gets-nothing"),
        pytest.param({"a": "+", "b": "!", "c": "+"}, "c", "a", id="nor-makes-a-panic"),
        pytest.param({"a": "+", "b": "+"}, "ab", "ab", id="unless-all-drain"),
    ],
)
def test_whom_datagrams_may_be_sent_to(stories: dict[str, str], draining: str, usable: str) -> None:
    """The living; and everybody who may live when most seem dead."""
    health = Health(stories)
    health.members = {name: after(story) for name, story in stories.items()}
    for name in draining:
        health.members[name].is_draining = True
    now_s = max(map(end, stories.values()))

    assert health.usable(now_s) == frozenset(usable)
    alive = {name for name in usable if health.members[name].standing(now_s) is Standing.IN}
    assert health.is_panicking(now_s) is (alive != set(usable))


@given(story=st.text(alphabet="+-!", max_size=60))
def test_whatever_happens_a_member_that_answers_is_in_within_its_longest_wait(story: str) -> None:
    """Nobody is out for ever."""
    member = after(story)
    begin_s = end(story)

    for number in range(1, round((LONGEST_HOLD_S + 1) / PROBE_EVERY_S) + 1):
        member.answered(begin_s + number * PROBE_EVERY_S)

    assert member.standing(begin_s + LONGEST_HOLD_S + 1) is Standing.IN

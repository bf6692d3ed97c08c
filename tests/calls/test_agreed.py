"""Which codec and clock rate a call has: told where its descriptions leave no doubt, and else left open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.making import answered, event

from everline.calls.agreed import Agreed, Described, agreed, described_by


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ([], Agreed()),
        pytest.param([(200, "PCMA/8000,telephone-event/8000")], Agreed("PCMA/8000", 8000), id="one-answer"),
        pytest.param([(200, "PCMA/8000,PCMU/8000")], Agreed("PCMA/8000", 8000), id="the-first-of-an-answer-is-used"),
        pytest.param(
            [(0, "opus/48000,PCMA/8000"), (200, "PCMA/8000")], Agreed("PCMA/8000", 8000), id="answers-before-offers"
        ),
        pytest.param(
            [(183, "G729/8000"), (200, "PCMA/8000")], Agreed("PCMA/8000", 8000), id="final-before-provisional"
        ),
        pytest.param([(0, "PCMU/8000,G729/8000"), (183, "G729/8000")], Agreed("G729/8000", 8000), id="early-media"),
        pytest.param([(0, "PCMU/8000")], Agreed("PCMU/8000", 8000), id="an-offer-of-one"),
        pytest.param([(0, "PCMU/8000,PCMA/8000")], Agreed(None, 8000), id="an-offer-of-two-with-one-clock"),
        pytest.param([(200, "opus/48000"), (200, "PCMA/8000")], Agreed(), id="legs-with-different-codecs"),
        pytest.param([(200, "PCMU/8000"), (200, "PCMA/8000")], Agreed(None, 8000), id="legs-with-one-clock"),
        pytest.param([(200, "PCMU/8000,H264/90000")], Agreed("PCMU/8000", None), id="video-beside-audio"),
        pytest.param([(488, "PCMU/8000")], Agreed(), id="a-refusal-says-nothing"),
        pytest.param([(200, "telephone-event/8000,CN/8000")], Agreed(), id="no-speech-at-all"),
        pytest.param([(200, "x/0"), (200, "x/"), (200, "x")], Agreed(), id="no-clock-that-one-could-divide-by"),
        pytest.param([(200, "x/" + "9" * 5000)], Agreed("X/" + "9" * 5000, 999_999_999), id="a-clock-beyond-reason"),
    ],
)
def test_agreed(described: list[tuple[int, str]], expected: Agreed) -> None:
    """See the ids."""
    assert agreed(Described(*one) for one in described) == expected


@given(st.lists(st.builds(Described, st.sampled_from([0, 183, 200, 488]), st.text(alphabet="AB/,89é\0", max_size=12))))
def test_any_order_and_repetition_gives_the_same(described: list[Described]) -> None:
    """It is a function of the set."""
    assert agreed(described) == agreed([*reversed(described), *described])


def test_descriptions_come_from_invites() -> None:
    """Requests and responses below 300, with a body that describes something."""
    refused, ping = event("1", 9, status=488, codecs="x/1"), event("1", 9, "OPTIONS", codecs="x/1")
    events = [*answered("1", 0, codecs="PCMU/8000"), refused, ping, event("1", 9)]

    assert described_by(events) == {Described(status, "PCMU/8000") for status in (0, 180, 200)}

"""The balancer's question and a node's answer: genuine, or not answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.hep import HepDecodeError, decode_hep
from everline.wire.keepalive import (
    FRAME_BYTES,
    NONCE_BYTES,
    PREFIX,
    Answer,
    answer_to,
    ask,
    is_keepalive,
    read_answer,
)

KEY, OTHER = b"k" * 32, b"o" * 32
NONCE = bytes(range(NONCE_BYTES))
keys = st.binary(max_size=32)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


@given(nonce=nonces, key=keys, is_draining=st.booleans())
def test_an_answer_repeats_the_nonce_and_says_whether_the_node_drains(
    nonce: bytes, key: bytes, *, is_draining: bool
) -> None:
    """Under any key, or none."""
    answer = answer_to(ask(nonce, key), key, is_draining=is_draining)

    assert answer is not None
    assert read_answer(answer, key) == Answer(nonce, is_draining)


def test_an_answer_is_no_longer_than_its_question() -> None:
    """Whoever asks in another's name sends him no more than he could himself."""
    answer = answer_to(ask(NONCE, KEY), KEY, is_draining=False)

    assert answer is not None
    assert len(answer) == len(ask(NONCE, KEY)) == FRAME_BYTES


def test_what_was_made_with_another_key_is_not_taken() -> None:
    """Neither a question nor an answer, nor one in place of the other."""
    question = ask(NONCE, KEY)
    answer = answer_to(question, KEY, is_draining=False)
    assert answer is not None

    assert answer_to(question, OTHER, is_draining=False) is None
    assert answer_to(question, b"", is_draining=False) is None
    assert read_answer(answer, OTHER) is None
    assert read_answer(question, KEY) is None
    assert answer_to(answer, KEY, is_draining=False) is None


@given(at=st.integers(0, FRAME_BYTES - 1), bit=st.integers(0, 7))
def test_a_damaged_frame_is_not_taken(at: int, bit: int) -> None:
    """Whichever bit is turned, but those of the chunk's length, which nobody reads."""
    damaged = bytearray(ask(NONCE, KEY))
    damaged[at] ^= 1 << bit

    is_length = 10 <= at < 12
    assert (answer_to(bytes(damaged), KEY, is_draining=False) is None) is not is_length


@pytest.mark.parametrize("data", [b"", b"HEP3", PREFIX, ask(NONCE, KEY)[:-1], ask(NONCE, KEY) + b"x", b"\x00" * 45])
def test_what_is_no_frame_is_told_at_once(data: bytes) -> None:
    """By its first bytes and its length."""
    assert not is_keepalive(data)
    assert answer_to(data, KEY, is_draining=False) is None
    assert read_answer(data, KEY) is None


def test_a_decoder_that_does_not_know_it_rejects_it_as_hep_without_payload() -> None:
    """It is a well-formed packet of one vendor chunk."""
    with pytest.raises(HepDecodeError, match="hep_no_payload"):
        decode_hep(ask(NONCE, KEY))

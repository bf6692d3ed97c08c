"""What is left of a number, and of a message that holds some."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.access.masking import masked, masked_text, masked_uri


@pytest.mark.parametrize(
    ("number", "left"),
    [
        ("+4930123456", "+49******56"), ("alice.smith", "ali******th"), ("12345", "1***5"), ("1001", "1001"),
        ("", ""), ("00493012", "004***12"),
    ],
)  # fmt: skip
def test_of_a_number_the_beginning_and_the_end_are_left(number: str, left: str) -> None:
    """Extensions stay."""
    assert masked(number) == left


@pytest.mark.parametrize(
    ("uri", "left"),
    [
        ("sip:+4930123456@example.org", "sip:+49******56@example.org"),
        ("+4930123456@example.org", "+49******56@example.org"),
        ("tel:+4930123456;phone-context=x", "tel:+49******56;phone-context=x"),
        ("sip:example.org:5060", "sip:example.org:5060"),
    ],
)
def test_of_a_uri_the_host_is_left(uri: str, left: str) -> None:
    """It is needed to see where a call went."""
    assert masked_uri(uri) == left


@pytest.mark.parametrize(
    ("line", "left"),
    [
        pytest.param(b"INVITE sip:+4930123456@h SIP/2.0", b"INVITE sip:+49******56@h SIP/2.0", id="request-line"),
        pytest.param(b'From: "Ann Lee" <sip:+4930123456@h>', b'From: "*******" <sip:+49******56@h>', id="quoted-name"),
        pytest.param(b"To: Ann Lee <sips:+4930123456@h>;tag=x", b"To: ******* <sips:+49******56@h>;tag=x", id="name"),
        pytest.param(b"P-Asserted-Identity: <tel:+4930123456>", b"P-Asserted-Identity: <tel:+49******56>", id="tel"),
        pytest.param(b"f: <sip:bob:secret@h>", b"f: <sip:bob:******@h>", id="a-password-in-a-uri"),
        pytest.param(b'Authorization: Digest username="+4930123456"', b'Authorization: Digest username="***********"',
                     id="login"),
        pytest.param(b"Signal=5\r\nDuration=160", b"Signal=*\r\nDuration=160", id="dialled-digit"),
        pytest.param(b"X-Caller: 4711123456", b"X-Caller: 471*****56", id="a-number-that-the-call-is-known-by"),
        pytest.param(b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG", id="via"),
        pytest.param(b"Content-Type: application/ISUP\r\n\r\n\x01\x23", b"Content-Type: application/ISUP\r\n\r\n**",
                     id="a-body-that-we-do-not-know"),
        pytest.param(b"c: application/sdp\r\n\r\nv=0\r\n", b"c: application/sdp\r\n\r\nv=0\r\n", id="sdp-stays"),
    ],
)  # fmt: skip
def test_a_message_is_masked_in_place(line: bytes, left: bytes) -> None:
    """Names, logins, dialled digits, and bodies in forms that we don't read."""
    assert masked_text(line, ["4711123456"]) == left


@given(st.binary(max_size=300), st.lists(st.text(max_size=12), max_size=3))
def test_whatever_it_is_it_keeps_its_length(payload: bytes, numbers: list[str]) -> None:
    """Garbage too; Content-Length stays true."""
    assert len(masked_text(payload, numbers)) == len(payload)


@given(
    st.from_regex(r"[+]?[0-9]{7,15}", fullmatch=True),
    st.sampled_from(["From: <sip:{}@h>", "To: <tel:{}>", "INVITE sip:{}@h;user=phone SIP/2.0", "X: {}", "m: sip:{}@h"]),
)
def test_no_number_of_the_call_is_left(number: str, line: str) -> None:
    """Wherever it stands."""
    assert number.encode() not in masked_text(line.format(number).encode(), [number])

"""From and To as phones write them: what is usable is taken, nothing is raised."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everline.wire.sip_address import SipAddress, parse_address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("<sip:alice@example.com>;tag=1", ("alice", "example.com", "1"), id="usual"),
        pytest.param("sip:alice@example.com;tag=1", ("alice", "example.com", "1"), id="without-brackets"),
        pytest.param("<sip:alice@example.com;tag=uri>", ("alice", "example.com", ""), id="a-uri-parameter-is-no-tag"),
        pytest.param("<sip:a@h>;x=1; Tag = 2 ;y", ("a", "h", "2"), id="tag-among-others-with-spaces-in-any-case"),
        pytest.param("<sip:a@h>;xtag=1;tag=2", ("a", "h", "2"), id="a-name-that-ends-in-tag"),
        pytest.param("<sips:a@h:5061;lr>", ("a", "h", ""), id="sips-port-and-parameters"),
        pytest.param("<SIP:A@Example.COM>", ("A", "example.com", ""), id="hosts-have-no-case-users-do"),
        pytest.param("<sip:a:secret@h>", ("a", "h", ""), id="a-password-is-not-kept"),
        pytest.param("<sip:h>", ("", "h", ""), id="no-user"),
        pytest.param("<sip:a@[2001:DB8::1]:5060;lr>;tag=6", ("a", "2001:db8::1", "6"), id="ipv6"),
        pytest.param("<sip:[::1]>", ("", "::1", ""), id="ipv6-without-user"),
        pytest.param("<tel:+1-201-555-0123;phone-context=x>;tag=t", ("+1-201-555-0123", "", "t"), id="tel"),
        pytest.param("tel:911", ("911", "", ""), id="tel-without-brackets"),
        pytest.param("<sip:1201;phone-context=+1@h;user=phone>", ("1201", "h", ""), id="parameters-in-the-user-part"),
        pytest.param("<sip:a%20b%23@h>", ("a b#", "h", ""), id="percent-escapes"),
        pytest.param("<sip:%ff%zz@h>", ("\ufffd%zz", "h", ""), id="percent-escapes-that-are-none"),
        pytest.param("<sip:a@h?Subject=x>", ("a", "h", ""), id="header-parts-of-a-uri"),
        pytest.param("<sip:alice@realm@h>", ("alice@realm", "h", ""), id="two-at-signs"),
        pytest.param('"A \\" <x@y>; tag=no" <sip:a@h>;tag=1', ("a", "h", "1"), id="quoted-name-with-brackets-and-tag"),
        pytest.param('"Alice, Bob; Co" <sip:a@h>', ("a", "h", ""), id="quoted-name-with-comma-and-semicolon"),
        pytest.param('"\\\\" <sip:a@h>', ("a", "h", ""), id="quoted-backslash"),
        pytest.param('"" <sip:a@h>', ("a", "h", ""), id="empty-name"),
        pytest.param('"open <sip:a@h>;tag=1', ("a", "h", "1"), id="a-quote-that-never-ends"),
        pytest.param("Alice B. <sip:a@h>", ("a", "h", ""), id="name-without-quotes"),
        pytest.param("<sip:a@h", ("a", "h", ""), id="a-bracket-that-never-ends"),
        pytest.param("anonymous", ("", "anonymous", ""), id="no-scheme"),
        pytest.param("<>", ("", "", ""), id="nothing-in-brackets"),
        pytest.param("", ("", "", ""), id="nothing"),
        pytest.param(f"<sip:{'u' * 300}@{'h' * 300}>;tag={'t' * 300}", ("u" * 256, "h" * 256, "t" * 256), id="cut"),
    ],
)
def test_parse_address(value: str, expected: tuple[str, str, str]) -> None:
    """User, host and tag of From and To (RFC 3261 s.20.20, s.20.39, s.19.1; tel: RFC 3966)."""
    assert parse_address(value) == SipAddress(*expected)


WORDS = st.text(alphabet="abcXYZ019.-", min_size=1, max_size=12)


@given(WORDS, WORDS, WORDS, st.text(alphabet=st.characters(exclude_characters='"\\\r\n\x00'), max_size=20))
@example("u", "h", "t", "<sip:x@y>;tag=z")
def test_a_quoted_display_name_never_matters(user: str, host: str, tag: str, name: str) -> None:
    """Whatever stands in the quotes, the short cut for usual addresses and the way for all others agree."""
    plain, odd = f"<sip:{user}@{host}>;tag={tag}", f"<sip:{user}@{host}>;tag={tag};x={'y' * 300}"
    expected = SipAddress(user, host.lower(), tag)

    assert parse_address(f'"{name}" {plain}') == parse_address(f'"{name}" {odd}') == parse_address(plain) == expected

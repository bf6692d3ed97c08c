"""SIP as a listener reads it: what is usable is taken, the rest is refused with a reason, nothing else is raised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire import sip
from everline.wire.sip import (
    MAX_CALL_ID,
    MAX_LINES,
    SipDecodeError,
    SipFault,
    SipMessage,
    parse_sip,
    q850_cause,
    unwrap_json,
)
from everline.wire.sip_address import MAX_TEXT, SipAddress

SDP = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n"
INVITE = (
    "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    'From: "Alice" <sip:+4930@example.net>;tag=a1\r\nTo: <sip:bob@example.com>\r\nCall-ID: a84b4c76@192.0.2.1\r\n'
    "CSeq: 314159 INVITE\r\nUser-Agent: Phone/1.0\r\nReason: Q.850;cause=16\r\n"
    f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
).encode()
ALICE = SipAddress("+4930", "example.net", "a1")
BOB = SipAddress("bob", "example.com", "")
READ = SipMessage("INVITE", 0, "a84b4c76@192.0.2.1", 314159, ALICE, BOB, "Phone/1.0", 16, "\n" + SDP)
BYE = b'SIP/2.0 200 OK\ni: a@b\nf: <sip:[2001:db8::1]>;tag=1\n\tx\nt: "\xff" <tel:+1>;tag=2\nCSeq: 2 BYE\n\n'


def reason(payload: bytes) -> SipFault:
    """Why a payload is refused."""
    with pytest.raises(SipDecodeError) as caught:
        parse_sip(payload)
    return caught.value.reason


def changed(old: str, new: str) -> bytes:
    """The message above with one part replaced."""
    assert old.encode() in INVITE
    return INVITE.replace(old.encode(), new.encode())


# --- the message -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(INVITE, id="as-sent"),
        pytest.param(INVITE, id="the-same-again"),
        pytest.param(b"\r\n\r\n" + INVITE, id="behind-keep-alives"),
        pytest.param(INVITE + b"trailing", id="bytes-behind-the-declared-end"),
        pytest.param(changed("INVITE sip:", "invite sip:"), id="method-in-lower-case"),
        pytest.param(changed("SIP/2.0\r\nVia", "sip/2.0\r\nVia"), id="version-in-lower-case"),
        pytest.param(changed("314159 INVITE", "  314159 \t invite "), id="cseq-with-spaces-and-in-lower-case"),
        pytest.param(changed("From:", "FROM :").replace(b"Call-ID", b"cAlL-iD"), id="header-names-in-any-case"),
        pytest.param(
            changed("From:", "f:").replace(b"To:", b"t:").replace(b"Call-ID:", b"i:").replace(b"Content-Type", b"c"),
            id="compact-forms",
        ),
        pytest.param(changed('"Alice" <', '"Alice"\r\n  \t<'), id="folded"),
        pytest.param(changed("CSeq: 314159", "CSeq:\r\n 314159"), id="folded-after-the-colon"),
        pytest.param(changed("\r\nUser-Agent", "\nUser-Agent"), id="one-line-ends-in-line-feed-alone"),
        pytest.param(INVITE.replace(b"Via", b"X: \xff\r\nVia"), id="odd-byte-in-head"),
        pytest.param(changed("\r\nCSeq", "\r\nCall-ID: second\r\nCSeq"), id="a-second-call-id"),
        pytest.param(changed("\r\nCSeq", "\r\nFrom: <sip:x@y>;tag=z\r\ni: x\r\nCSeq"), id="the-first-of-each-counts"),
        pytest.param(changed("Via: ", "NoColonAtAll\r\n: noname\r\nVia: "), id="lines-that-are-no-headers"),
        pytest.param(changed("Via: ", "Subject: \x00\r\nVia: "), id="nul"),
    ],
)
def test_one_message_in_many_spellings(payload: bytes) -> None:
    """All of them say the same (RFC 3261 s.7.3.1 case and folding, s.7.3.3 compact forms, s.7.5 leading line ends)."""
    assert parse_sip(payload) == READ


def test_line_feeds_alone_end_lines_too() -> None:
    """RFC 3261 wants CRLF; some stacks and every copy through a terminal have LF."""
    assert parse_sip(INVITE.replace(b"\r\n", b"\n")) == READ._replace(sdp="\n" + SDP.replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        pytest.param("From", READ._replace(sender=SipAddress("", "", "")), id="from"),
        pytest.param("To", READ._replace(recipient=SipAddress("", "", "")), id="to"),
        pytest.param("User-Agent", READ._replace(user_agent=""), id="user-agent"),
        pytest.param("Reason", READ._replace(cause=0), id="reason"),
        pytest.param("Content-Type", READ._replace(sdp=""), id="content-type"),
        pytest.param("Content-Length", READ, id="content-length-the-datagram-ends-the-body"),
        pytest.param("Via", READ, id="via"),
    ],
)
def test_what_is_missing_is_empty(missing: str, expected: SipMessage) -> None:
    """Only Call-ID and CSeq are needed to know what a message belongs to."""
    lines = [line for line in INVITE.split(b"\r\n") if not line.startswith(missing.encode() + b":")]

    assert parse_sip(b"\r\n".join(lines)) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(b"", SipFault.NOT_SIP, id="empty"),
        pytest.param(b"\r\n\r\n", SipFault.NOT_SIP, id="line-ends"),
        pytest.param(b"\xff" * 50, SipFault.NOT_SIP, id="binary"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", SipFault.NOT_SIP, id="http"),
        pytest.param(b"INVITE sip:bob@h", SipFault.NOT_SIP, id="cut-off-in-the-first-line"),
        pytest.param(b" INVITE sip:bob@h SIP/2.0\r\n\r\n", SipFault.NOT_SIP, id="a-space-first"),
        pytest.param(b"SIP/2.0 99 Low\r\n\r\n", SipFault.NOT_SIP, id="status-99"),
        pytest.param(b"SIP/2.0 700 High\r\n\r\n", SipFault.NOT_SIP, id="status-700"),
        pytest.param(b"SIP/2.0 2000 OK\r\n\r\n", SipFault.NOT_SIP, id="status-of-four-digits"),
        pytest.param(changed("INVITE sip:", "INVITE \nsip:"), SipFault.NOT_SIP, id="a-first-line-in-two"),
        pytest.param(changed("INVITE sip:", "F :"), SipFault.NOT_SIP, id="a-header-field-that-looks-like-a-request"),
        pytest.param(INVITE[:60], SipFault.NO_CALL_ID, id="cut-off-before-call-id"),
        pytest.param(changed("Call-ID: a84b4c76@192.0.2.1", "Call-ID:  "), SipFault.NO_CALL_ID, id="empty-call-id"),
        pytest.param(changed("Call-ID: ", "X: y\r\n\r\nCall-ID: "), SipFault.NO_CALL_ID, id="call-id-in-the-body"),
        pytest.param(
            changed("a84b4c76@192.0.2.1", "x" * (MAX_CALL_ID + 1)), SipFault.CALL_ID_TOO_LONG, id="call-id-too-long"
        ),
        pytest.param(changed("CSeq: 314159 INVITE\r\n", ""), SipFault.BAD_CSEQ, id="no-cseq"),
        pytest.param(changed("CSeq: 314159 INVITE", "CSeq: INVITE"), SipFault.BAD_CSEQ, id="cseq-without-number"),
        pytest.param(changed("CSeq: 314159 INVITE", "CSeq: 314159"), SipFault.BAD_CSEQ, id="cseq-without-method"),
        pytest.param(changed("CSeq: 314159", "CSeq: -1"), SipFault.BAD_CSEQ, id="negative-cseq"),
        pytest.param(changed("CSeq: 314159", "CSeq: 4294967296"), SipFault.BAD_CSEQ, id="cseq-of-33-bits"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(payload: bytes, expected: SipFault) -> None:
    """The reason labels a counter, so the set is closed."""
    assert reason(payload) is expected


def test_limits_are_inclusive() -> None:
    """The longest Call-ID and the greatest CSeq that are allowed."""
    payload = changed("a84b4c76@192.0.2.1", "x" * MAX_CALL_ID).replace(b"314159", b"4294967295")

    assert (parse_sip(payload).call_id, parse_sip(payload).cseq) == ("x" * MAX_CALL_ID, 4294967295)


def test_call_id_is_case_sensitive_and_taken_as_sent() -> None:
    """RFC 3261 section 20.8; only the white space around it does not belong to it."""
    assert parse_sip(changed("a84b4c76@", ' \t A84b(<c>"76@')).call_id == 'A84b(<c>"76@192.0.2.1'


@pytest.mark.parametrize(
    ("start", "agent", "expected"),
    [
        pytest.param("INVITE sip:b@h SIP/2.0", "User-Agent: UA", "UA", id="user-agent"),
        pytest.param("SIP/2.0 200 OK", "Server: UAS", "UAS", id="server"),
        pytest.param("SIP/2.0 200 OK", "Server: UAS\r\nUser-Agent: UA", "UA", id="both"),
        pytest.param("SIP/2.0 200 OK", "User-Agent:\r\nServer: UAS", "UAS", id="an-empty-one-does-not-count"),
        pytest.param("SIP/2.0 200 OK", "Server: " + "x" * 1000, "x" * MAX_TEXT, id="a-long-one-is-cut"),
        pytest.param("SIP/2.0 200 OK", "Server: Zentrale M\u00fcnchen", "Zentrale M\u00fcnchen", id="utf-8"),
    ],
)
def test_user_agent(start: str, agent: str, expected: str) -> None:
    """A phone says User-Agent also in its responses, a server says Server."""
    assert parse_sip(f"{start}\r\n{agent}\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\r\n".encode()).user_agent == expected


def test_a_response_has_the_method_of_its_cseq() -> None:
    """RFC 3261 section 8.2.6.2: that is how it is told what was answered."""
    got = parse_sip(BYE)

    assert got == SipMessage(
        "BYE", 200, "a@b", 2, SipAddress("", "2001:db8::1", "1"), SipAddress("+1", "", "2"), "", 0, ""
    )


def test_header_fields_that_are_not_utf_8_are_read_as_latin_1() -> None:
    """Nothing is lost and nothing is raised; the payload keeps the bytes."""
    assert (
        parse_sip(changed("User-Agent: Phone/1.0", "User-Agent: ?").replace(b"?", b"M\xfcnchen")).user_agent
        == "M\xfcnchen"
    )


@pytest.mark.parametrize(
    ("old", "new", "sdp"),
    [
        pytest.param("Content-Length: 29", "Content-Length: 5", "\nv=0\r\n", id="shorter-than-the-body"),
        pytest.param("Content-Length: 29", "Content-Length: 9999", "\n" + SDP, id="longer-than-the-body"),
        pytest.param("Content-Length: 29", "Content-Length: x", "\n" + SDP, id="no-number"),
        pytest.param("Content-Length: 29", "Content-Length: 0", "\n", id="nothing"),
        pytest.param("application/sdp", "Application/SDP;charset=x", "\n" + SDP, id="type-in-any-case-with-parameters"),
        pytest.param("application/sdp", "multipart/mixed;boundary=x", "\n" + SDP, id="several-parts"),
        pytest.param("application/sdp", "application/isup", "", id="another-type"),
    ],
)
def test_the_body_ends_where_it_says_or_where_the_datagram_does(old: str, new: str, sdp: str) -> None:
    """Some agents cut what they capture, some vendors count wrong."""
    assert parse_sip(changed(old, new)).sdp == sdp


def test_a_body_that_is_not_utf_8_does_not_spoil_the_head() -> None:
    """Multipart bodies carry binary parts (SIP-I, RFC 3372)."""
    assert parse_sip(INVITE + b"\x80\x81") == READ
    assert parse_sip(changed("Phone/1.0", "M\u00fcnchen") + b"\x80").user_agent == "M\u00fcnchen"


def test_header_lines_beyond_the_bound_are_not_read() -> None:
    """A message of thousands of lines costs no more than one of as many as are read; what came first still counts."""
    filler = "X: y\r\n"

    for count in (MAX_LINES, 5000):
        assert parse_sip(changed("Content-Type", filler * count + "Content-Type")) == READ._replace(sdp="")
    assert reason(changed("Call-ID", filler * MAX_LINES + "Call-ID")) is SipFault.NO_CALL_ID


# --- the short cut -----------------------------------------------------------------------------------------------

LINES = (
    "Via: SIP/2.0/UDP h", "Max-Forwards: 70", "Contact: <sip:x@y>", "Call-ID: a@b", "i: second", "CSeq: 1 INVITE",
    "cseq: 2 BYE", "From: <sip:a@h>;tag=1", "f: Zo\u00eb <sip:z@h>", "To: <sip:b@h>", "To: \xa0<sip:c@h>", "Server: x",
    "User-Agent: M\u00fcnchen", "Reason: Q.850;cause=16", "Content-Type: application/sdp", "Content-Length: 3", "X", "",
    " folded", "SIP/2.0 200 OK", "INVITE sip:b@h SIP/2.0", "F :b@h SIP/2.0",
)  # fmt: skip
USUAL_ORDER = "Via: SIP/2.0/UDP h", "From: <sip:a@h>;tag=1", "To: <sip:b@h>", "Call-ID: a@b", "CSeq: 1 INVITE"
ENDS = st.sampled_from(["\r\n"] * 20 + ["\n", "\r", "\r\r\n", "\r\n\r\n", "\n\r\n"])


def ended(lines: list[str]) -> st.SearchStrategy[str]:
    """The lines, nearly all of them ended as they should be."""
    return st.lists(ENDS, min_size=len(lines), max_size=len(lines)).map(
        lambda ends: "".join(line + end for line, end in zip(lines, ends, strict=True))
    )


@given(
    st.sampled_from(["INVITE sip:b@h SIP/2.0", "SIP/2.0 180 Ringing", *LINES]),
    st.lists(st.sampled_from(LINES), max_size=3),
    st.lists(st.sampled_from(LINES), max_size=5),
    st.data(),
    st.sampled_from(["utf-8", "latin-1"]),
)
def test_the_short_cut_reads_what_the_long_way_reads(
    start: str, before: list[str], after: list[str], data: st.DataObject, encoding: str
) -> None:
    """In whatever order the lines come, however they end: it may give up, but it never means something else."""
    head = data.draw(ended([start, *before, *USUAL_ORDER, *after]))
    payload = f"{head}\r\n{SDP}".encode(encoding, "replace")

    for _ in "first", "again":
        usual = sip._read_usual(payload)
        assert usual is None or usual == sip._read_any(payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(INVITE, id="as-phones-send-it"),
        pytest.param(changed("\r\nFrom", "\r\nMax-Forwards: 70\r\nFrom"), id="max-forwards-before-from"),
        pytest.param(changed("Call-ID", "Contact: <sip:x@y>\r\nCall-ID"), id="contact-before-call-id"),
        pytest.param(changed("User-Agent", "Contact: <sip:x@y>\r\nUser-Agent"), id="contact-after-cseq"),
        pytest.param(changed('"Alice"', '"Zo\u00eb"'), id="a-name-that-is-not-ascii"),
        pytest.param(INVITE + b"\xff", id="a-body-that-is-not-utf-8"),
    ],
)
def test_messages_of_common_stacks_take_the_short_cut(payload: bytes) -> None:
    """Without it a node reads half as many a second."""
    assert sip._read_usual(payload) == READ


def test_what_is_remembered_is_bounded() -> None:
    """In number and in length, whatever is sent."""
    memo = sip._Memo(len, entries=10)

    assert [memo[b"%d" % number] for number in range(1000)] == [len(str(number)) for number in range(1000)]
    assert memo[b"x" * 5000] == 5000
    assert 0 < len(memo) <= 10
    assert max(map(len, memo)) < 5000


# --- Reason and JSON ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        pytest.param('Q.850;cause=16;text="Normal"', 16, id="usual"),
        pytest.param(" q.850 ; CAUSE = 127", 127, id="spaces-and-case"),
        pytest.param("SIP;cause=200;text=x, Q.850;cause=17", 17, id="second-of-two"),
        pytest.param("SIP;cause=486", 0, id="another-protocol"),
        pytest.param("Q.850;text=x;cause=16", 0, id="cause-comes-first-everywhere"),
        pytest.param("Q.850;cause=1600", 0, id="no-q850-cause-has-four-digits"),
        pytest.param("", 0, id="nothing"),
    ],
)
def test_q850_cause(value: str, cause: int) -> None:
    """RFC 3326 section 2: Reason names a protocol and a cause."""
    assert q850_cause(value) == cause


@pytest.mark.parametrize(
    ("payload", "inner"),
    [
        pytest.param(json.dumps({"payload": INVITE.decode()}).encode(), INVITE, id="wrapped"),
        pytest.param(b'{"payload": "\\ud800"}', b"\xed\xa0\x80", id="half-a-surrogate-pair"),
        pytest.param(b'{"payload": 1}', None, id="not-text"),
        pytest.param(b'{"other": "x"}', None, id="no-payload"),
        pytest.param(b'["payload"]', None, id="a-list"),
        pytest.param(b'{"payload"', None, id="cut-off"),
        pytest.param(b'{"payload": "\xff"}', None, id="not-utf-8"),
        pytest.param(b'{"a":' * 10_000, None, id="nested-deeper-than-the-reader-goes"),
        pytest.param(b'{"a":' + b"1" * 50_000 + b"}", None, id="a-number-of-50000-digits"),
    ],
)
def test_unwrap_json(payload: bytes, inner: bytes | None) -> None:
    """Some agents send SIP inside JSON with the HEP type of plain SIP."""
    assert unwrap_json(payload) == inner


# --- any bytes ---------------------------------------------------------------------------------------------------


def survives(payload: bytes) -> bool:
    """A message within the limits, or SipDecodeError; anything else fails the test."""
    try:
        got = parse_sip(payload)
    except SipDecodeError as fault:
        return fault.reason in SipFault
    texts = (*got.sender, *got.recipient, got.user_agent)
    return (
        0 < len(got.call_id) <= MAX_CALL_ID
        and (got.status == 0 or 100 <= got.status < 700)
        and all(len(text) <= MAX_TEXT for text in texts)
        and "\n" not in got.call_id + "".join(texts)
        and len((got.call_id + got.method + "".join(texts)).encode("utf-8")) > 0
    )


@pytest.mark.parametrize("seed", [pytest.param(INVITE, id="request"), pytest.param(BYE, id="odd-response")])
def test_every_truncation_is_a_message_or_an_error(seed: bytes) -> None:
    """Capture agents cut long messages."""
    assert all(survives(seed[:size]) for size in range(len(seed)))


@pytest.mark.parametrize("seed", [pytest.param(INVITE, id="request"), pytest.param(BYE, id="odd-response")])
def test_every_change_of_one_byte_is_a_message_or_an_error(seed: bytes) -> None:
    """Each byte becomes each of those that mean something, or cannot be text."""
    for at in range(len(seed)):
        for value in b'\x00\t\n\r "%,:;<>@[\\]?=AZaz019\x7f\x80\xc3\xff':
            assert survives(seed[:at] + bytes((value,)) + seed[at + 1 :])


@given(
    st.binary(max_size=200)
    | st.binary(max_size=100).map(lambda part: INVITE[:90] + part + INVITE[90:])
    | st.text(alphabet='\r\n \t:;<>"\\@[]=taginvfcq0199SIP/2.éẞ', max_size=200).map(
        lambda text: b"INVITE sip:b SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nFrom:" + text.encode()
    )
)
def test_arbitrary_bytes_are_a_message_or_an_error(payload: bytes) -> None:
    """Nobody can stop a node with a datagram."""
    assert survives(payload)

"""
SIP as a passive listener reads it: what is usable is taken, what is not is counted, nothing is argued about.

Source: RFC 3261 sections 7 (messages, folding, compact forms) and 20 (header fields), RFC 3326 (Reason).
"""

import json
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from everline.errors import EverlineError

MAX_CALL_ID: Final = 512
"""Longest Call-ID kept, in characters: it is a sort key of the store, and none seen in use comes near."""
MAX_TEXT: Final = 256
"""Longest other text field kept, in characters; longer ones are cut. The payload has them whole."""
MAX_BODY: Final = 65_535
MAX_LINES: Final = 256
"""Header lines read; a message made of thousands of them costs no more than that."""
MAX_CSEQ: Final = 0xFFFF_FFFF


class SipFault(StrEnum):
    """Why a payload is of no use: a closed set, it labels a counter."""

    NOT_SIP = "not_sip"
    NO_CALL_ID = "sip_no_call_id"
    CALL_ID_TOO_LONG = "sip_call_id_too_long"
    BAD_CSEQ = "sip_bad_cseq"


class SipDecodeError(EverlineError):
    """The payload is no usable SIP message; `reason` says why."""

    def __init__(self, reason: SipFault) -> None:
        super().__init__(f"{reason}: no call record can be made of this message")
        self.reason = reason


class SipAddress(NamedTuple):
    """A From or To header field: user and host of its URI, and its tag; empty where absent."""

    user: str
    host: str
    tag: str


class SipMessage(NamedTuple):
    """
    What a call record needs of a SIP message.

    Attributes:
        method: Request method; for a response the method of its CSeq.
        status: Response status, 0 for a request.
        cause: Q.850 cause of the Reason header, 0 without one.
        sdp: The body as text when its type is SDP, or several parts of which one may be SDP; else empty.
    """

    method: str
    status: int
    call_id: str
    cseq: int
    sender: SipAddress
    recipient: SipAddress
    user_agent: str
    cause: int
    sdp: str


# Header names in any case and the compact forms of RFC 3261 section 7.3.3, to the one letter we know them by.
_WANTED: Final = {
    "call-id": "i", "i": "i", "from": "f", "f": "f", "to": "t", "t": "t", "cseq": "q",
    "user-agent": "u", "server": "s", "reason": "r", "content-type": "c", "c": "c", "content-length": "l", "l": "l",
}  # fmt: skip

# Each spelling in use, wanted or not, so that the common case is one look-up.
_LETTERS: Final = dict.fromkeys(
    (
        "Via", "Record-Route", "Route", "Contact", "Max-Forwards", "Allow", "Supported", "Authorization", "Require",
        "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "P-Asserted-Identity", "Date", "Expires",
        "Session-Expires", "Min-SE", "Subject", "Accept", "RAck", "RSeq", "Event", "v", "m", "k",
    ),
    "",
) | {spelling: letter for name, letter in _WANTED.items() for spelling in (name, name.title(), name.upper())} | {
    "Call-ID": "i", "CSeq": "q",
}  # fmt: skip

_FOLD: Final = re.compile(r"\n[ \t]+")
_METHOD: Final = r"[A-Za-z0-9\-.!%*_+`'~]{1,64}"  # RFC 3261 section 25.1; the longest of RFC 4475 has 43.
_REQUEST: Final = re.compile(rf"({_METHOD})[ \t]+[^ \t].*[ \t]SIP/2\.0[ \t]*\Z", re.IGNORECASE)
_STATUS: Final = re.compile(r"SIP/2\.0[ \t]+([1-6]\d\d)(?:[ \t]|\Z)", re.IGNORECASE)
_CSEQ: Final = re.compile(rf"[ \t]*(\d{{1,10}})[ \t]+({_METHOD})[ \t]*\Z")
# Repetitions that never give back what they took (*+, ++) keep the work linear, whatever a header field holds.
_QUOTED: Final = re.compile(r'[ \t]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"')
# The usual shape of From and To; whatever does not match it is read step by step.
_USUAL_ADDRESS: Final = re.compile(
    r'(?:[ \t]*+"[^"\\<>]*+"[ \t]*+|[^"<>:;,@]*+)<[sS][iI][pP][sS]?:(?:([^@:;<>%\[?]*+)@)?([A-Za-z0-9.\-]++)(?::\d++)?'
    r"(?:;[^<>?@]*+)?>(?:[ \t]*+;[ \t]*+tag=([^;,\s>\"]++))?[ \t]*\Z"
)
_TAG: Final = re.compile(r';[ \t]*tag[ \t]*=[ \t]*([^;,\s>"]+)', re.IGNORECASE)
_Q850: Final = re.compile(r"Q\.850[ \t]*;[ \t]*cause[ \t]*=[ \t]*(\d{1,3})(?!\d)", re.IGNORECASE)
_LENGTH: Final = re.compile(r"[ \t]*(\d{1,7})[ \t]*\Z")

_NOBODY: Final = SipAddress("", "", "")
_START: Final = ""
"""The letter of the start line, which is no header field."""
_MEMO_CHARS: Final = 256
_MEMO_LINES: Final = 32_768


def parse_sip(payload: bytes) -> SipMessage:
    """
    Read one SIP message. Header fields that are not UTF-8 (RFC 3261 section 7) are read as ISO 8859-1.

    Raises:
        SipDecodeError: It is not SIP, or has no usable Call-ID or CSeq.
    """
    try:
        lines = str(payload, "utf-8").split("\r\n", MAX_LINES)
    except UnicodeDecodeError:
        lines = _odd_lines(payload)
    try:
        found = _fields(lines)
    except _OddLinesError:
        found = _read_odd(payload)
    call_id = found.get("i")
    if not call_id:
        raise SipDecodeError(SipFault.NO_CALL_ID)
    if len(call_id) > MAX_CALL_ID:
        raise SipDecodeError(SipFault.CALL_ID_TOO_LONG)
    cseq = found.get("q")
    if cseq is None:
        raise SipDecodeError(SipFault.BAD_CSEQ)
    method, status = found[_START]
    return _message(SipMessage, (
        cseq[1] if status else method,
        status,
        call_id,
        cseq[0],
        found.get("f", _NOBODY),
        found.get("t", _NOBODY),
        found.get("u") or found.get("s", ""),
        found.get("r", 0),
        _sdp_text(payload, found) if "c" in found else "",
    ))  # fmt: skip


class _OddLinesError(Exception):
    """The lines are folded, or end in LF alone: they must be split with more care."""


def _read_odd(payload: bytes) -> dict[str, Any]:  # see _fields
    try:
        return _fields(_odd_lines(payload))
    except _OddLinesError:
        raise SipDecodeError(SipFault.NOT_SIP) from None


def _odd_lines(payload: bytes) -> list[str]:
    """The header lines of a message with folded lines, LF line ends, leading line ends or bytes that are not UTF-8."""
    head = payload.lstrip(b"\r\n")[:MAX_BODY].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    try:
        text = str(head, "utf-8")
    except UnicodeDecodeError:
        text = str(head, "latin-1")
    return _FOLD.sub(" ", text).split("\n", MAX_LINES)[:MAX_LINES]


def unwrap_json(payload: bytes) -> bytes | None:
    """The SIP message inside the JSON wrapper that some agents send as HEP type 1, or None if it is no such thing."""
    try:
        wrapper = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    inner = wrapper.get("payload") if isinstance(wrapper, dict) else None
    return inner.encode("utf-8", "surrogatepass") if isinstance(inner, str) else None


def q850_cause(reason: str) -> int:
    """Q.850 cause of a Reason value (RFC 3326 section 2), 0 when it names none."""
    found = _Q850.search(reason[:MAX_TEXT])
    return int(found[1]) if found else 0


_message = tuple.__new__  # Half the cost of the constructor, on the hottest path there is.


def _fields(lines: list[str]) -> dict[str, Any]:  # each letter has a type of its own, see _VALUE
    """Start line and wanted header fields, read, by their letter; of one that repeats, the first."""
    try:
        del lines[lines.index("") :]
    except ValueError:
        pass  # No blank line: it was cut off, or has more lines than we read.
    fields: list[Any] = list(map(_REMEMBERED.get, lines))
    unread = 0
    while None in fields:  # One or two lines of a message, mostly none.
        unread = fields.index(None, unread)
        fields[unread] = _read_field(lines[unread])
    if not fields:
        raise _OddLinesError
    if not fields[0] or fields[0][0] != _START:
        raise SipDecodeError(SipFault.NOT_SIP)
    fields.reverse()
    return dict(filter(None, fields))


_Field: TypeAlias = tuple[str, Any] | tuple[()]  # Letter and value, or nothing.
_REMEMBERED: Final[dict[str, _Field]] = {}
"""Lines that were read before: most repeat within a call and across its hops. Bounded, see `_read_field`."""


def _read_field(line: str) -> _Field:
    """Letter and value of a header line; nothing for one that is not wanted or has no usable value."""
    if "\n" in line or line[0] in " \t":
        raise _OddLinesError
    name, _, value = line.partition(":")
    letter = _LETTERS.get(name)
    read: Any = None
    if letter is None:
        letter = _WANTED.get(name.strip().lower(), _START)
        read = None if letter else _read_start(line)
    if letter:
        read = _VALUE[letter](value)
    field: _Field = () if read is None else (letter, read)
    if len(line) <= _MEMO_CHARS:
        if len(_REMEMBERED) >= _MEMO_LINES:
            _REMEMBERED.clear()
        _REMEMBERED[line] = field
    return field


def _read_start(line: str) -> tuple[str, int] | None:
    """Method and 0 of a request line, "" and status of a status line."""
    status = _STATUS.match(line)
    if status:
        return "", int(status[1])
    request = _REQUEST.match(line)
    return (request[1].upper(), 0) if request else None


def _read_cseq(value: str) -> tuple[int, str] | None:
    found = _CSEQ.match(value)
    if found is None or int(found[1]) > MAX_CSEQ:
        return None
    return int(found[1]), found[2].upper()


def parse_address(value: str) -> SipAddress:
    """The parts of a From or To value (RFC 3261 sections 20.20 and 20.39) that are usable; empty ones elsewhere."""
    usual = _USUAL_ADDRESS.match(value) if len(value) <= MAX_TEXT else None
    if usual:
        user, host, tag = usual.groups("")
        return SipAddress(user, host.lower(), tag)
    quoted = _QUOTED.match(value)
    if quoted:
        value = value[quoted.end() :]
    before, bracket, after = value.partition("<")
    if bracket:
        uri, _, params = after.partition(">")
    else:
        # Without brackets the parameters belong to the header field (RFC 3261 section 20).
        uri, semicolon, params = before.partition(";")
        params = semicolon + params
    found = _TAG.search(params)
    user, host = _read_uri(uri)
    return SipAddress(user, host, found[1][:MAX_TEXT] if found else "")


def _read_uri(uri: str) -> tuple[str, str]:
    """User and host of a sip, sips or tel URI (RFC 3261 section 19.1, RFC 3966), without password, port, parameters."""
    scheme, colon, rest = uri.strip().partition(":")
    if not colon:
        rest, scheme = scheme, ""
    userinfo, _, hostport = rest.rpartition("@")
    if scheme.lower() == "tel":
        userinfo, hostport = rest, ""
    user = userinfo.partition(";")[0].partition(":")[0]
    host = hostport.partition(";")[0].partition("?")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return (unquote(user) if "%" in user else user)[:MAX_TEXT], host.strip().lower()[:MAX_TEXT]


def _sdp_text(payload: bytes, found: dict[str, Any]) -> str:
    """The body, from the end of the line before it, as text: all that we read of it is ASCII (RFC 8866 section 5)."""
    kind = found["c"]
    if "sdp" not in kind and "multipart" not in kind:
        return ""
    payload = payload.lstrip(b"\r\n")
    start = payload.find(b"\r\n\r\n") + 3
    if start < 3:
        start = payload.find(b"\n\n") + 1
    return str(payload[start : start + 1 + found.get("l", MAX_BODY)], "latin-1")


def _read_text(value: str) -> str:
    return value.strip()[:MAX_TEXT]


def _read_length(value: str) -> int | None:
    found = _LENGTH.match(value)
    return int(found[1]) if found else None


_VALUE: Final[dict[str, Callable[[str], Any]]] = {
    "i": str.strip, "f": parse_address, "t": parse_address, "q": _read_cseq, "u": _read_text, "s": _read_text,
    "r": q850_cause, "c": str.lower, "l": _read_length,
}  # fmt: skip
"""How the value of each wanted header is read; None where it is of no use."""

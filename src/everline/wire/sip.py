"""
SIP as a passive listener reads it: what is usable is taken, what is not is counted, nothing is argued about.

Source: RFC 3261 sections 7 (messages, folding, compact forms) and 20 (header fields), RFC 3326 (Reason).
"""

import json
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from everline.errors import EverlineError
from everline.wire.sip_address import MAX_TEXT, SipAddress, parse_address

MAX_CALL_ID: Final = 512
"""Longest Call-ID kept, in characters: it is a sort key of the store, and none seen in use comes near."""
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
_Q850: Final = re.compile(r"Q\.850[ \t]*;[ \t]*cause[ \t]*=[ \t]*(\d{1,3})(?!\d)", re.IGNORECASE)
_LENGTH: Final = re.compile(r"[ \t]*(\d{1,7})[ \t]*\Z")

_NOBODY: Final = SipAddress("", "", "")
_START: Final = ""
"""The letter of the start line, which is no header field."""
_MEMO_CHARS: Final = 256
_MEMO_LINES: Final = 32_768
_MEMO_BYTES: Final = 1024

_Field: TypeAlias = tuple[str, Any] | tuple[()]  # Letter and value, or nothing.


def parse_sip(payload: bytes) -> SipMessage:
    """
    Read one SIP message. Header fields that are not UTF-8 (RFC 3261 section 7) are read as ISO 8859-1.

    Raises:
        SipDecodeError: It is not SIP, or has no usable Call-ID or CSeq.
    """
    return _read_usual(payload) or _read_any(payload)


def _read_any(payload: bytes) -> SipMessage:
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
        _sdp_text(payload, found) if _has_sdp(found) else "",
    ))  # fmt: skip


# --- messages as nearly all are made -----------------------------------------------------------------------------

# Lines that change with each message and hop, and of which nothing is wanted.
_PASSING: Final = rb"(?:(?:Via|Max-Forwards|Route|Record-Route|Contact|P-Asserted-Identity): .*+\n){0,32}+"
# Between them are the lines that name the dialog, which repeat within a call; those behind CSeq repeat from call to
# call. Both blocks are looked up whole. Nothing is taken that `_read_any` would read otherwise: a block with anything
# odd in it (folding, LF alone, a blank line) is remembered as None.
_USUAL: Final = re.compile(
    rb"(SIP/2\.0 [1-6]\d\d|[A-Z]{1,64}+(?= [^\s:].* SIP/2\.0\r\n)) .*+\n"
    rb"%b((?:.*+\n){1,6}?)CSeq: (.*)\r\n%b" % (_PASSING, _PASSING)
)
_MAX_BLOCK_LINES: Final = 64
_Read = TypeVar("_Read")


class _Memo(dict[bytes, _Read]):
    """What was read of some bytes, so that it is read once; bounded in number and in length."""

    def __init__(self, read: Callable[[bytes], _Read], *, entries: int) -> None:
        super().__init__()
        self._read = read
        self._entries = entries

    def __missing__(self, key: bytes) -> _Read:
        value = self._read(key)
        if len(key) <= _MEMO_BYTES:
            if len(self) >= self._entries:
                self.clear()
            self[key] = value
        return value


def _read_usual(payload: bytes) -> SipMessage | None:
    """A message of the usual lines in a usual order; None for any other, good or bad."""
    usual = _USUAL.match(payload)
    if usual is None:
        return None
    start = usual.end()
    end = payload.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    first, named, numbered = usual.groups()
    dialog, cseq, rest = _DIALOGS[named], _CSEQS[numbered], _RESTS[payload[start:end]]
    if dialog is None or cseq is None or rest is None:
        return None
    method, status = _FIRSTS[first]
    call_id, sender, recipient = dialog
    user_agent, cause, body = rest
    return _message(SipMessage, (
        cseq[1] if status else method, status, call_id, cseq[0], sender, recipient, user_agent, cause,
        str(payload[end + 3 : end + 4 + body], "latin-1") if body >= 0 else "",
    ))  # fmt: skip


def _block(block: bytes) -> dict[str, Any] | None:
    """The fields of some whole lines; None if they are odd, or mean something else as ISO 8859-1 than as UTF-8."""
    found = _block_fields(str(block, "latin-1"))
    return found if block.isascii() or found == _block_fields(str(block, "utf-8", "replace")) else None


def _block_fields(block: str) -> dict[str, Any] | None:
    lines = block.removesuffix("\r\n").split("\r\n")
    if "" in lines or len(lines) > _MAX_BLOCK_LINES:
        return None
    try:
        return _first_of_each(_look_up(lines))
    except _OddLinesError:
        return None


def _read_dialog(block: bytes) -> tuple[str, SipAddress, SipAddress] | None:
    found = _block(block)
    if found is None or found.keys() != {"i", "f", "t"} or not 0 < len(found["i"]) <= MAX_CALL_ID:
        return None
    return found["i"], found["f"], found["t"]


def _read_rest(block: bytes) -> tuple[str, int, int] | None:
    """User agent, cause and length of an SDP body, which is less than 0 if there is none."""
    found = _block(block)
    if found is None:
        return None
    return found.get("u") or found.get("s", ""), found.get("r", 0), found.get("l", MAX_BODY) if _has_sdp(found) else -1


_DIALOGS: Final = _Memo(_read_dialog, entries=16_384)
_RESTS: Final = _Memo(_read_rest, entries=4096)
_CSEQS: Final = _Memo(lambda value: _read_cseq(str(value, "latin-1")), entries=4096)
_FIRSTS: Final = _Memo(
    lambda word: ("", int(word[8:])) if word.startswith(b"SIP/2.0 ") else (str(word, "ascii"), 0), entries=1024
)

# --- any message -------------------------------------------------------------------------------------------------


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
    fields = _look_up(lines)
    if not fields:
        raise _OddLinesError
    if not fields[0] or fields[0][0] != _START:
        raise SipDecodeError(SipFault.NOT_SIP)
    return _first_of_each(fields)


def _look_up(lines: list[str]) -> list[_Field]:
    fields: list[Any] = list(map(_REMEMBERED.get, lines))
    unread = 0
    while None in fields:  # One or two lines of a message, mostly none.
        unread = fields.index(None, unread)
        fields[unread] = _read_field(lines[unread])
    return fields


def _first_of_each(fields: list[Any]) -> dict[str, Any]:  # _Field each, which `filter` cannot be told
    fields.reverse()
    return dict(filter(None, fields))


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


def _has_sdp(found: dict[str, Any]) -> bool:
    kind = found.get("c", "")
    return "sdp" in kind or "multipart" in kind


def _sdp_text(payload: bytes, found: dict[str, Any]) -> str:
    """The body, from the end of the line before it, as text: all that we read of it is ASCII (RFC 8866 section 5)."""
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

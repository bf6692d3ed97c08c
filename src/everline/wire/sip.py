"""
SIP as a passive listener reads it: what is usable is taken, what is not is counted, nothing is argued about.

Source: RFC 3261 sections 7 (messages, folding, compact forms) and 20 (header fields), RFC 3326 (Reason).
"""

import json
import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from everline.errors import EverlineError

MAX_CALL_ID: Final = 512
"""Longest Call-ID kept, in characters: it is a sort key of the store, and none seen in use comes near."""
MAX_TEXT: Final = 256
"""Longest other text field kept, in characters; longer ones are cut. The payload has them whole."""
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

_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_METHOD: Final = r"[A-Za-z0-9\-.!%*_+`'~]{1,32}"  # RFC 3261 section 25.1, and no method is longer.
_REQUEST: Final = re.compile(rf"({_METHOD})[ \t]+[^ \t].*[ \t]SIP/2\.0[ \t]*\Z", re.IGNORECASE)
_STATUS: Final = re.compile(r"SIP/2\.0[ \t]+([1-6]\d\d)(?:[ \t]|\Z)", re.IGNORECASE)
_CSEQ: Final = re.compile(rf"[ \t]*(\d{{1,10}})[ \t]+({_METHOD})[ \t]*\Z")
_QUOTED: Final = re.compile(r'[ \t]*"(?:[^"\\]|\\.)*"')
_TAG: Final = re.compile(r';[ \t]*tag[ \t]*=[ \t]*([^;,\s>"]+)', re.IGNORECASE)
_Q850: Final = re.compile(r"Q\.850[ \t]*;[ \t]*cause[ \t]*=[ \t]*(\d{1,3})(?!\d)", re.IGNORECASE)
_LENGTH: Final = re.compile(r"[ \t]*(\d{1,7})[ \t]*\Z")

_MEMO_CHARS: Final = 256
"""Only values up to this length are remembered, so that the memory of the caches is bounded whatever is sent."""


def parse_sip(payload: bytes) -> SipMessage:
    """
    Read one SIP message. Header fields that are not UTF-8 (RFC 3261 section 7) are read as ISO 8859-1.

    Raises:
        SipDecodeError: It is not SIP, or has no usable Call-ID or CSeq.
    """
    try:
        text = str(payload, "utf-8")
    except UnicodeDecodeError:
        text = _odd_text(payload)
    head, blank, body = text.partition("\r\n\r\n")
    if not blank:
        head, blank, body = text.partition("\n\n")
    if "\n " in head or "\n\t" in head:
        head = _FOLD.sub(" ", head)
    lines = head.split("\r\n", MAX_LINES)
    if len(lines) == 1 or not lines[0] or "\n" in lines[0]:
        lines = head.replace("\r\n", "\n").lstrip("\n").split("\n", MAX_LINES)
    method, status = _start_line(lines[0])
    found = _header_fields(lines)
    call_id = found.get("i", "").strip()
    if not call_id:
        raise SipDecodeError(SipFault.NO_CALL_ID)
    if len(call_id) > MAX_CALL_ID:
        raise SipDecodeError(SipFault.CALL_ID_TOO_LONG)
    cseq, cseq_method = _cseq(found.get("q", ""))
    return _message(SipMessage, (
        cseq_method if status else method,
        status,
        call_id,
        cseq,
        parse_address(found.get("f", "")),
        parse_address(found.get("t", "")),
        (found.get("u") or found.get("s") or "").strip()[:MAX_TEXT],
        q850_cause(found["r"]) if "r" in found else 0,
        _sdp_text(body, found) if body and "c" in found else "",
    ))  # fmt: skip


def _odd_text(payload: bytes) -> str:
    """The text of a message that is not all UTF-8: often only its body is not (ISUP, octets)."""
    head, blank, body = payload.partition(b"\r\n\r\n")
    try:
        text = str(head, "utf-8")
    except UnicodeDecodeError:
        text = str(head, "latin-1")
    return text + str(blank + body, "latin-1")


def unwrap_json(payload: bytes) -> bytes | None:
    """The SIP message inside the JSON wrapper that some agents send as HEP type 1, or None if it is no such thing."""
    try:
        wrapper = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    inner = wrapper.get("payload") if isinstance(wrapper, dict) else None
    return inner.encode("utf-8", "surrogatepass") if isinstance(inner, str) else None


def parse_address(value: str) -> SipAddress:
    """The parts of a From or To value (RFC 3261 section 20.10 and 20.20) that are usable; empty ones elsewhere."""
    return _remembered_address(value) if len(value) <= _MEMO_CHARS else _read_address(value)


def q850_cause(reason: str) -> int:
    """Q.850 cause of a Reason value (RFC 3326 section 2), 0 when it names none."""
    found = _Q850.search(reason[:MAX_TEXT])
    return int(found[1]) if found else 0


_message = tuple.__new__  # Half the cost of the constructor, on the hottest path there is.


def _header_fields(lines: list[str]) -> dict[str, str]:
    """The header fields that we want, by their letter; of one that repeats, the first."""
    found: dict[str, str] = {}
    known = _KNOWN_NAMES
    for line in lines:
        name, _, value = line.partition(":")
        letter = known.get(name)
        if letter is None:
            letter = _letter_of(name)
        if letter and letter not in found:
            found[letter] = value
    return found


_KNOWN_NAMES: Final[dict[str, str]] = {}


def _letter_of(name: str) -> str:
    """The letter of a header name in any spelling, "" for one that is not wanted; short ones are remembered."""
    letter = _WANTED.get(name.strip().lower(), "")
    if len(name) <= 32 and len(_KNOWN_NAMES) < 4096:
        _KNOWN_NAMES[name] = letter
    return letter


def _start_line(line: str) -> tuple[str, int]:
    return _remembered_start(line) if len(line) <= _MEMO_CHARS else _read_start(line)


def _read_start(line: str) -> tuple[str, int]:
    """Method and 0 of a request line, "" and status of a status line."""
    status = _STATUS.match(line)
    if status:
        return "", int(status[1])
    request = _REQUEST.match(line)
    if request:
        return request[1].upper(), 0
    raise SipDecodeError(SipFault.NOT_SIP)


def _cseq(value: str) -> tuple[int, str]:
    return _remembered_cseq(value) if len(value) <= _MEMO_CHARS else _read_cseq(value)


def _read_cseq(value: str) -> tuple[int, str]:
    found = _CSEQ.match(value)
    if found is None or int(found[1]) > MAX_CSEQ:
        raise SipDecodeError(SipFault.BAD_CSEQ)
    return int(found[1]), found[2].upper()


def _read_address(value: str) -> SipAddress:
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
    tag = _TAG.search(params)
    user, host = _read_uri(uri)
    return SipAddress(user, host, tag[1][:MAX_TEXT] if tag else "")


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


def _sdp_text(body: str, found: dict[str, str]) -> str:
    kind = found["c"].lower()
    if "sdp" not in kind and "multipart" not in kind:
        return ""
    length = _LENGTH.match(found.get("l", ""))
    return body[: int(length[1])] if length else body


# Header lines repeat within a call and across its hops: most are read once and remembered.
_remembered_start = lru_cache(maxsize=4096)(_read_start)
_remembered_cseq = lru_cache(maxsize=4096)(_read_cseq)
_remembered_address = lru_cache(maxsize=16_384)(_read_address)

"""
Numbers made unreadable, in place: what is masked has the length of what it was, so messages stay whole.

Of a number the first three and the last two characters are left: enough to see a country and to tell calls apart.
Users of up to four characters stay: extensions and service numbers are nobody's private number.
"""

import re
from collections.abc import Iterable
from typing import Final

MASK: Final = "*"
_SHORT: Final = 4
_BEGIN: Final = 3
_END: Final = 2

_USER: Final = re.compile(rb"(?i)\b((?:sips?|tel|callto|h323):)([^@;>,\s\"?]{1,256})")
_NAME: Final = re.compile(rb'"((?:[^"\\\r\n]|\\.){1,256})"(?=\s*<)')
_BARE_NAME: Final = re.compile(
    rb"(?im)^((?:from|to|f|t|contact|m|p-asserted-identity|p-preferred-identity|remote-party-id|diversion|referred-by|b|"
    rb"history-info)[ \t]*:[ \t]*)([^\"<:;,\s][^\"<:;,\r\n]{0,255}?)(?=[ \t]*<)"
)
_LOGIN: Final = re.compile(rb'(?i)\b(username\s*=\s*")([^"\r\n]{1,256})(?=")')
_READABLE: Final = re.compile(
    rb"(?im)^(?:content-type|c)[ \t]*:[ \t]*(?:application/(?:sdp|dtmf(?:-relay)?)|message/sipfrag)\b"
)
_DTMF: Final = re.compile(rb"(?im)^(signal\s*=\s*)([^\r\n]{1,16})")


def masked(number: str) -> str:
    """A number, or the user of a SIP URI."""
    if len(number) <= _SHORT:
        return number
    begin, end = (_BEGIN, _END) if len(number) > _BEGIN + _END + 1 else (1, 1)
    return number[:begin] + MASK * (len(number) - begin - end) + number[-end:]


def masked_uri(uri: str) -> str:
    """A SIP or tel URI, or a bare user."""
    if ":" not in uri:
        user, at, host = uri.partition("@")
        return masked(user) + at + host
    return masked_text(uri.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def masked_text(payload: bytes, numbers: Iterable[str] = ()) -> bytes:
    """
    A message: the users of all URIs, display names, names of logins, dialled digits.

    The numbers given, those known of the call, are hidden wherever they stand.
    """
    head, blank, body = payload.partition(b"\r\n\r\n")
    if body and not _READABLE.search(head):  # ISUP and the like hold numbers in forms of their own.
        body = _hidden(body)
    text = _USER.sub(_masked_user, head + blank + body)
    for pattern in (_BARE_NAME, _LOGIN, _DTMF):
        text = pattern.sub(lambda found: found[1] + _hidden(found[2]), text)
    text = _NAME.sub(lambda found: b'"' + _hidden(found[1]) + b'"', text)
    return without_numbers(text, numbers)


def without_numbers(payload: bytes, numbers: Iterable[str]) -> bytes:
    """Anything else that was captured with a call: the numbers given are hidden, extensions stay."""
    for number in sorted(set(numbers), key=len, reverse=True):
        if len(number) > _SHORT:
            payload = payload.replace(number.encode("utf-8", "surrogatepass"), _masked_bytes(number))
    return payload


def _masked_user(found: re.Match[bytes]) -> bytes:
    """The user of a URI; one without a user is a host, which is no secret."""
    scheme, user = found[1], found[2]
    has_host = found.string[found.end() : found.end() + 1] == b"@"
    if not has_host and scheme.lower() in {b"sip:", b"sips:"}:
        return found[0]
    head, colon, password = user.partition(b":")
    return scheme + _masked_bytes(head.decode("latin-1"), "latin-1") + colon + _hidden(password)


def _masked_bytes(number: str, encoding: str = "utf-8") -> bytes:
    """Masked, and as many bytes as before."""
    before = number.encode(encoding, "surrogatepass")
    after = masked(number).encode(encoding, "surrogatepass")
    return after if len(after) == len(before) else _hidden(before)


def _hidden(text: bytes) -> bytes:
    return MASK.encode() * len(text)

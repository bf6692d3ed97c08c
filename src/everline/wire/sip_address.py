"""
From and To: who calls whom, and the tag that is one end of a dialog.

Source: RFC 3261 sections 19.1, 20.20 and 20.39, RFC 3966 (tel).
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

MAX_TEXT: Final = 256
"""Longest text field kept (but for the Call-ID), in characters; longer ones are cut. The payload has them whole."""

# Repetitions that never give back what they took (*+, ++) keep the work linear, whatever a header field holds.
_QUOTED: Final = re.compile(r'[ \t]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"')
# The usual shape of From and To; whatever does not match it is read step by step.
_USUAL_ADDRESS: Final = re.compile(
    r'(?:[ \t]*+"[^"\\<>]*+"[ \t]*+|[^"<>:;,@]*+)<[sS][iI][pP][sS]?:(?:([^@:;<>%\[?]*+)@)?([A-Za-z0-9.\-]++)(?::\d++)?'
    r"(?:;[^<>?@]*+)?>(?:[ \t]*+;[ \t]*+tag=([^;,\s>\"]++))?[ \t]*\Z"
)
_TAG: Final = re.compile(r';[ \t]*tag[ \t]*=[ \t]*([^;,\s>"]+)', re.IGNORECASE)


class SipAddress(NamedTuple):
    """A From or To header field: user and host of its URI, and its tag; empty where absent."""

    user: str
    host: str
    tag: str


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

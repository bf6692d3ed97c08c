"""Session descriptions (RFC 8866): what a call record and a call ladder need of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from everline.wire.codecs import STATIC_PAYLOAD_TYPES

_HOLD_ADDRESSES: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- compared with, never bound to.
_LINE: Final = re.compile(r"([a-z])=(.*)")
_MEDIA: Final = re.compile(r"(\S+) +(\d{1,5})(?:/\d+)? +(\S+)(.*)")
_CONNECTION: Final = re.compile(r"IN +IP[46] +([^\s/]+)(?:/\S*)?\s*")
_RTPMAP: Final = re.compile(r"(\d{1,3}) +([\w.+\-]+/\d+)\S*\s*")
_PORT: Final = re.compile(r"(\d{1,5})(?: .*)?")
_BOUNDARY: Final = re.compile(r';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_PART_TYPE: Final = re.compile(rb"^content-type[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_PART_HEADERS_END: Final = re.compile(rb"(?:\A|\n)\r?\n")
_MAX_NESTED_PARTS: Final = 3


class Direction(StrEnum):
    """Which way media flows, as the sender of the description sees it (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


_DIRECTIONS: Final = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True)
class Media:
    """
    One m= line with what follows it.

    Attributes:
        kind: "audio", "video", "image", ...
        port: Where media is wanted; 0 for a stream that is refused or ended (RFC 3264 sections 6 and 8.2).
        proto: Transport, as "RTP/AVP" or "udptl".
        formats: Payload types, or other format names, in order of preference.
        codecs: "name/clock rate" of the payload types that are known by rtpmap or by RFC 3551.
        address: Where media is wanted; the session's if the medium has none of its own; "" if neither has.
        direction: Own or the session's attribute, else sendrecv.
        rtcp_port: As given by a=rtcp (RFC 3605); None means the port after `port`, or `port` itself with rtcp-mux.
        has_rtcp_mux: RTCP may share the port (RFC 5761).
    """

    kind: str
    port: int
    proto: str
    formats: tuple[str, ...]
    codecs: tuple[str, ...]
    address: str
    direction: Direction
    rtcp_port: int | None
    has_rtcp_mux: bool

    @property
    def is_held(self) -> bool:
        """The sender wants no media: by direction (RFC 3264 section 8.4) or by the older address 0.0.0.0."""
        return self.direction in {Direction.SENDONLY, Direction.INACTIVE} or self.address in _HOLD_ADDRESSES


@dataclass(frozen=True, slots=True)
class Sdp:
    """
    One session description.

    Attributes:
        address: Connection address of the session; "" if there is none.
        media: Its media, in order.
        skipped_lines: How many lines could not be understood.
    """

    address: str
    media: tuple[Media, ...]
    skipped_lines: int

    @property
    def is_hold(self) -> bool:
        """Whether the sender puts the peer on hold: it wants none of the media which are in use."""
        active = [medium for medium in self.media if medium.port]
        return bool(active) and all(medium.is_held for medium in active)

    @property
    def codecs(self) -> tuple[str, ...]:
        """Codecs of all media, in order of preference, each once."""
        return tuple(dict.fromkeys(codec for medium in self.media for codec in medium.codecs))


@dataclass(slots=True)
class _Section:
    """The session, or one medium, while its lines come in."""

    kind: str = ""
    port: int = 0
    proto: str = ""
    formats: tuple[str, ...] = ()
    address: str = ""
    direction: Direction | None = None
    rtcp_port: int | None = None
    has_rtcp_mux: bool = False
    names: dict[str, str] = field(default_factory=dict)

    def take(self, letter: str, value: str) -> bool:
        """Take a line of this section; False if it should mean something and does not."""
        if letter == "c":
            match = _CONNECTION.fullmatch(value)
            self.address = match[1] if match else self.address
            return match is not None
        return letter != "a" or self._attribute(*value.partition(":")[::2])

    def _attribute(self, name: str, value: str) -> bool:
        if name == "rtpmap":
            match = _RTPMAP.fullmatch(value)
            if match:
                self.names[match[1]] = match[2]
            return match is not None
        if name == "rtcp":
            match = _PORT.fullmatch(value)
            self.rtcp_port = int(match[1]) if match else self.rtcp_port
            return match is not None
        if name == "rtcp-mux":
            self.has_rtcp_mux = True
        elif name.strip() in _DIRECTIONS:
            self.direction = _DIRECTIONS[name.strip()]
        return True


def parse_sdp(body: bytes) -> Sdp:
    """
    Read a session description; never fails.

    Lines that are no SDP are skipped and counted, those that are of no use here are ignored. After an m= line
    which cannot be understood, everything up to the next one belongs to nothing.
    """
    session = _Section()
    media: list[_Section] = []
    current = session
    skipped = 0
    for line in body.decode("utf-8", "replace").split("\n"):
        text = line.strip("\r\0")
        match = _LINE.fullmatch(text)
        if match is None:
            skipped += bool(text.strip())
        elif match[1] != "m":
            skipped += not current.take(match[1], match[2])
        elif (opened := _open_medium(match[2])) is not None:
            media.append(opened)
            current = opened
        else:
            skipped += 1
            current = _Section()
    return Sdp(session.address, tuple(_medium(one, session) for one in media), skipped)


def _open_medium(value: str) -> _Section | None:
    match = _MEDIA.fullmatch(value)
    if match is None or int(match[2]) > 65_535:
        return None
    return _Section(kind=match[1], port=int(match[2]), proto=match[3], formats=tuple(match[4].split()))


def _medium(section: _Section, session: _Section) -> Media:
    codecs = (_codec(number, section.names) for number in section.formats if "RTP/" in section.proto)
    return Media(
        kind=section.kind,
        port=section.port,
        proto=section.proto,
        formats=section.formats,
        codecs=tuple(dict.fromkeys(codec for codec in codecs if codec)),
        address=section.address or session.address,
        direction=section.direction or session.direction or Direction.SENDRECV,
        rtcp_port=section.rtcp_port,
        has_rtcp_mux=section.has_rtcp_mux,
    )


def _codec(number: str, names: dict[str, str]) -> str | None:
    if number in names:
        return names[number]
    return STATIC_PAYLOAD_TYPES.get(int(number)) if re.fullmatch(r"[0-9]{1,3}", number) else None


def find_sdp(content_type: str, body: bytes) -> bytes | None:
    """
    The session description in a message body: the body itself, or the first such part of a multipart body.

    Args:
        content_type: Value of Content-Type; "" if the message has none, then a body which begins as SDP is SDP.
        body: The message body.

    Source: RFC 2046 section 5.1 (multipart), RFC 3261 section 7.4.
    """
    return _find_sdp(content_type, body, _MAX_NESTED_PARTS)


def _find_sdp(content_type: str, body: bytes, depth: int) -> bytes | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/sdp" or (not kind and body.startswith(b"v=0")):
        return body
    boundary = _BOUNDARY.search(content_type)
    if not kind.startswith("multipart/") or boundary is None or not depth:
        return None
    for part in _parts(body, boundary[1] or boundary[2]):
        headers_end = _PART_HEADERS_END.search(part)
        if headers_end is None:
            continue
        found = _PART_TYPE.search(part, 0, headers_end.start() + 1)
        inner = found[1].decode("latin-1") if found else "text/plain"
        if (sdp := _find_sdp(inner, part[headers_end.end() :], depth - 1)) is not None:
            return sdp
    return None


def _parts(body: bytes, boundary: str) -> Iterator[bytes]:
    """The parts between delimiter lines; the last one may lack its end."""
    delimiter = re.compile(
        rb"(?:\A|\r?\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
    )
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            yield body[start : match.start()]
        start = match.end() + body[match.end() : match.end() + 2].find(b"\n") + 1
        if match[1]:
            return
    if start is not None:
        yield body[start:]

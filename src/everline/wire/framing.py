"""Cut a byte stream into SIP messages (RFC 3261 sections 7.5 and 18.3)."""

import re
from collections import Counter
from enum import StrEnum
from typing import Final

MAX_MESSAGE_BYTES: Final = 65_535
"""What UDP could have carried: longer messages are no SIP that anybody sends."""

_MAX_LINE_BYTES: Final = 8_192
_TOKEN: Final = rb"[A-Za-z0-9.!%*_+`'~-]{1,64}"
_VERSION: Final = rb"[Ss][Ii][Pp]/2\.0"
START_LINE: Final = re.compile(
    rb"(?:" + _VERSION + rb" [1-6][0-9][0-9](?: [^\r\n]*)?|" + _TOKEN + rb" [^ \r\n]{1,8192} " + _VERSION + rb")\r?\n"
)
"""A request line or a status line (RFC 3261 sections 7.1 and 7.2), with the line end that a lax sender may use."""

# The next message may follow a body without line end: then its start line is the end of a line of garbage.
_GLUED_START: Final = re.compile(
    rb"(?:SIP/2\.0 [1-6][0-9][0-9] |"
    rb"(?:INVITE|ACK|BYE|CANCEL|OPTIONS|REGISTER|PRACK|UPDATE|INFO|SUBSCRIBE|NOTIFY|REFER|MESSAGE|PUBLISH) "
    rb"[a-zA-Z]+:[^ \r\n]+ SIP/2\.0\r?\n)"
)
_HEADERS_END: Final = re.compile(rb"\n\r?\n")
_CONTENT_LENGTH: Final = re.compile(
    rb"^(?:content-length|l)[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_DECIMAL: Final = re.compile(rb"0*([0-9]{1,9})[ \t]*")
_LINE_ENDS: Final = re.compile(rb"[\r\n]*")


class FramingLoss(StrEnum):
    """Why bytes of a stream were not made into a message: a closed set."""

    GARBAGE = "garbage"
    TOO_LONG = "too-long"
    CUT_OFF = "cut-off"
    BAD_COMPRESSION = "bad-compression"


class SipFramer:
    """
    Take a stream in pieces, give whole SIP messages; how the stream was cut into pieces makes no difference.

    Every byte is looked at a bounded number of times and at most `max_message` bytes are held. Line ends between
    messages are keep-alives (RFC 5626 section 3.5.1) and no loss. A message without a usable Content-Length has no
    body: RFC 3261 section 20.14 demands the field over streams, and waiting for more could wait for ever.
    After garbage, framing goes on with the next start line.

    Attributes:
        lost_bytes: Bytes given up, by reason; a counter passed in may be shared by many streams.
        unsized: Messages taken without a usable Content-Length.
    """

    def __init__(self, *, max_message: int = MAX_MESSAGE_BYTES, lost_bytes: Counter[FramingLoss] | None = None) -> None:
        self.lost_bytes: Counter[FramingLoss] = Counter() if lost_bytes is None else lost_bytes
        self.unsized = 0
        self._max_message = max_message
        self._buffer = bytearray()
        self._start = 0  # Where the message or line being looked at begins.
        self._scan = 0  # Everything before it has been searched.
        self._length = 0  # Of the message, once its headers are complete.
        self._in_message = False
        self._skip_line = False

    @property
    def pending_bytes(self) -> int:
        """Bytes held of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; give the messages which they complete."""
        self._buffer += data
        messages: list[bytes] = []
        while self._step(messages):
            pass
        del self._buffer[: self._start]
        self._scan -= self._start
        self._start = 0
        return messages

    def cut(self) -> None:
        """The stream has ended or lost bytes: give up what is incomplete and begin anew with what follows."""
        held = bytes(self._buffer)
        if held.strip(b"\r\n"):
            self.lost_bytes[FramingLoss.CUT_OFF] += len(held)
        self._buffer.clear()
        self._start = self._scan = self._length = 0
        self._in_message = self._skip_line = False

    def _step(self, messages: list[bytes]) -> bool:
        """Go one line or one part of a message further; False when more bytes are needed."""
        if not self._in_message:
            return self._find_start()
        if not self._length and not self._find_length():
            return False
        if not self._in_message:  # It was too long.
            return True
        end = self._start + self._length
        if len(self._buffer) < end:
            return False
        messages.append(bytes(self._buffer[self._start : end]))
        self._move_to(end)
        return True

    def _move_to(self, position: int) -> None:
        self._start = self._scan = position
        self._length = 0
        self._in_message = False

    def _find_start(self) -> bool:
        if not self._skip_line and (blank := _LINE_ENDS.match(self._buffer, self._start)):
            self._start = blank.end()
        end = self._buffer.find(b"\n", max(self._start, self._scan)) + 1
        if not end:
            self._scan = len(self._buffer)
            if self._skip_line or self._scan - self._start > _MAX_LINE_BYTES:
                self._lose(self._scan, FramingLoss.GARBAGE)
                self._skip_line = True
            return False
        if self._skip_line or end - self._start > _MAX_LINE_BYTES:
            self._skip_line = False
            self._lose(end, FramingLoss.GARBAGE)
        elif START_LINE.fullmatch(self._buffer, self._start, end):
            self._in_message = True
            self._scan = end - 1
        elif glued := _GLUED_START.search(self._buffer, self._start + 1, end):  # At the start it is no start line.
            self._lose(glued.start(), FramingLoss.GARBAGE)
        else:
            self._lose(end, FramingLoss.GARBAGE)
        return True

    def _find_length(self) -> bool:
        """Find the end of the headers and so the length of the message; False when more bytes are needed."""
        limit = self._start + self._max_message
        blank = _HEADERS_END.search(self._buffer, self._scan, limit)
        if blank is None:
            if len(self._buffer) < limit:
                self._scan = max(self._scan, len(self._buffer) - 2)
                return False
            self._lose(limit, FramingLoss.TOO_LONG)
            self._skip_line = True  # What follows begins in the middle of a line.
            return True
        length = blank.end() - self._start
        body = self._content_length(blank.end())
        if length + body > self._max_message:
            self._lose(blank.end(), FramingLoss.TOO_LONG)
        else:
            self._length = length + body
        return True

    def _content_length(self, headers_end: int) -> int:
        field = _CONTENT_LENGTH.search(self._buffer, self._start, headers_end)
        number = _DECIMAL.fullmatch(field[1]) if field else None
        if number is None:
            self.unsized += 1
            return 0
        return int(number[1])

    def _lose(self, end: int, reason: FramingLoss) -> None:
        self.lost_bytes[reason] += end - self._start
        self._move_to(end)

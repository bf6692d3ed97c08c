"""
64 KB of anything costs little: the work is bounded by the size of a datagram, not by what is in it.

A node decodes 60,000 messages a second; one that took a second would be a denial of service by a single datagram.
The work is counted, not timed: lines of Python run, which no machine changes. What runs inside a regular expression or
the JSON reader is no line of ours, so its CPU time is held to a bound that only work out of proportion can reach.
"""

import gzip
import sys
import zlib
from collections.abc import Callable
from time import process_time
from types import FrameType
from typing import Any, Final

import pytest
from tests.wire.frames import chunk, hep3

from everline.calls.decode import MAX_DATAGRAM, MAX_RTCP, Datagram, DecodeRules, decode_batch
from everline.wire import sip

MAX_LINES_RUN: Final = 50_000
"""Less than a line of Python for each byte, and far more than an ordinary message takes."""
MAX_CPU_S: Final = 0.1
"""Twenty times what the worst of them was measured to take; quadratic time would take a thousand times that."""

SIZE: Final = 64_000


def fill(unit: bytes, size: int = SIZE) -> bytes:
    """As much of one thing as fits."""
    return (unit * (size // len(unit) + 1))[:size]


def message(*lines: bytes, body: bytes = b"") -> bytes:
    """An INVITE that would be in order, but for these header lines and this body."""
    usual = (b"Call-ID: a@b", b"CSeq: 1 INVITE", b"Content-Type: application/sdp")
    return b"\r\n".join((b"INVITE sip:b@h SIP/2.0", *lines, *usual, b"", b"")) + body


def short_lines(start: bytes, unit: bytes) -> bytes:
    """As many different lines as are read, each as long as one that is remembered."""
    return message(*(b"%s%d%s" % (start, number, fill(unit, 230)) for number in range(250)))


UNITS: Final = {
    "newlines": b"\n", "line-ends": b"\r\n", "spaces": b" ", "tabs": b"\t", "folds": b"\r\n ", "semicolons": b";",
    "quotes": b'"', "backslashes": b"\\", "escaped-quotes": b'\\"', "bytes-of-ff": b"\xff", "nulls": b"\0",
    "brackets": b"<sip:", "at-signs": b"@", "percent-escapes": b"%41", "tags": b"; tag=a", "digits": b"1",
    "versions": b" SIP/2.0", "two-byte-letters": "é".encode(), "nested-quotes": b'"a" <"', "media": b"\nm=a 1 RTP/A 1",
    "maps": b"\na=rtpmap:1 a/1",
}  # fmt: skip
PLACES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "bare": fill,
    "in-the-start-line": lambda unit: b"INVITE " + fill(unit) + b" SIP/2.0\r\n\r\n",
    "in-from": lambda unit: message(b"From: " + fill(unit)),
    "in-a-quoted-name": lambda unit: message(b'From: "' + fill(unit)),
    "in-a-uri": lambda unit: message(b"From: <sip:" + fill(unit)),
    "in-the-parameters-of-to": lambda unit: message(b"To: <sip:a@b>" + fill(unit)),
    "in-cseq": lambda unit: message(b"CSeq: 1" + fill(unit)),
    "in-reason": lambda unit: message(b"Reason: Q.850;" + fill(unit)),
    "in-content-length": lambda unit: message(b"Content-Length: 1" + fill(unit)),
    "as-a-header-name": lambda unit: message(fill(unit)),
    "in-many-lines": lambda unit: short_lines(b"From: <sip:", unit),
    "in-many-other-lines": lambda unit: short_lines(b"To: ", unit),
    "in-the-body": lambda unit: message(body=fill(unit)),
    "in-a-media-line": lambda unit: message(body=b"v=0\nm=audio 1" + fill(unit)),
    "in-json": lambda unit: b'{"payload":"' + fill(unit) + b'"}',
}
OTHERS: Final = {
    "thousands-of-headers": message(*(b"X%d: y" % number for number in range(6000))),
    "thousands-of-froms": message(*(b"f: %d" % number for number in range(6000))),
    "deep-json": b'{"a":' * 12_800,
    "deep-json-lists": b'{"a":' + b"[" * SIZE,
    "a-number-of-64000-digits": b'{"a":' + b"1" * SIZE + b"}",
    "a-fraction-of-64000-digits": b'{"a":0.' + b"1" * SIZE + b"}",
    "json-of-empty-lists": b'{"payload":[' + b"[]," * 21_000 + b"1]}",
    "json-of-line-ends": b'{"payload":"' + b"\\n" * 32_000 + b'"}',
    "hep-of-empty-chunks": hep3([chunk(1, b"")] * 10_000),
    "hep-of-vendors-chunks": hep3([chunk(1, b"", vendor=9)] * 10_000),
    "hep-of-many-compressed-payloads": hep3([chunk(0x10, zlib.compress(fill(b"INVITE ")))] * 100),
    "hep-bomb": hep3([chunk(0x10, zlib.compress(bytes(60_000_000)))]),
    "hep-that-inflates-to-line-ends": hep3([chunk(0x10, zlib.compress(fill(b"\r\n")))]),
    "gzip-bomb": gzip.compress(bytes(60_000_000)),
    "rtcp-of-empty-packets": hep3(
        [chunk(11, b"\x05"), chunk(17, b"a"), chunk(15, fill(b"\x80\xca\x00\x00", MAX_RTCP))]
    ),
    "rtcp-of-short-reports": hep3(
        [chunk(11, b"\x05"), chunk(17, b"a"), chunk(15, fill(b"\x80\xc9\0\1\0\0\0\7", MAX_RTCP))]
    ),
    "rtcp-of-empty-blocks": hep3([chunk(11, b"\x05"), chunk(17, b"a"), chunk(15, b"\x80\xcf\x07\xff" + bytes(8188))]),
    "rtcp-json-of-blocks": hep3(
        [chunk(11, b"\x05"), chunk(17, b"a"), chunk(15, b'{"report_blocks":[' + b"{}," * 2700 + b"{}]}")]
    ),
}
HOSTILE: Final = {
    **{f"{name}-{place}": made(unit) for place, made in PLACES.items() for name, unit in UNITS.items()},
    **OTHERS,
}


def decode(data: bytes) -> int:
    """Decode one datagram, with nothing remembered of those before; how many events it gives."""
    for remembered in (sip._REMEMBERED, sip._DIALOGS, sip._RESTS, sip._CSEQS, sip._FIRSTS):
        remembered.clear()
    return len(decode_batch([Datagram(data[:MAX_DATAGRAM], 1, "192.0.2.1", 5060)], DecodeRules("ingest-1")).batch)


def lines_run(data: bytes) -> int:
    """Lines of Python that decoding it takes."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:  # as the interpreter calls it
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        decode(data)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_64_kb_of_anything_costs_little(data: bytes) -> None:
    """Whatever its bytes: the same bound for all."""
    assert lines_run(data) < MAX_LINES_RUN

    def cpu_s() -> float:
        start = process_time()
        decode(data)
        return process_time() - start

    assert min(cpu_s() for _ in range(2)) < MAX_CPU_S


def test_an_ordinary_message_is_far_from_the_bound() -> None:
    """The bound is one for abuse."""
    ordinary = message(b"From: <sip:a@h>;tag=1", b"To: <sip:b@h>", *(b"X-%d: y" % number for number in range(20)))

    assert decode(ordinary) == 1
    assert lines_run(ordinary) * 20 < MAX_LINES_RUN


def test_the_count_of_lines_grows_with_work() -> None:
    """The measure can fail: more header lines that are read are more lines run."""
    few, many = (message(*(b"X-%d: y" % number for number in range(count))) for count in (20, 200))

    assert lines_run(many) > 2 * lines_run(few)

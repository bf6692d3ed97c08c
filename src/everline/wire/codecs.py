"""The codecs an SDP body offers, in one pass: what the hot path needs of SDP."""

import re
from functools import lru_cache
from typing import Final

# RFC 3551 section 6, tables 4 and 5: payload types that need no rtpmap.
STATIC_PAYLOAD_TYPES: Final = {
    0: "PCMU/8000", 3: "GSM/8000", 4: "G723/8000", 5: "DVI4/8000", 6: "DVI4/16000", 7: "LPC/8000", 8: "PCMA/8000",
    9: "G722/8000", 10: "L16/44100", 11: "L16/44100", 12: "QCELP/8000", 13: "CN/8000", 14: "MPA/90000",
    15: "G728/8000", 16: "DVI4/11025", 17: "DVI4/22050", 18: "G729/8000", 25: "CelB/90000", 26: "JPEG/90000",
    28: "nv/90000", 31: "H261/90000", 32: "MPV/90000", 33: "MP2T/90000", 34: "H263/90000",
}  # fmt: skip

MAX_CODECS: Final = 32
_MEMO_CHARS: Final = 1024
# Every repetition is bounded: no body, however made, is read twice.
_MEDIA: Final = r"m=\w{1,16} \d{1,5}(?:/\d{1,5})? (?:\w{1,8}/){0,3}RTP/\w{1,8}((?: \d{1,3}){1,64})"
_RTPMAP: Final = r"a=rtpmap:(\d{1,3}) ([\w.+\-]{1,32}/\d{1,9})"
_LINES: Final = re.compile(rf"\n(?:{_MEDIA}|{_RTPMAP})")


def offered_codecs(sdp: str) -> str:
    """
    Codecs of an SDP body as "name/clock rate", comma separated, in the order of its media lines, each once.

    Source: RFC 8866 sections 5.14 (m=) and 6.6 (rtpmap), RFC 3551 section 6 (static types).
    """
    before, audio, after = sdp.partition("\nm=audio ")
    if audio and "\nm=" not in before:
        port, _, formats = after.partition(" ")
        if port.isdecimal() and len(formats) <= _MEMO_CHARS:
            return _after_port(formats)
    return _in_order(tuple(_LINES.findall(sdp)[: MAX_CODECS * 2]))


@lru_cache(maxsize=4096)
def _after_port(formats: str) -> str:
    """What follows the port of the only, or first, audio line is often the same from call to call: it is read once."""
    return _in_order(tuple(_LINES.findall(f"\nm=audio 9 {formats}")[: MAX_CODECS * 2]))


@lru_cache(maxsize=4096)
def _in_order(lines: tuple[tuple[str, str, str], ...]) -> str:
    """The names of the codecs that these lines list; the same lines come again and again."""
    names = {int(number): name for _, number, name in lines if number}
    found: dict[str, None] = {}
    for payload_types, _, _ in lines:
        for number in map(int, payload_types.split()):
            name = names.get(number) or STATIC_PAYLOAD_TYPES.get(number)
            if name:
                found[name] = None
    return ",".join(tuple(found)[:MAX_CODECS])

"""Which codec the two sides of a call agreed on, as far as their session descriptions leave no doubt."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from everline.calls.event import SIP, Event

_NO_SPEECH: Final = frozenset({"TELEPHONE-EVENT", "CN", "RED", "RTX", "ULPFEC"})
"""Formats that come beside a codec (RFC 4733, 3389, 2198, 4588, 5109)."""


class Described(NamedTuple):
    """
    The codecs that one INVITE, or response to it, described.

    Attributes:
        status: Of the response; 0 for a request.
        codecs: As in `Event.codecs`.
    """

    status: int
    codecs: str


class Agreed(NamedTuple):
    """
    What streams of the call are made of; None where more than one answer is possible.

    Attributes:
        codec: Name and clock rate: what all answers name first, which is what is to be used (RFC 3264 section 6.1).
        clock_hz: The clock rate that all codecs of the answers share: RTCP does not say which of them a stream has.
    """

    codec: str | None = None
    clock_hz: int | None = None


def agreed(described: Iterable[Described]) -> Agreed:
    """
    The codec and clock rate by the final answers; before there is one, by provisional answers, else by offers.

    A call whose legs have different codecs, or that has video beside audio, leaves open which stream has which.
    """
    lists = [(one.status // 100, _codecs(one.codecs)) for one in described if one.status < 300]
    best = max((group for group, codecs in lists if codecs), default=0)
    chosen = [codecs for group, codecs in lists if codecs and group == best]
    # An offer says what might be used: only one that leaves no choice says what is.
    first = {codec for codecs in chosen for codec in (codecs[:1] if best else codecs)}
    clocks = {_clock_hz(codec) for codecs in chosen for codec in codecs}
    return Agreed(first.pop() if len(first) == 1 else None, clocks.pop() if len(clocks) == 1 else None)


def described_by(events: Iterable[Event]) -> set[Described]:
    """What the messages of a call describe."""
    return {
        Described(one.status, one.codecs)
        for one in events
        if one.protocol == SIP and one.method == "INVITE" and one.codecs and one.status < 300
    }


def _codecs(text: str) -> list[str]:
    """Codecs for speech or video, in the order given."""
    return [one for one in text.upper().split(",") if one and one.partition("/")[0] not in _NO_SPEECH]


def _clock_hz(codec: str) -> int | None:
    rate = codec.partition("/")[2]
    return int(rate[:9]) or None if rate.isascii() and rate.isdigit() else None

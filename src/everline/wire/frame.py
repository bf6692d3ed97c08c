"""One frame of a capture file, and what can be wrong with such a file."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from everline.errors import EverlineError


class CaptureFault(StrEnum):
    """Why a capture file cannot be read any further: a closed set."""

    NOT_A_CAPTURE = "not-a-capture"
    TRUNCATED = "truncated"
    BAD_LENGTH = "bad-length"
    BAD_BYTE_ORDER = "bad-byte-order"
    NO_INTERFACE = "no-interface"


_NEXT_ACT: Final = {
    CaptureFault.NOT_A_CAPTURE: "need a pcap or pcapng file; if it is compressed, unpack it first",
    CaptureFault.TRUNCATED: "the file ends in the middle of a frame; the frames before it are usable, "
    "or copy the file again after its writer has closed it",
    CaptureFault.BAD_LENGTH: "a length does not fit its frame; the frames before it are usable, "
    "try `pcapfix` or capture again",
    CaptureFault.BAD_BYTE_ORDER: "a section names no known byte order; the frames before it are usable, "
    "try `pcapfix` or capture again",
    CaptureFault.NO_INTERFACE: "a frame belongs to an interface that the file does not describe; "
    "rewrite the file with `editcap`",
}


class CaptureFileError(EverlineError):
    """The capture file is damaged or is none. All frames before `offset` have been given already."""

    def __init__(self, reason: CaptureFault, *, offset: int) -> None:
        super().__init__(f"capture file {reason} at byte {offset}: {_NEXT_ACT[reason]}")
        self.reason, self.offset = reason, offset


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One captured frame.

    Attributes:
        captured_us: Capture time, UTC epoch microseconds; 0 when the file has none.
        link_type: LINKTYPE number of tcpdump.org (1 Ethernet, 101 raw IP, 113 Linux cooked).
        data: The frame as captured; shorter than on the wire if the capture's snap length cut it.
    """

    captured_us: int
    link_type: int
    data: bytes

"""The demo's capture (SIPp through Kamailio) again and again, each time as other calls."""

import re
from collections.abc import Iterator
from typing import Final

from everline.demo.play import SAMPLE
from everline.replay.source import open_capture

# SIPp puts its process id into Call-IDs, tags and branches; Kamailio makes its branches itself.
_CALLER: Final = re.compile(rb"\r\nCall-ID: \S+-(\d{5})@")
_BRANCH: Final = b"z9hG4bK"


class CapturedTraffic:
    """HEP datagrams as Kamailio sent them; every round has calls, tags and branches that were not there before."""

    def __init__(self) -> None:
        self._datagrams = [message.payload for message in open_capture(SAMPLE).messages()]
        self._callers = sorted({found[1] for data in self._datagrams if (found := _CALLER.search(data))})

    def __len__(self) -> int:
        return len(self._datagrams)

    def rounds(self, numbers: range) -> Iterator[bytes]:
        """All datagrams, once for each number; lengths and all else stay as captured."""
        for number in numbers:
            branch = b"z9hG%03x" % (number % 0x1000)
            names = {
                caller: b"%05d" % ((number * len(self._callers) + index) % 100_000)
                for index, caller in enumerate(self._callers)
            }
            pattern = re.compile(b"|".join(self._callers))
            for data in self._datagrams:
                yield pattern.sub(lambda found: names[found[0]], data).replace(_BRANCH, branch)  # noqa: B023 - used at once

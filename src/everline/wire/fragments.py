"""Put IP fragments together (RFC 791 section 3.2, RFC 8200 section 4.5) with bounded memory."""

from bisect import bisect_left
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from everline.wire.loss import Loss

_MAX_DATAGRAM_BYTES: Final = 65_535
_MAX_FRAGMENTS: Final = 1_024
"""A datagram of the greatest size, in fragments of 64 bytes; less is an attack."""
_MAX_DATAGRAMS: Final = 4_096
_MAX_HELD_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_US: Final = 30_000_000
"""The time-out of Linux, for IPv4 and (shorter than RFC 8200's 60 s) for IPv6."""

DatagramKey = tuple[bytes, bytes, int, int]
"""Source, destination, identification, protocol."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """
    One fragment.

    Attributes:
        captured_us: Its capture time.
        offset: Where its data belongs, in bytes.
        is_last: No more fragments after it.
        data: Its data.
    """

    captured_us: int
    offset: int
    is_last: bool
    data: bytes


@dataclass(slots=True)
class _Datagram:
    """Fragments sorted by offset, never overlapping; `spoiled` swallows the rest of a datagram given up."""

    first_us: int
    last_us: int
    spoiled: bool = False
    total: int | None = None
    held: int = 0
    offsets: list[int] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)


class Fragments:
    """
    The datagrams that are not complete yet.

    A fragment which is there already, byte for byte, is ignored. Any other overlap spoils the datagram: RFC 5722
    demands it for IPv6, Linux does it for IPv4 too, since nobody but an attacker sends such.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._datagrams: OrderedDict[DatagramKey, _Datagram] = OrderedDict()
        self._held_bytes = 0

    def add(self, key: DatagramKey, fragment: Fragment) -> tuple[int, bytes] | None:
        """Take one fragment; give the time of the latest fragment and the datagram's data when it is complete."""
        self._expire(fragment.captured_us)
        end = fragment.offset + len(fragment.data)
        if not fragment.data or end > _MAX_DATAGRAM_BYTES or not (fragment.is_last or len(fragment.data) % 8 == 0):
            self._counts[Loss.FRAGMENT_BAD] += 1
            return None
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(fragment.captured_us, fragment.captured_us)
        if datagram.spoiled:
            return None
        if not self._insert(datagram, fragment):
            self._spoil(datagram)
            return None
        self._evict(but=datagram)
        if datagram.held != datagram.total:
            return None
        del self._datagrams[key]
        self._held_bytes -= datagram.held
        return datagram.last_us, b"".join(datagram.parts)

    def flush(self) -> None:
        """The capture is over: count what stayed incomplete."""
        while self._datagrams:
            self._drop_oldest(Loss.FRAGMENT_TIMEOUT)

    def _insert(self, datagram: _Datagram, fragment: Fragment) -> bool:
        """Put a fragment in its place; False if it contradicts what is there."""
        start, end = fragment.offset, fragment.offset + len(fragment.data)
        offsets, parts = datagram.offsets, datagram.parts
        at = bisect_left(offsets, start)
        if at < len(offsets) and offsets[at] == start and parts[at] == fragment.data:
            return not fragment.is_last or datagram.total == end
        before = offsets[at - 1] + len(parts[at - 1]) if at else 0
        after = offsets[at] if at < len(offsets) else _MAX_DATAGRAM_BYTES
        if before > start or end > after or len(offsets) >= _MAX_FRAGMENTS:
            return False
        if fragment.is_last:
            if datagram.total is not None or at < len(offsets):
                return False
            datagram.total = end
        elif datagram.total is not None and end > datagram.total:
            return False
        offsets.insert(at, start)
        parts.insert(at, fragment.data)
        datagram.held += len(fragment.data)
        datagram.last_us = max(datagram.last_us, fragment.captured_us)
        self._held_bytes += len(fragment.data)
        return True

    def _spoil(self, datagram: _Datagram) -> None:
        self._counts[Loss.FRAGMENT_OVERLAP] += 1
        self._held_bytes -= datagram.held
        datagram.spoiled, datagram.held = True, 0
        datagram.offsets.clear()
        datagram.parts.clear()

    def _expire(self, now_us: int) -> None:
        while self._datagrams and now_us - next(iter(self._datagrams.values())).first_us > _TIMEOUT_US:
            self._drop_oldest(Loss.FRAGMENT_TIMEOUT)

    def _evict(self, *, but: _Datagram) -> None:
        while len(self._datagrams) > _MAX_DATAGRAMS or self._held_bytes > _MAX_HELD_BYTES:
            if next(iter(self._datagrams.values())) is but:
                break
            self._drop_oldest(Loss.FRAGMENT_EVICTED)

    def _drop_oldest(self, reason: Loss) -> None:
        _, datagram = self._datagrams.popitem(last=False)
        self._held_bytes -= datagram.held
        if not datagram.spoiled:
            self._counts[reason] += 1

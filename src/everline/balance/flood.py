"""A limit for each Call-ID, so that one that loops can't take the place of all others."""

from typing import Final

MOST_KEYS: Final = 4_096
"""Keys that are counted one by one in a second; those of a slot that many share are beyond it let through."""


class FloodGate:
    """
    Counts datagrams of each slot, and once a slot is busy, of each key in it: others in the slot are not disturbed.

    Args:
        slots: How many there are.
        per_s: Datagrams of one key that are let through in a second.
    """

    def __init__(self, slots: int, *, per_s: int) -> None:
        self._slots = slots
        self._per_s = per_s
        self._second = 0
        self._counts = [0] * slots
        self._busy: dict[bytes, int] = {}

    def lets(self, key: bytes, slot: int) -> bool:
        """Whether one more datagram of a key may pass in this second."""
        self._counts[slot] += 1
        return self._counts[slot] <= self._per_s or self._lets_key(key)

    def at(self, second: int) -> None:
        """Which second it is now; with each, counting begins anew."""
        if second != self._second:
            self._second = second
            self._counts = [0] * self._slots
            self._busy.clear()

    def _lets_key(self, key: bytes) -> bool:
        count = self._busy.get(key, 0) + 1
        if count == 1 and len(self._busy) >= MOST_KEYS:
            return True
        self._busy[key] = count
        return count <= self._per_s

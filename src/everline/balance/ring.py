"""
Who owns a call: one member, and with mirroring a second one in another region or rack.

Each slot has two owners at home, who depend on the full set of members alone. While both live nobody else gets its
calls; when one is dead the other keeps what it has, and the slot looks for a successor of the dead one by a walk of its
own over the table. So the calls of a dead member spread over all others, those of the living stay, and all come back
with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from everline.balance.maglev import SLOTS, Slots, table_of

NOBODY: Final = 255
"""In place of a member: there is none."""
_KEY_SEED: Final = 0
_STEPS: Final = 48
"""A walk that has met no living member after so many steps asks for the next one that lives by its number."""

_Chosen = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Member:
    """
    An ingest node.

    Attributes:
        name: What its place in the table is made of.
    """

    name: str
    rack: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Owners:
    """
    The members that get each slot's datagrams now, as indexes into the ring's members.

    Attributes:
        first: `NOBODY` when no member lives.
        second: `NOBODY` without mirroring, or when only one lives.
    """

    first: bytes
    second: bytes

    def shares(self, members: int) -> list[float]:
        """Of each member the part of all datagrams that it gets; with mirroring they add up to two."""
        slots = self.first + self.second
        return [slots.count(index) / SLOTS for index in range(members)]


def slot_of(key: bytes) -> int:
    """The slot of a Call-ID, or of whatever else a datagram is routed by."""
    return int(xxh3_64_intdigest(key, _KEY_SEED)) % SLOTS


class Ring:
    """
    The full set of members, the dead included.

    Args:
        members: Up to 255, in any order.
        mirror: 1, or 2 for a second owner of each call.

    Raises:
        ValueError: There are none, or too many, or two of one name; another number of owners.
    """

    def __init__(self, members: Sequence[Member], *, mirror: int = 1) -> None:
        if mirror not in {1, 2} or len(members) > NOBODY:
            raise ValueError(f"need one or two owners of each call among up to {NOBODY} members")
        self.members = tuple(sorted(members, key=lambda one: one.name))
        self._mirror = mirror
        self._table = table_of([one.name for one in self.members])
        self._apart = _apart(self.members)
        self._stride = _strides()
        everybody = np.ones(len(members), dtype=np.bool_)
        self._second = self._beside(self._table, everybody) if mirror > 1 else _nobody()

    def owners(self, alive: Collection[str]) -> Owners:
        """Who owns each slot while only some members, by name, live."""
        lives = np.array([one.name in alive for one in self.members], dtype=np.bool_)
        if not lives.any():
            return Owners(bytes([NOBODY]) * SLOTS, bytes([NOBODY]) * SLOTS)
        padded = np.append(lives, np.zeros(NOBODY + 1 - len(lives), dtype=np.bool_))  # NOBODY does not live.
        first = np.where(padded[self._table], self._table, np.where(padded[self._second], self._second, NOBODY))
        first = self._walked(first.astype(np.uint8), lives[np.newaxis, :], np.zeros(SLOTS, dtype=np.uint8))
        if self._mirror == 1:
            return Owners(first.tobytes(), bytes([NOBODY]) * SLOTS)
        kept = padded[self._second] & (self._second != first)
        beside = self._beside(first, lives)
        return Owners(first.tobytes(), np.where(kept, self._second, beside).astype(np.uint8).tobytes())

    def _beside(self, first: Slots, lives: _Chosen) -> Slots:
        """For each slot another living member: in another region, else in another rack, else any; else `NOBODY`."""
        fit = np.zeros((len(lives), len(lives)), dtype=np.bool_)
        for apart in self._apart:  # The furthest apart first.
            found = apart & lives[np.newaxis, :]
            fit |= found & ~_some(fit)[:, np.newaxis]
        return self._walked(_nobody(), fit, first)

    def _walked(self, owners: Slots, fit: _Chosen, rows: Slots) -> Slots:
        """Give slots that nobody has to the first member on their walk that fits: `fit[row of the slot, member]`."""
        open_slots = np.flatnonzero((owners == NOBODY) & _some(fit)[rows])
        at = open_slots
        for _ in range(_STEPS):
            if not len(open_slots):
                return owners
            at = (at + self._stride[open_slots]) % SLOTS
            met = self._table[at]
            fits = fit[rows[open_slots], met]
            owners[open_slots[fits]] = met[fits]
            open_slots, at = open_slots[~fits], at[~fits]
        for slot in open_slots.tolist():
            fitting = np.flatnonzero(fit[rows[slot]])
            owners[slot] = fitting[int(self._stride[slot]) % len(fitting)]
        return owners


def _some(fit: _Chosen) -> _Chosen:
    return np.asarray(fit.any(axis=1), dtype=np.bool_)


def _nobody() -> Slots:
    return np.full(SLOTS, NOBODY, dtype=np.uint8)


def _strides() -> NDArray[np.int64]:
    """Of each slot the step of its walk: neighbours walk apart, so that what one member had goes to all others."""
    mixed = np.arange(1, SLOTS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(17)).astype(np.int64) % (SLOTS - 1) + 1


def _apart(members: Sequence[Member]) -> list[_Chosen]:
    """Which members are in different regions; in different racks; different at all."""
    ways = (
        [(one.region) for one in members],
        [(one.region, one.rack) for one in members],
        [one.name for one in members],
    )
    return [np.array([[one != other for other in way] for one in way], dtype=np.bool_) for way in ways]

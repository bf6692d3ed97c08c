"""
Maglev's table: which member owns each of 65,537 slots.

Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Each member
has a permutation of all slots, made of its name alone; the members take turns, and each claims the first slot of its
permutation that is free. So all have the same number of slots, give or take one; and the table depends on nothing but
the names.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

SLOTS: Final = 65_537
"""A prime, so that each step size meets all slots."""
MOST_MEMBERS: Final = 255
_OFFSET_SEED: Final = 1
_SKIP_SEED: Final = 2
_WALKED: Final = SLOTS * 97 // 100
"""While few slots are taken a member walks to its next free one; the last ones it looks for in order."""

Slots = NDArray[np.uint8]
"""For each slot the number of a member."""


def table_of(names: Sequence[str]) -> Slots:
    """
    The owner of each slot, as an index into the names.

    Args:
        names: Of 1 to 255 members, each once; their order only decides what their indexes are.

    Raises:
        ValueError: There are none, too many, or two of one name.
    """
    if not 1 <= len(names) <= MOST_MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"need 1 to {MOST_MEMBERS} members with names of their own, not {list(names)[:5]}")
    order = sorted(range(len(names)), key=names.__getitem__)
    offsets, skips = zip(*(steps_of(names[index]) for index in order), strict=True)
    taken = bytearray(SLOTS)
    owners = bytearray(SLOTS)
    _claim_walking(owners, taken, offsets, skips)
    _claim_the_last(owners, taken, offsets, skips)
    return np.array(order, dtype=np.uint8)[np.frombuffer(owners, dtype=np.uint8)]


def steps_of(name: str) -> tuple[int, int]:
    """Where the permutation of a member begins, and its step from one slot to the next."""
    return (
        int(xxh3_64_intdigest(name.encode(), _OFFSET_SEED)) % SLOTS,
        int(xxh3_64_intdigest(name.encode(), _SKIP_SEED)) % (SLOTS - 1) + 1,
    )


def _claim_walking(owners: bytearray, taken: bytearray, offsets: Sequence[int], skips: Sequence[int]) -> None:
    at, members = list(offsets), len(offsets)
    for turn in range(_WALKED):
        member = turn % members
        slot, skip = at[member], skips[member]
        while taken[slot]:
            slot += skip
            if slot >= SLOTS:
                slot -= SLOTS
        taken[slot] = 1
        owners[slot] = member
        at[member] = slot


def _claim_the_last(owners: bytearray, taken: bytearray, offsets: Sequence[int], skips: Sequence[int]) -> None:
    """The same turns go on, each member with the free slots in the order in which its permutation has them."""
    free = np.flatnonzero(np.frombuffer(taken, dtype=np.uint8) == 0)
    wanted = [
        iter(free[np.argsort((free - offset) * pow(skip, -1, SLOTS) % SLOTS)].tolist())
        for offset, skip in zip(offsets, skips, strict=True)
    ]
    for turn in range(_WALKED, SLOTS):
        member = turn % len(offsets)
        slot = next(slot for slot in wanted[member] if not taken[slot])
        taken[slot] = 1
        owners[slot] = member

"""Answers to balancers that ask, on the way that packets take, whether this node takes any."""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

from everline.wire.keepalive import answer_to

MOST_PER_S: Final = 1_000
"""Many times what all balancers of a cluster ask; whoever asks more often than that is none."""


class Keepalives:
    """
    What is asked and answered.

    Args:
        key: Shared with the balancers; without one every well-formed question is answered.
        is_draining: Whether nothing new should be sent here.
        clock: Monotonic seconds.

    Attributes:
        answered: Questions that were answered.
        refused: Those that were not: made with another key, damaged, or too many.
    """

    def __init__(
        self,
        key: bytes = b"",
        *,
        is_draining: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.answered = 0
        self.refused = 0
        self._key = key
        self._is_draining = is_draining
        self._clock = clock
        self._second = 0
        self._left = MOST_PER_S
        self._asked_s = -inf

    def answer(self, question: bytes) -> bytes | None:
        """What to send back; None if nothing."""
        said = answer_to(question, self._key, is_draining=self._is_draining()) if self._has_room() else None
        if said is None:
            self.refused += 1
        else:
            self.answered += 1
            self._asked_s = self._clock()
        return said

    def asked_within(self, seconds: float) -> bool:
        """Whether a balancer has asked lately."""
        return self._clock() - self._asked_s <= seconds

    def _has_room(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._left = second, MOST_PER_S
        self._left -= 1
        return self._left >= 0

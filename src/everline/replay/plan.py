"""When to send which message: pure, time is an argument."""

from dataclasses import dataclass
from typing import Final

SAFE_RATE_PER_S: Final = 20_000.0
"""What a node with default settings takes over UDP on one machine without loss."""


@dataclass(slots=True)
class Pace:
    """
    Says when each message is due, in seconds after the first.

    Attributes:
        speed: How many times as fast as captured; None does not look at capture times.
        rate_per_s: Most messages a second; None has no limit.
    """

    speed: float | None = None
    rate_per_s: float | None = SAFE_RATE_PER_S
    _first_us: int | None = None
    _sent: int = 0

    def due_s(self, captured_us: int) -> float:
        """When the next message is due; call it once a message, in the order of sending."""
        if self._first_us is None:
            self._first_us = captured_us
        by_rate = self._sent / self.rate_per_s if self.rate_per_s else 0.0
        by_time = (captured_us - self._first_us) / 1e6 / self.speed if self.speed else 0.0
        self._sent += 1
        return max(by_rate, by_time, 0.0)


def shift_to(last_us: int, now_us: int) -> int:
    """What to add to every capture time so that the last one is now; 0 if the capture has no times."""
    return now_us - last_us if last_us else 0

"""Whether a server is given a batch: not while it fails, one at a time when it may be back. Pure: time is given."""

from enum import StrEnum
from typing import Final

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0


class CircuitState(StrEnum):
    """What a server may be given."""

    CLOSED = "closed"
    """It works: anything."""
    OPEN = "open"
    """It has just failed: nothing."""
    HALF_OPEN = "half_open"
    """Its pause is over: one batch, which shows whether it is back."""
    BUSY = "busy"
    """It has not answered for longer than a hedge: nothing more until it does."""


class Circuit:
    """
    What is known of one server.

    After each failure in a row the pause may be twice as long, up to `LONGEST_PAUSE_S`; how long of that it is, is left
    to chance (full jitter), so that the writers of a cluster do not all come back at one moment.

    Attributes:
        failures: How often the server has failed, ever.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._in_a_row = 0
        self._open_until_s = 0.0
        self._is_probed = False
        self._overdue = 0

    def state(self, now_s: float) -> CircuitState:
        """What the server may be given now; `now_s` is monotonic."""
        if self._overdue:
            return CircuitState.BUSY
        if not self._in_a_row:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._is_probed or now_s < self._open_until_s else CircuitState.HALF_OPEN

    def began(self, now_s: float) -> None:
        """It is given a batch; of a half-open circuit that is the only one."""
        if self.state(now_s) is CircuitState.HALF_OPEN:
            self._is_probed = True

    def overdue(self) -> None:
        """A batch is not answered after a hedge; `answered` follows when it is, or has failed."""
        self._overdue += 1

    def answered(self) -> None:
        """What was overdue has ended."""
        self._overdue -= 1

    def succeeded(self) -> None:
        """It has stored a batch."""
        self._in_a_row = 0
        self._is_probed = False

    def failed(self, now_s: float, *, chance: float) -> None:
        """It has failed; `chance`, 0 to 1, says how much of the longest pause it gets."""
        # Batches that were under way together fail together: they are one failure.
        if now_s >= self._open_until_s:
            self._in_a_row += 1
        self.failures += 1
        self._is_probed = False
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._in_a_row, 16))
        self._open_until_s = now_s + chance * longest_s

    def spared(self) -> None:
        """What it was given ended without telling anything about the server."""
        self._is_probed = False

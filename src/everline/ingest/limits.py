"""Per-source rate limits: one noisy agent must not crowd out the others."""

from collections import OrderedDict
from typing import Final

MAX_SOURCES: Final = 16_384


class SourceLimiter:
    """
    A token bucket for each source address; time is an argument.

    At most `MAX_SOURCES` addresses are remembered; the one longest unheard of is forgotten first, and starts again
    with a full bucket.
    """

    def __init__(self, *, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, source: str, wanted: int, now_s: float) -> int:
        """
        How many of `wanted` messages from a source may pass.

        Args:
            source: The sender's address.
            wanted: How many it sent.
            now_s: Monotonic seconds.
        """
        tokens, filled_s = self._buckets.pop(source, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - filled_s) * self._rate_per_s)
        admitted = min(wanted, int(tokens))
        self._buckets[source] = (tokens - admitted, now_s)
        if len(self._buckets) > MAX_SOURCES:
            self._buckets.popitem(last=False)
        return admitted

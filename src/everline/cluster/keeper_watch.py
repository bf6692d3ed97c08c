"""Is Keeper within reach? A node without it goes on with its work, and says that it is cut off from the majority."""

import asyncio
from collections.abc import Callable
from time import time_ns
from typing import Final

from everline.cluster.heart import CutOff
from everline.cluster.keeper import Keeper, Link

LOOKS_A_PATIENCE: Final = 4


class KeeperWatch:
    """
    Tells when Keeper has been out of reach for a while, and when it is back.

    Args:
        patience_s: A shorter gap, such as while Keeper elects, is not told.
        told: Called when it is out of reach, and when it is back (`until_us`).
    """

    def __init__(self, keeper: Keeper, told: Callable[[CutOff], None], *, patience_s: float) -> None:
        self._keeper = keeper
        self._told = told
        self._patience_s = patience_s
        self._gone_us = 0
        self.cut_off: CutOff | None = None
        """Since when, while it is."""

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            self.look(time_ns() // 1000)
            await asyncio.sleep(self._patience_s / LOOKS_A_PATIENCE)

    def look(self, now_us: int) -> None:
        """See how it is, at a time (epoch microseconds)."""
        if self._keeper.link is Link.CONNECTED:
            if self.cut_off:
                self._told(CutOff(self.cut_off.since_us, now_us))
            self._gone_us, self.cut_off = 0, None
            return
        self._gone_us = self._gone_us or now_us
        if self.cut_off is None and now_us - self._gone_us >= self._patience_s * 1e6:
            self.cut_off = CutOff(self._gone_us)
            self._told(self.cut_off)

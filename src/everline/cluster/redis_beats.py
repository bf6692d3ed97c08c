"""Heartbeats over Redis Pub/Sub: at most once, which is what a heartbeat wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from everline.bus.connection import in_our_words
from everline.bus.discovery import RedisPrimary
from everline.bus.settings import Address
from everline.cluster.beat import CHANNEL

_READY_S: Final = 5.0
_CLOSE_S: Final = 0.5


class RedisBeatChannel:
    """
    The channel on the Redis that `primary` finds; whoever has `primary` runs it.

    A subscription stays with the server on which it was opened, also when that becomes a replica: what is published on
    the primary is heard there too. When it is cut off the heart opens another.

    Args:
        ready_s: Longest time that whoever listens waits for a primary.
    """

    def __init__(self, primary: RedisPrimary, *, ready_s: float = _READY_S) -> None:
        self._primary = primary
        self._ready_s = ready_s

    async def publish(self, beat: bytes) -> None:
        """
        Let everybody hear it.

        Raises:
            BusError: There is no primary, or it did not answer in time.
        """
        await self._primary.command("PUBLISH", CHANNEL, beat)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        What is published from now on.

        Raises:
            BusError: There is no primary, or it is lost.
        """
        await self._primary.ready(self._ready_s)
        address = self._primary.address
        client = self._primary.connect()
        subscription = client.pubsub()
        try:
            with in_our_words(address or Address("", 0)):
                await subscription.subscribe(CHANNEL)
            yield _messages(subscription, address or Address("", 0))
        finally:
            with suppress(Exception):  # It is thrown away, and a hung server lets nobody say good-bye.
                async with asyncio.timeout(_CLOSE_S):
                    await subscription.aclose()  # type: ignore[no-untyped-call]
                    await client.aclose()


async def _messages(subscription: Any, address: Address) -> AsyncIterator[bytes]:  # redis-py has no types for it
    while True:
        with in_our_words(address):
            said = await subscription.get_message(ignore_subscribe_messages=True, timeout=None)
        if said is not None:
            yield said["data"]

"""Connections to one Redis or Sentinel, without the driver's own patience; its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import TimeoutError as LateError

from everline.bus.errors import BusError, BusLostError, BusPasswordError
from everline.bus.settings import Address, RedisSettings

_CONNECTIONS: Final = 256
_NOT_NOW: Final = ("NOREPLICAS", "MISCONF", "BUSY")
"""Refusals that pass, and that the driver has no class for."""
_PASSWORD: Final = (
    AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError, NoPermissionError,
)  # fmt: skip
_LOST: Final = (ReadOnlyError, MasterDownError, LinkError, LateError, InvalidResponse, TimeoutError, OSError)


def connect(address: Address, settings: RedisSettings) -> Redis:
    """
    A client of one server, which connects when it is first used.

    It never tries anything twice: the driver's retries turn 2.5 s of a failover into 8 s. It has no deadline for an
    answer either: whoever asks must set one, since the driver's own (`wait_for`, which in Python 3.11 can swallow a
    cancellation that comes as it ends) makes tasks that can't be stopped.
    """
    return Redis(
        host=address.host,
        port=address.port,
        password=settings.password or None,
        socket_connect_timeout=settings.connect_s,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        max_connections=_CONNECTIONS,
        protocol=2,
        driver_info=None,
    )


async def command(client: Redis, *words: bytes | str | float) -> Any:  # whatever a server answers to it
    """What a server answers to one command, as it comes off the wire or as the driver knows better."""
    execute: Any = client.execute_command  # the driver gives it no types
    return await execute(*words)


@contextmanager
def in_our_words(address: Address) -> Iterator[None]:
    """
    Raise what a server or the way to it refuses as BusError.

    Raises:
        BusPasswordError: It does not know the password.
        BusLostError: No answer in time, no connection, or it is no primary: look for another.
        BusError: It can't now.
    """
    try:
        yield
    except _PASSWORD as fault:
        raise BusPasswordError(str(address), str(fault)) from fault
    except (OutOfMemoryError, BusyLoadingError) as fault:
        raise BusError(f"Redis {address} can't now ({fault}): it is asked again") from fault
    except _LOST as fault:
        raise BusLostError(str(address), str(fault) or "no answer in time") from fault
    except ResponseError as fault:
        if not str(fault).startswith(_NOT_NOW):
            raise
        raise BusError(f"Redis {address} can't now ({fault}): it is asked again") from fault

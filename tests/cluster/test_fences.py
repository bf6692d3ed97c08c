"""An engine refuses the late write of an older leader by itself."""

import pytest
from tests.cluster.conftest import found_primary
from tests.rigs.redis import RedisRig

from everline.cluster.candidacy import Term
from everline.cluster.fences import FencedError, RedisFence


def term(token: int) -> Term:
    """A leadership."""
    return Term(token, "n", "app", "north", "first", 0, 0)


async def test_redis_refuses_an_older_token_once_a_newer_was_raised(redis_servers: RedisRig) -> None:
    """The late write changes nothing."""
    async with found_primary(redis_servers) as primary:
        fence = RedisFence(primary)
        await fence.raise_to(term(4_294_967_300))
        await fence.command(4_294_967_300, "SET", "x", "old leader")
        await fence.raise_to(term(4_294_967_302))

        with pytest.raises(FencedError):
            await fence.command(4_294_967_300, "SET", "x", "too late")
        assert await primary.command("GET", "x") == b"old leader"
        await fence.command(4_294_967_302, "SET", "x", "new leader")
        assert await primary.command("GET", "x") == b"new leader"


async def test_a_fence_never_goes_back(redis_servers: RedisRig) -> None:
    """An old leader that only now comes to raise its own."""
    async with found_primary(redis_servers) as primary:
        fence = RedisFence(primary)
        await fence.raise_to(term(7))
        await fence.raise_to(term(5))

        with pytest.raises(FencedError):
            await fence.command(5, "SET", "x", "y")


async def test_an_empty_redis_learns_the_token_from_the_first_write(redis_servers: RedisRig) -> None:
    """It forgot everything; whoever wrote last is the newest it knows."""
    async with found_primary(redis_servers) as primary:
        fence = RedisFence(primary)
        await fence.command(9, "SET", "x", "y")

        with pytest.raises(FencedError):
            await fence.command(8, "SET", "x", "z")

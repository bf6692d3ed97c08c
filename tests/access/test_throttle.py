"""Counting tries in memory: what a window is, and that a crowd does not fill it. In Redis: tests/cluster."""

from everline.access.throttle import Limit, MemoryThrottle


async def test_a_window_begins_with_the_first_try_and_then_all_is_forgiven() -> None:
    """Tries that were refused do not lengthen it."""
    now = [0.0]
    throttle = MemoryThrottle(lambda: now[0])
    limit = Limit(3, 60)
    waits = []
    for at in (0, 10, 20, 30, 59, 60, 61):
        now[0] = float(at)
        waits.append(await throttle.wait_s("one", limit))

    assert waits == [0, 0, 0, 31, 2, 0, 0]


async def test_a_crowd_of_addresses_does_not_fill_the_memory() -> None:
    """The oldest are forgotten."""
    throttle = MemoryThrottle(lambda: 0.0)
    for number in range(2 * MemoryThrottle.SUBJECTS):
        await throttle.wait_s(str(number), Limit(1, 60))

    assert len(throttle) == MemoryThrottle.SUBJECTS

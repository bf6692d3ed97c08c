"""Heartbeats over a real Redis that is killed, hung and gone."""

import signal
from collections.abc import Callable
from time import monotonic, monotonic_ns

from tests.cluster.conftest import found_primary
from tests.cluster.test_heart import MEMBERS, beating, until
from tests.rigs.redis import RedisRig, Server

from everline.bus.discovery import RedisPrimary
from everline.cluster.heart import CutOff, Heart
from everline.cluster.redis_beats import RedisBeatChannel
from everline.cluster.table import ChangeKind, NodeTable, Presence, TableChange


class Node:
    """A heart with the timers of a real node."""

    def __init__(self, name: str, primary: RedisPrimary) -> None:
        self.changes: list[TableChange] = []
        self.cuts: list[CutOff] = []
        me = next(one for one in MEMBERS if one.node == name)
        table = NodeTable(name, MEMBERS[:2], suspect_us=1_000_000, dead_us=3_000_000, at_us=monotonic_ns() // 1000)
        self.heart = Heart(
            RedisBeatChannel(primary), me, table, version="0.1.0", heartbeat_ms=300, suspect_ms=1_000,
            told=self.changes.extend, cut=self.cuts.append,
        )  # fmt: skip

    def hears(self, *nodes: str) -> bool:
        """Whether it is not cut off, and holds these for alive."""
        return self.heart.cut_off is None and all(self.heart.table.presence(one) is Presence.ALIVE for one in nodes)


async def survived(redis: RedisRig, fault: Callable[[Server], None]) -> float:
    """Seconds from a fault of the primary until both nodes hear each other again."""
    async with found_primary(redis) as first, found_primary(redis) as second:
        a, b = Node("a", first), Node("b", second)
        async with beating(a, b):  # type: ignore[arg-type]  # all it wants is a heart
            await until(lambda: a.hears("a", "b") and b.hears("a", "b"))
            primary = redis.primary()
            began_s = monotonic()
            fault(primary)
            await until(lambda: a.heart.cut_off and b.heart.cut_off)
            await until(lambda: a.hears("a", "b") and b.hears("a", "b"), within_s=20)
            took_s = monotonic() - began_s

        for node in (a, b):
            assert not [one for one in node.changes if one.kind is ChangeKind.DEAD]
            assert [bool(one.until_us) for one in node.cuts] == [False, True]
        return took_s


async def test_when_the_primary_is_killed_nodes_hear_each_other_again(redis_servers: RedisRig) -> None:
    """Each says that it was cut off; none declares the other dead."""
    took_s = await survived(redis_servers, Server.kill)
    print(f"Redis primary killed: heartbeats again after {took_s:.2f} s")


async def test_when_the_primary_hangs_nodes_hear_each_other_again(redis_servers: RedisRig) -> None:
    """A subscriber of a hung server gets no error; the missing echo tells."""
    took_s = await survived(redis_servers, lambda one: one.signal(signal.SIGSTOP))
    print(f"Redis primary stopped: heartbeats again after {took_s:.2f} s")

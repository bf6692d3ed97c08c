"""Beating, hearing, and noticing that one hears nothing: within one process, on a channel that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic, monotonic_ns
from types import SimpleNamespace

from everline.cluster.beat import MAX_BYTES, Activity
from everline.cluster.heart import BeatChannel, CutOff, Heart, MemoryBeatChannel
from everline.cluster.table import ChangeKind, Member, NodeTable, Presence, TableChange
from everline.errors import EverlineError

EVERY_MS, SUSPECT_MS, DEAD_MS = 40, 200, 500
MEMBERS = [Member(name, "ingest", "north", "r1", name) for name in ("a", "b", "c")]


class Listened:
    """A heart and what it said."""

    def __init__(self, name: str, channel: BeatChannel) -> None:
        self.changes: list[TableChange] = []
        self.cuts: list[CutOff] = []
        self.state = SimpleNamespace(activity=Activity.UP)
        me = next(one for one in MEMBERS if one.node == name)
        table = NodeTable(
            name, MEMBERS, suspect_us=SUSPECT_MS * 1000, dead_us=DEAD_MS * 1000, at_us=monotonic_ns() // 1000
        )
        self.heart = Heart(
            channel, me, table, version="0.1.0", heartbeat_ms=EVERY_MS, suspect_ms=SUSPECT_MS,
            activity=lambda: self.state.activity, told=self.changes.extend, cut=self.cuts.append,
        )  # fmt: skip

    def presence(self, node: str) -> Presence | None:
        """What it thinks of a node."""
        return self.heart.table.presence(node)


@asynccontextmanager
async def beating(*hearts: Listened) -> AsyncIterator[None]:
    """Let them beat."""
    tasks = [asyncio.create_task(one.heart.run()) for one in hearts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(condition: Callable[[], object], *, within_s: float = 10) -> None:
    """Wait for something that hearts do."""
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_nodes_hear_each_other_and_miss_who_is_silent() -> None:
    """C never beats."""
    channel = MemoryBeatChannel()
    a, b = Listened("a", channel), Listened("b", channel)
    async with beating(a, b):
        await until(lambda: a.presence("c") is Presence.DEAD)

        assert a.presence("b") is b.presence("a") is Presence.ALIVE


async def test_a_node_that_hears_no_echo_says_so_and_declares_nobody_dead() -> None:
    """Its channel gives no error; it finds out alone, and alone finds back."""
    channel = MemoryBeatChannel()
    a, b, c = (Listened(name, channel) for name in "abc")
    async with beating(a, b, c):
        await until(lambda: all(a.presence(name) is Presence.ALIVE for name in "abc"))
        channel.is_cut = True
        await until(lambda: a.heart.cut_off is not None)
        cut_s = monotonic()
        await until(lambda: monotonic() > cut_s + 2 * DEAD_MS / 1000)

        assert not [one for one in a.changes if one.kind in {ChangeKind.SUSPECT, ChangeKind.DEAD}]
        channel.is_cut = False
        await until(lambda: a.heart.cut_off is None)
        assert [bool(one.until_us) for one in a.cuts] == [False, True]
        assert a.cuts[1].until_us - a.cuts[1].since_us > 2 * DEAD_MS * 1000
        assert all(a.presence(name) is Presence.ALIVE for name in "abc")


class DeafChannel(MemoryBeatChannel):
    """The first listening hears nothing, without an error: what Redis does behind a cut link."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Deaf the first time, refused the second."""
        self.opened += 1
        if self.opened == 2:
            raise EverlineError("no Sentinel answered")
        async with super().listen() as heard:
            yield _silence() if self.opened == 1 else heard


async def _silence() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def test_a_deaf_subscription_is_replaced_by_a_new_one() -> None:
    """The watchdog ends it; the attempt after that fails; the third hears."""
    channel = DeafChannel()
    a = Listened("a", channel)
    async with beating(a):
        await until(lambda: a.heart.cut_off is not None)
        await until(lambda: a.heart.cut_off is None)

    assert channel.opened == 3


async def test_what_is_no_beat_is_counted_and_changes_nothing() -> None:
    """Anybody may publish there."""
    channel = MemoryBeatChannel()
    a = Listened("a", channel)
    async with beating(a):
        await until(lambda: a.presence("a") is Presence.ALIVE)
        await channel.publish(b"hello")
        await channel.publish(b"{" * (MAX_BYTES + 1))
        await until(lambda: a.heart.ignored.total() == 2)

    assert dict(a.heart.ignored) == {"no_json": 1, "too_large": 1}


async def test_a_node_says_that_it_is_drained_and_that_it_stops() -> None:
    """So that nobody takes its silence for its death."""
    channel = MemoryBeatChannel()
    a, b = Listened("a", channel), Listened("b", channel)
    async with beating(a):
        async with beating(b):
            b.state.activity = Activity.DRAINED
            await until(lambda: ChangeKind.DRAINED in [one.kind for one in a.changes])
            b.state.activity = Activity.STOPPING
            await b.heart.beat()
        await until(lambda: a.presence("b") is Presence.STOPPED)

    assert ChangeKind.DEAD not in [one.kind for one in a.changes if one.member.node == "b"]


class HungChannel(MemoryBeatChannel):
    """Takes a beat and never comes back."""

    async def publish(self, beat: bytes) -> None:  # noqa: ARG002 - for ever
        """Hang."""
        await asyncio.Event().wait()


async def test_a_channel_that_hangs_does_not_hang_the_heart() -> None:
    """Each beat has its deadline; the node says that it is cut off."""
    a = Listened("a", HungChannel())
    async with beating(a):
        await until(lambda: a.cuts)

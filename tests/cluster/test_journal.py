"""The failover log: on the disk first, then in the store, once."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cluster.electors import ROOT
from tests.cluster.test_heart import until

from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.journal import Journal, JournalError, MemoryLog
from everline.errors import EverlineError


def entry(number: int) -> Entry:
    """One of them."""
    return make_entry(Kind.NODE_DEAD, number, node=f"n{number}", by="w", details={"text": "x" * 200})


class Refusing(MemoryLog):
    """A store that is away for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = True
        self.given: list[str] = []

    async def insert_entries(self, entries: Sequence[Entry]) -> None:
        """Refuse, or keep."""
        if self.is_away:
            raise EverlineError("no ClickHouse answered")
        self.given += [one.node for one in entries]
        await super().insert_entries(entries)


def bytes_in(directory: Path) -> int:
    """What its files hold."""
    return sum(one.stat().st_size for one in directory.iterdir())


@asynccontextmanager
async def running(directory: Path, sink: MemoryLog, *, generation_bytes: int = 1 << 20) -> AsyncIterator[Journal]:
    """A journal that writes and delivers."""
    journal = Journal.open(directory, sink, generation_bytes=generation_bytes)
    task = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    try:
        yield journal
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_entry_reaches_the_store(tmp_path: Path) -> None:
    """And nothing waits any more."""
    log = MemoryLog()
    async with running(tmp_path, log) as journal:
        journal.add(entry(1))
        await until(lambda: not journal.waiting)

        assert await journal.history(0, 10) == [entry(1)]


async def test_what_the_store_does_not_take_survives_a_restart(tmp_path: Path) -> None:
    """In its order, each once, as soon as the store answers again."""
    away = Refusing()
    async with running(tmp_path, away) as journal:
        journal.add(entry(1))
        journal.add(entry(2))
        assert [one.node for one in journal.undelivered()] == ["n1", "n2"]
    async with running(tmp_path, away) as journal:
        journal.add(entry(3))
        away.is_away = False
        await until(lambda: not journal.waiting)
    async with running(tmp_path, away) as journal:
        assert journal.waiting == 0

    assert away.given == ["n1", "n2", "n3"]


async def test_what_is_noted_at_the_stop_is_delivered_before_it(tmp_path: Path) -> None:
    """Others should see why a node stopped while it is away."""
    log = MemoryLog()
    async with running(tmp_path, log) as journal:
        journal.add(entry(1))

    assert log.kept() == [entry(1)]
    assert Journal.open(tmp_path, log).waiting == 0


async def test_history_holds_what_the_store_does_not_know_yet(tmp_path: Path) -> None:
    """Newest last."""
    away = Refusing()
    async with running(tmp_path, away) as journal:
        for number in (2, 1, 3):
            journal.add(entry(number))

        assert [one.node for one in await journal.history(2, 10)] == ["n2", "n3"]
        assert [one.node for one in await journal.history(0, 1)] == ["n3"]


async def test_the_file_is_bounded_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    """A store that is away for ever does not fill the disk."""
    away = Refusing()
    async with running(tmp_path, away, generation_bytes=2_000) as journal:
        for number in range(100):
            journal.add(entry(number))
            await until(lambda: not journal._unwritten)

        assert bytes_in(tmp_path) < 6_000
        assert journal.lost + journal.waiting == 100
        assert journal.lost > 50
    again = Journal.open(tmp_path, away)
    assert again.undelivered()[-1] == entry(99)


async def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """As a power loss leaves it; what comes after it is whole."""
    away = Refusing()
    async with running(tmp_path, away) as journal:
        journal.add(entry(1))
    file = tmp_path / "failovers.jsonl"
    file.write_bytes(file.read_bytes() + b'{"number": 2, "at_')
    async with running(tmp_path, away) as journal:
        journal.add(entry(2))

    assert [one.node for one in Journal.open(tmp_path, away).undelivered()] == ["n1", "n2"]


def test_an_entry_that_was_written_survives_a_kill(tmp_path: Path) -> None:
    """The process is killed as soon as the line is there."""
    program = (
        "import asyncio, os, signal, sys, pathlib\n"
        "from tests.cluster.test_journal import Refusing, entry\n"
        "from everline.cluster.journal import Journal\n"
        "async def main():\n"
        "    journal = Journal.open(pathlib.Path(sys.argv[1]), Refusing())\n"
        "    task = asyncio.create_task(journal.run())\n"
        "    journal.add(entry(1))\n"
        "    while journal._unwritten: await asyncio.sleep(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, timeout=30, check=False)

    assert done.returncode == -9
    assert Journal.open(tmp_path, Refusing()).undelivered() == [entry(1)]


def test_a_directory_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    """With its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file"):
        Journal.open(tmp_path / "file", MemoryLog())


async def test_the_log_in_memory_is_bounded() -> None:
    """The oldest go; one that comes twice is one."""
    log = MemoryLog(most=3)
    await log.insert_entries([entry(number) for number in (5, 1, 2, 3, 4, 4)])

    assert [one.at_us for one in await log.entries(0, 10)] == [3, 4, 5]

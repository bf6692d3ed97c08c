"""Acts and their entries: both or neither, once for each key, whoever else acts in the same moment."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from everline.access.audit import Act
from everline.access.book import ENDED, HEAD, KEYS, PENDING, Change
from everline.access.errors import AuditUnavailableError, BookConflictError, BookUnavailableError
from everline.access.file_audit import FileAudit
from everline.access.local_book import LocalBook
from everline.access.trail import KEY_S, KeyReusedError, Repeat, Trail

ADD = Act("root", "user.added", "bob")


@asynccontextmanager
async def running(trail: Trail) -> AsyncIterator[None]:
    """While it brings entries into the log."""
    task = asyncio.create_task(trail.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_empty(book: LocalBook, folder: str) -> None:
    """Until nothing is left in a folder of the book."""
    async with asyncio.timeout(10):
        while await book.folder(folder):  # noqa: ASYNC110 - a book tells nobody when it changes
            await asyncio.sleep(0.005)


async def test_an_act_and_its_entry_are_made_together(tmp_path: Path) -> None:
    """The entry is read at once, and stays when it is in the log."""
    book = LocalBook()
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
    await trail.perform(ADD, [Change("users/bob", "{}")])
    before = await trail.entries()
    async with running(trail):
        await until_empty(book, PENDING)

    assert await book.read("users/bob")
    assert [one.target for one in before] == ["bob"]
    assert await trail.entries() == before
    assert not (await trail.check()).fault


async def test_an_act_that_comes_too_late_is_not_done_and_not_written_down(tmp_path: Path) -> None:
    """Somebody else has changed the same thing."""
    book = LocalBook()
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
    await trail.perform(ADD, [Change("users/bob", "one")])
    with pytest.raises(BookConflictError):
        await trail.perform(ADD, [Change("users/bob", "two"), Change("users/eve", "two")])

    assert (await book.read("users/bob"), await book.read("users/eve")) != (None, None)
    assert [one.seq for one in await trail.entries()] == [1]


async def test_a_disk_that_is_full_leaves_all_as_it_was(tmp_path: Path) -> None:
    """Neither the act nor its entry."""

    async def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    book = LocalBook(keep=full)
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
    with pytest.raises(BookUnavailableError, match="No space left"):
        await trail.perform(ADD, [Change("users/bob", "{}")])

    assert (await book.read("users/bob"), await book.read(HEAD)) == (None, None)


async def test_a_repetition_is_answered_as_the_first_and_does_nothing(tmp_path: Path) -> None:
    """Also when both come in the same moment."""
    book = LocalBook()
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
    repeat = Repeat.of("root", "key-1", "add", "bob")
    at_once = [trail.perform(ADD, repeat=repeat, answer=f"answer {number}") for number in range(5)]
    answers = {*await asyncio.gather(*at_once), await trail.perform(ADD, repeat=repeat, answer="late")}

    assert len(answers) == 1
    assert len(await trail.entries()) == 1
    with pytest.raises(KeyReusedError):
        await trail.perform(ADD, repeat=Repeat.of("root", "key-1", "add", "eve"))
    await trail.perform(ADD, repeat=Repeat.of("eve", "key-1", "add", "bob"))
    assert len(await trail.entries()) == 2


async def test_keys_and_ended_sessions_are_forgotten_when_they_no_longer_matter(tmp_path: Path) -> None:
    """A day later; those of today stay."""
    now = [1_790_000_000.0]
    book = LocalBook()
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n", clock=lambda: now[0])
    await trail.perform(ADD, [Change(f"{ENDED}/old", json.dumps([now[0] * 1e6]))], repeat=Repeat.of("a", "b"))
    now[0] += KEY_S + 1
    await trail.perform(ADD, [Change(f"{ENDED}/new", json.dumps([now[0] * 1e6]))], repeat=Repeat.of("a", "c"))
    async with running(trail), asyncio.timeout(10):
        while len(await book.folder(KEYS)) + len(await book.folder(ENDED)) > 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)

    assert (list(await book.folder(ENDED)), len(await book.folder(KEYS))) == (["new"], 1)


class FailingLog(FileAudit):
    """A log that can't be written for a while."""

    failures = 2

    async def append(self, entries: object) -> None:
        """Refuse twice."""
        if self.failures:
            self.failures -= 1
            raise AuditUnavailableError("not now")
        await super().append(entries)  # type: ignore[arg-type]  # whatever it was given


async def test_entries_wait_in_the_book_while_the_log_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are read meanwhile."""
    monkeypatch.setattr("everline.access.trail.FLUSH_EVERY_S", 0.01)
    book = LocalBook()
    trail = Trail(book, FailingLog(tmp_path / "audit"), node="n")
    await trail.perform(ADD)
    assert [one.seq for one in await trail.entries()] == [1]
    async with running(trail):
        await until_empty(book, PENDING)

    assert not (await trail.check()).fault
    assert (tmp_path / "audit").read_text().count("user.added") == 1


async def test_the_file_of_the_log_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    """The entry is written once more, and the broken line is passed over."""
    path = tmp_path / "audit"
    book = LocalBook()
    trail = Trail(book, FileAudit(path), node="n")
    await trail.perform(ADD)
    await trail.perform(ADD)
    path.write_text((await trail.entries())[0].encode()[:50])
    async with running(trail):
        await until_empty(book, PENDING)

    assert [one.seq for one in await trail.entries()] == [1, 2]
    assert not (await trail.check()).fault


async def test_a_log_of_many_pages_is_checked_whole(tmp_path: Path) -> None:
    """More entries than one page has."""
    book = LocalBook()
    trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
    for _ in range(1_005):
        await trail.perform(ADD)
    async with running(trail):
        await until_empty(book, PENDING)

    verdict = await trail.check()
    assert (verdict.entries, verdict.fault) == (1_005, "")
    assert [one.seq for one in await trail.entries(before=4, limit=2)] == [2, 3]


async def test_a_book_is_read_again_as_it_was_kept(tmp_path: Path) -> None:
    """After a restart; what is no book is refused."""
    kept: list[str] = []

    async def keep(text: str) -> None:
        kept.append(text)

    trail = Trail(LocalBook(keep=keep), FileAudit(tmp_path / "audit"), node="n")
    await trail.perform(ADD, [Change("users/bob", "{}")])
    again = LocalBook(kept[-1])

    assert (await again.read("users/bob"), list(await again.folder("users"))) == (again._leaves["users/bob"], ["bob"])
    with pytest.raises(ValueError, match="no users and tokens"):
        LocalBook('["garbage"]')

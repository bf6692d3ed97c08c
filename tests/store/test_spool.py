"""The spool: what it took is there until it is delivered, whatever happens to the process and to its disk."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from stat import S_IMODE

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.store import spool_owner

from everline.store.errors import StoreClosedError, StoreLockedError, StoreUnwritableError
from everline.store.segment import HEADER_BYTES, MAGIC
from everline.store.spool import Position, Spool, SpoolFullError

MIB = 1 << 20


@contextmanager
def opened(path: Path, *, max_bytes: int = MIB) -> Iterator[Spool]:
    """A spool that is closed afterwards."""
    spool = Spool.open(path, max_bytes=max_bytes)
    try:
        yield spool
    finally:
        spool.close()


def drained(spool: Spool) -> list[bytes]:
    """Everything that waits, oldest first."""
    found = []
    while oldest := spool.peek():
        found.append(oldest[1])
        spool.done(oldest[0])
    return found


def segments(path: Path) -> list[Path]:
    """Its files, oldest first."""
    return sorted(path.glob("*.spool"))


def filled(path: Path, *records: bytes, max_bytes: int = MIB) -> None:
    """Keep some records, and close."""
    with opened(path, max_bytes=max_bytes) as spool:
        for one in records:
            spool.append(one)


def test_the_oldest_comes_first_and_stays_until_it_is_done(tmp_path: Path) -> None:
    """Looking changes nothing."""
    with opened(tmp_path) as spool:
        for one in (b"first", b"", b"third"):
            spool.append(one)
        oldest = spool.peek()

        assert oldest is not None
        assert oldest[1] == b"first"
        assert spool.peek() == oldest
        assert spool.records == 3
        assert drained(spool) == [b"first", b"", b"third"]
        assert spool.peek() is None


def test_what_was_not_delivered_is_there_after_a_restart(tmp_path: Path) -> None:
    """In its order, before what comes later; what stood beside it in a segment may come again."""
    filled(tmp_path, b"one", b"two")
    with opened(tmp_path) as spool:
        spool.append(b"three")

        assert spool.records == 3
        assert drained(spool) == [b"one", b"two", b"three"]


def test_an_empty_spool_takes_no_room(tmp_path: Path) -> None:
    """What is delivered is removed, the segment that is being written too."""
    with opened(tmp_path) as spool:
        spool.append(b"a")
        drained(spool)

        assert (spool.size_bytes, spool.records, spool.oldest_at) == (0, 0, None)
        assert segments(tmp_path) == []
        spool.append(b"b")
        assert drained(spool) == [b"b"]


def test_delivered_segments_are_removed_while_others_wait(tmp_path: Path) -> None:
    """Room comes back bit by bit."""
    with opened(tmp_path, max_bytes=8_000) as spool:
        for number in range(40):
            spool.append(bytes([number]) * 100)
        before = spool.size_bytes
        for _ in range(20):
            oldest = spool.peek()
            assert oldest is not None
            spool.done(oldest[0])

        assert before // 2 <= spool.size_bytes + 1000 < before
        assert sum(file.stat().st_size for file in segments(tmp_path)) == spool.size_bytes
        assert [one[:1] for one in drained(spool)] == [bytes([number]) for number in range(20, 40)]


def test_done_of_something_else_changes_nothing(tmp_path: Path) -> None:
    """A position that was done already, or never was."""
    with opened(tmp_path) as spool:
        spool.append(b"a")
        spool.append(b"b")
        oldest = spool.peek()
        assert oldest is not None
        spool.done(Position(99, 0))
        spool.done(Position(oldest[0].segment, 1))
        spool.done(oldest[0])
        spool.done(oldest[0])

        assert drained(spool) == [b"b"]


def test_its_bound_is_kept_and_what_it_had_taken_stays(tmp_path: Path) -> None:
    """A record that does not fit is refused; a smaller one may still fit."""
    with opened(tmp_path, max_bytes=1_000) as spool:
        spool.append(b"a" * 400)
        with pytest.raises(SpoolFullError, match=r"store\.spool_bytes"):
            spool.append(b"b" * 600)
        spool.append(b"c" * 400)
        with pytest.raises(SpoolFullError):
            spool.append(b"d" * 200)

        assert spool.size_bytes <= 1_000
        assert [one[:1] for one in drained(spool)] == [b"a", b"c"]
        spool.append(b"e" * 600)
        assert drained(spool) == [b"e" * 600]


def test_the_age_of_the_oldest(tmp_path: Path) -> None:
    """For the alarm; it is that of the record, not of the file."""
    before = time.time()
    filled(tmp_path, b"a", b"b")
    after = time.time()
    with opened(tmp_path) as spool:
        assert spool.oldest_at is not None
        assert before - 0.001 <= spool.oldest_at <= after


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """SIP messages are in it."""
    path = tmp_path / "spool"
    path.mkdir(mode=0o755)
    filled(path, b"a")

    assert S_IMODE(path.stat().st_mode) == 0o700
    assert {S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_one_process_has_it(tmp_path: Path) -> None:
    """Two would deliver and remove each other's records."""
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.store.spool_owner", str(tmp_path), "hold"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError):
            Spool.open(tmp_path, max_bytes=MIB)
        other.communicate("\n")
    with opened(tmp_path), pytest.raises(StoreLockedError):
        Spool.open(tmp_path, max_bytes=MIB)


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "spool").write_text("")

    with pytest.raises(StoreUnwritableError):
        Spool.open(tmp_path / "spool", max_bytes=MIB)


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    """The next process may have it already."""
    with opened(tmp_path) as spool:
        pass
    with pytest.raises(StoreClosedError):
        spool.append(b"a")


def test_writers_and_a_reader_at_once(tmp_path: Path) -> None:
    """Every record comes once, those of one writer in order."""
    writers, each = 6, 60
    with opened(tmp_path, max_bytes=64 * MIB) as spool:

        def write(writer: int) -> None:
            for number in range(each):
                spool.append(f"{writer} {number}".encode())

        found: list[bytes] = []
        with ThreadPoolExecutor(writers) as threads:
            tasks = [threads.submit(write, writer) for writer in range(writers)]
            while not all(task.done() for task in tasks):
                found += drained(spool)
            for task in tasks:
                task.result()
        found += drained(spool)

    for writer in range(writers):
        of_writer = [one for one in found if one.startswith(f"{writer} ".encode())]
        assert of_writer == [f"{writer} {number}".encode() for number in range(each)]


def test_those_that_wait_share_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk does a hundred syncs a second, or thousands: that must not bound the records."""
    first_sync, go_on = threading.Event(), threading.Event()
    syncs = []
    really = os.fdatasync

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        first_sync.set()
        assert go_on.wait(10)
        really(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with opened(tmp_path) as spool, ThreadPoolExecutor(9) as threads:
        tasks = [threads.submit(spool.append, b"first")]
        assert first_sync.wait(10)
        tasks += [threads.submit(spool.append, b"more") for _ in range(8)]
        while len(spool._waiting) < 8:
            time.sleep(0.001)
        assert spool.records == 0, "not on the disk yet"
        go_on.set()
        for task in tasks:
            task.result()

        assert spool.records == 9
        assert len(syncs) == 2


def test_the_name_of_a_new_file_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, a file that its directory does not know is lost, however well it was written."""
    synced: list[int] = []
    really = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with opened(tmp_path) as spool:
        spool.append(b"a")
        spool.append(b"b")

    assert synced == [tmp_path.stat().st_ino]


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_full_disk_refuses_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What was half written is taken away again, so that the next record follows the last good one."""
    really = getattr(os, call)

    def full(descriptor: int, *data: memoryview) -> int:
        if data:
            os.pwrite(descriptor, data[0][:5], 1 << 30)  # O_APPEND: it goes to the end.
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as spool:
        spool.append(b"before")
        monkeypatch.setattr(os, call, full)
        with pytest.raises(SpoolFullError, match="No space left"):
            spool.append(b"while")
        monkeypatch.setattr(os, call, really)
        assert segments(tmp_path)[0].stat().st_size == spool.size_bytes == HEADER_BYTES + len(b"before")
        spool.append(b"after")

        assert drained(spool) == [b"before", b"after"]
        assert (spool.damaged, spool.torn) == (0, 0)


def test_a_disk_that_fails_otherwise_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And even when the torn piece can't be taken away, what follows is whole."""

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with opened(tmp_path) as spool:
        spool.append(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", broken)
            patched.setattr(os, "ftruncate", broken)
            with pytest.raises(StoreUnwritableError, match="Input/output"):
                spool.append(b"while")
        spool.append(b"after")

        assert drained(spool) == [b"before", b"after"]


def test_a_spool_that_cannot_be_read_now_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of file descriptors is no damage."""

    def exhausted(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with opened(tmp_path) as spool:
        spool.append(b"a")
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", exhausted)
            with pytest.raises(StoreUnwritableError):
                spool.peek()

        assert drained(spool) == [b"a"]
        assert spool.damaged == 0


def test_whoever_removes_its_files_does_not_stop_it(tmp_path: Path) -> None:
    """What is gone is counted as damage, what comes later is kept."""
    with opened(tmp_path) as spool:
        spool.append(b"a")
        segments(tmp_path)[0].unlink()

        assert drained(spool) == []
        assert spool.damaged == 1
        spool.append(b"b")
        assert drained(spool) == [b"b"]


RECORDS = (b"alpha" * 3, b"", b"gamma" * 5, MAGIC + b"delta" + MAGIC)


def test_a_file_cut_anywhere_gives_the_records_before(tmp_path: Path) -> None:
    """At every byte: what is whole comes, the torn piece is cut off and counted once."""
    filled(tmp_path / "whole", *RECORDS)
    whole = segments(tmp_path / "whole")[0]
    ends = [0]
    for one in RECORDS:
        ends.append(ends[-1] + HEADER_BYTES + len(one))

    for size in range(ends[-1] + 1):
        path = tmp_path / f"cut{size}"
        path.mkdir()
        (path / whole.name).write_bytes(whole.read_bytes()[:size])
        complete = sum(end <= size for end in ends[1:])
        with opened(path) as spool:
            assert spool.torn == (size not in ends)
            assert spool.records == complete
            spool.append(b"later")
        with opened(path) as again:
            assert again.torn == 0
            assert drained(again) == [*RECORDS[:complete], b"later"]
            assert again.damaged == 0


@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=5),
    in_last=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_flipped_bits_cost_the_records_they_hit_and_no_other(
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[int, int]],
    in_last: bool,  # noqa: FBT001 - drawn
) -> None:
    """Never a crash, never a loop, and never a record that was not given."""
    path = tmp_path_factory.mktemp("flipped")
    filled(path, *RECORDS)
    if not in_last:
        filled(path, b"the last segment")
    file = segments(path)[0]
    data = bytearray(file.read_bytes())
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    start, hurt, original = 0, set(), file.read_bytes()
    for number, one in enumerate(RECORDS):
        end = start + HEADER_BYTES + len(one)
        if data[start:end] != original[start:end]:
            hurt.add(number)
        start = end
    file.write_bytes(data)

    with opened(path) as spool:
        found = drained(spool)
        counted = spool.damaged + spool.torn
    shutil.rmtree(path)

    assert found == [one for number, one in enumerate(RECORDS) if number not in hurt] + [b"the last segment"] * (
        not in_last
    )
    assert bool(counted) == bool(hurt)


def test_a_packet_cannot_pass_for_a_record(tmp_path: Path) -> None:
    """A payload that holds a record of another spool, damaged before it: it is skipped as a whole."""
    filled(tmp_path / "other", b"forged")
    forged = segments(tmp_path / "other")[0].read_bytes()
    path = tmp_path / "spool"
    filled(path, b"good", forged * 3, b"also good")
    file = segments(path)[0]
    data = bytearray(file.read_bytes())
    data[HEADER_BYTES + len(b"good") + 9] ^= 1  # In the length of the second record.
    file.write_bytes(data)

    with opened(path) as spool:
        assert drained(spool) == [b"good", b"also good"]
        assert spool.damaged == 1


def test_noise_is_passed_quickly(tmp_path: Path) -> None:
    """A segment full of nothing but beginnings of records that are none."""
    path = tmp_path / "spool"
    filled(path, b"x" * 100)
    filled(path, b"good")
    segments(path)[0].write_bytes(MAGIC * 100_000)

    with opened(path) as spool:
        assert drained(spool) == [b"good"]
        assert spool.damaged == 1


ROUNDS = 25


def test_a_process_killed_at_any_moment_loses_nothing_it_had_acknowledged(tmp_path: Path) -> None:
    """Kill -9 at random points of a writing process, again and again, with a part delivered in between."""
    chance = random.Random(3)
    waiting: set[str] = set()
    delivered: set[str] = set()
    torn = 0
    for turn in range(ROUNDS):
        waiting |= _killed(tmp_path, f"run{turn}", after_s=chance.uniform(0.0, 0.15))
        with opened(tmp_path, max_bytes=spool_owner.MAX_BYTES) as spool:
            torn += spool.torn
            for _ in range(chance.randint(0, spool.records)):
                oldest = spool.peek()
                assert oldest is not None
                delivered.add(spool_owner.name_of(oldest[1]))
                spool.done(oldest[0])
            assert spool.damaged == 0
    with opened(tmp_path, max_bytes=spool_owner.MAX_BYTES) as spool:
        delivered |= {spool_owner.name_of(one) for one in drained(spool)}

    assert waiting <= delivered
    print(f"{ROUNDS} kills: {len(waiting)} records acknowledged, {len(delivered)} delivered, {torn} torn")


def _killed(path: Path, run: str, *, after_s: float) -> set[str]:
    """Let a process write for a while, kill it, and say what it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.spool_owner", str(path), "fill", run], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        timer = threading.Timer(after_s, process.kill)
        timer.start()
        said = process.stdout.read()
        timer.join()
    return set(said.rpartition("\n")[0].split())


class SpoolLaws(RuleBasedStateMachine):
    """Append, look, done and reopen in any order, against a list."""

    paths = count()

    def __init__(self) -> None:
        super().__init__()
        self.path = BASE / str(next(self.paths))
        self.waiting: list[bytes] = []
        self.done: list[bytes] = []
        self.numbers = count()
        self.spool = Spool.open(self.path, max_bytes=4_000)

    @rule(size=st.sampled_from([0, 1, 60, 300, 700, 5_000]))
    def append(self, size: int) -> None:
        record = b"%d %s" % (next(self.numbers), b"x" * size)
        try:
            self.spool.append(record)
        except SpoolFullError:
            assert self.spool.size_bytes + HEADER_BYTES + len(record) > 4_000
        else:
            self.waiting.append(record)

    @precondition(lambda self: self.waiting)
    @rule(most=st.integers(1, 5))
    def deliver(self, most: int) -> None:
        found = self.spool.peek_some(most)
        assert found
        assert [record for _, record in found] == self.waiting[: min(len(found), most)]
        for position, _ in found:
            self.spool.done(position)
            self.done.append(self.waiting.pop(0))

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool.open(self.path, max_bytes=4_000)
        found = self.spool.records
        again = found - len(self.waiting)
        # Delivered again: no more than what was in one segment.
        assert 0 <= again <= 500 // HEADER_BYTES + 1
        self.waiting = self.done[len(self.done) - again :] + self.waiting
        self.done = self.done[: len(self.done) - again]

    @invariant()
    def it_has_what_waits(self) -> None:
        oldest = self.spool.peek()
        assert (oldest and oldest[1]) == (self.waiting[0] if self.waiting else None)
        assert self.spool.records == len(self.waiting)
        assert self.spool.size_bytes == sum(file.stat().st_size for file in self.path.glob("*.spool")) <= 4_000
        assert (self.spool.oldest_at is None) == (not self.waiting)
        assert (self.spool.damaged, self.spool.torn) == (0, 0)

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.path)


BASE = Path()


@pytest.fixture(autouse=True)
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BASE", tmp_path)


TestSpoolLaws = SpoolLaws.TestCase
TestSpoolLaws.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

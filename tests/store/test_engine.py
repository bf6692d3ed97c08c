"""One process owns a data directory; what it acknowledged is there whatever happened to it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.store.owner import CALLS, name_of

from everline.store import engine as engine_module
from everline.store.engine import Engine
from everline.store.errors import (
    StoreDeadlineError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreTooNewError,
    StoreUnwritableError,
)

ROOT = Path(__file__).parents[2]


def owner(path: Path, *what: str) -> subprocess.Popen[str]:
    """Another process that opens a data directory; its first line says whether it could."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.owner", str(path), *what],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """All that a process says until it ends."""
    return process.communicate(timeout=60)[0].splitlines()


def test_a_directory_has_one_owner(tmp_path: Path) -> None:
    """The second process is told so in one line, and does no harm."""
    with owner(tmp_path, "hold") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        [refusal] = said(owner(tmp_path, "hold"))
        assert refusal.startswith(f"StoreLockedError {tmp_path} is in use by another Everline process")
        with pytest.raises(StoreLockedError):
            Engine.open(tmp_path)
        assert said(first) == []
    assert said(owner(tmp_path, "count")) == ["open"]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_store_has_all_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """Kill -9 in the middle of inserts: every acknowledged call is whole, and the batch can be given again."""
    path, acknowledged, first = tmp_path / "data", 0, 0
    for _ in range(2):
        process = owner(path, "fill", str(first))
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        begun = int(process.stdout.readline())  # One is acknowledged, however slow the machine is.
        time.sleep(random.Random(seed).random() * 0.7)
        process.send_signal(signal.SIGKILL)
        acknowledged = max([begun, *(int(line) for line in said(process) if line.strip())])
        first = acknowledged  # The last batch once more: as a client does that missed the answer.

    reopened = owner(path, "count")
    answer, *lines = said(reopened)

    assert answer == "open"
    found = dict(line.split(" ", 1) for line in lines)
    wanted = {name_of(batch, call) for batch in range(acknowledged + 1) for call in range(CALLS)}
    assert wanted <= found.keys()
    assert {found[name] for name in wanted} == {"4 4"}


def test_data_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """An older Everline says which version it found and knows."""
    (tmp_path / "version").write_text("7\n")

    with pytest.raises(StoreTooNewError, match=r"version 7.*knows up to 1") as caught:
        Engine.open(tmp_path)

    assert (caught.value.found, caught.value.known) == (7, 1)
    assert not (tmp_path / "data").exists()


def test_a_broken_version_is_told(tmp_path: Path) -> None:
    """What is no number is not guessed at."""
    (tmp_path / "version").write_text("seven")

    with pytest.raises(StoreUnwritableError, match="version"):
        Engine.open(tmp_path)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The text names the path and the reason."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnwritableError, match="Not a directory"):
        Engine.open(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    ("said_by_engine", "kind"),
    [
        ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space", StoreFullError),
        ("Code: 75. DB::ErrnoException: Cannot write: , errno: 28, strerror: No space left on device", StoreFullError),
        ("Code: 159. DB::Exception: Timeout exceeded: elapsed 1 s", StoreDeadlineError),
        ("Code: 241. DB::Exception: Memory limit exceeded", StoreDeadlineError),
        ("Code: 62. DB::Exception: Syntax error", StoreError),
        ("something else", StoreError),
    ],
)
def test_errors_of_the_engine_become_ours(tmp_path: Path, said_by_engine: str, kind: type[StoreError]) -> None:
    """By what the operator has to do."""
    error = engine_module._translated(RuntimeError(said_by_engine), tmp_path, limit_s=1)

    assert type(error) is kind

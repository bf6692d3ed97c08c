"""
The programs of a lab: started in the namespace of their host, known by process id and start time.

Each is the leader of a session of its own, so that it outlives whoever started it and is signalled with what it has
started itself. `ip netns exec` becomes the program: the process id stays the same.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from everline.lab.errors import LabError

_UMASK_THEN_RUN: Final = 'umask 077 && cd "$1" && shift && exec ip netns exec "$@"'
_POLL_S: Final = 0.02
_END_S: Final = 10.0


class ProcessState(StrEnum):
    """How the program of a node is."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"
    ABSENT = "absent"
    """It was never started."""


@dataclass(frozen=True, slots=True)
class Started:
    """
    A process that was started.

    Attributes:
        ticks: When, in clock ticks after the boot: with the process id it tells a process from a later one.
    """

    pid: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Spawn:
    """
    A program to start.

    Attributes:
        record: File that says which process it is.
        log: File that its output is added to.
    """

    namespace: str
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]
    record: Path
    log: Path


def start(spawn: Spawn) -> Started:
    """
    Start a program, without waiting until it serves.

    Raises:
        LabError: It runs already.
    """
    if state_of(spawn.record) in {ProcessState.RUNNING, ProcessState.PAUSED}:
        raise LabError(f"{spawn.record.stem} runs already: kill it first")
    for directory in (spawn.directory, spawn.log.parent, spawn.record.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _UMASK_THEN_RUN, "sh", str(spawn.directory), spawn.namespace, *spawn.command],
        dict(spawn.environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(spawn.log), write, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
    )
    found = Started(pid, _ticks(pid) or 0)
    _write(spawn.record, json.dumps(asdict(found)) + "\n")
    return found


def state_of(record: Path) -> ProcessState:
    """How the process of a record is; one that only took its number over does not count."""
    started = _load(record)
    if started is None:
        return ProcessState.ABSENT
    letter = _letter(started)
    if letter is None or letter in "ZX":
        return ProcessState.ENDED
    return ProcessState.PAUSED if letter in "Tt" else ProcessState.RUNNING


def pid_of(record: Path) -> int | None:
    """The process id of what runs or is paused."""
    started = _load(record)
    return started.pid if started and _letter(started) not in {None, "Z", "X"} else None


def send(records: Iterable[Path], number: signal.Signals) -> None:
    """Send a signal to the sessions of some processes, one right after another; to those that ended, nothing."""
    alive = [started for started in map(_load, records) if started and _letter(started) is not None]
    for started in alive:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, number)


def until_ended(records: Iterable[Path], *, within_s: float = _END_S) -> list[Path]:
    """Wait for the end of some processes; those that did not end in time."""
    waiting = list(records)
    until(lambda: not _still(waiting), within_s=within_s)
    return _still(waiting)


def until(condition: Callable[[], bool], *, within_s: float) -> bool:
    """Wait, blocking, until a condition holds; whether it does."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def end_and_forget(record: Path) -> None:
    """SIGKILL to the session of a process, wherever it is; then nothing was started any more. Damage is no error."""
    with suppress(LabError):
        send([record], signal.SIGKILL)
    record.unlink(missing_ok=True)


def _still(records: Iterable[Path]) -> list[Path]:
    return [record for record in records if state_of(record) in {ProcessState.RUNNING, ProcessState.PAUSED}]


def _letter(started: Started) -> str | None:
    """The state that the kernel gives a process; None if it is gone, or is another one by now."""
    with suppress(ChildProcessError):  # Only those that this process has started are its to bury.
        os.waitpid(started.pid, os.WNOHANG)
    found = _stat(started.pid)
    return found[0] if found and found[1] == started.ticks else None


def _ticks(pid: int) -> int | None:
    found = _stat(pid)
    return found[1] if found else None


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process (proc(5), fields 3 and 22); its name may hold anything, so they count after it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


def _load(record: Path) -> Started | None:
    try:
        return Started(**json.loads(record.read_text(encoding="ascii")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise LabError(f"{record} is damaged: run `everline lab down`, it needs no records") from error


def _write(path: Path, text: str) -> None:
    """All of it or nothing: whoever dies meanwhile leaves no half record."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)

"""Programs of a lab: started in their namespace, ended, hung, and never taken for another."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.making import IP, fresh_name, needs_root

from everline.lab.errors import LabError
from everline.lab.ip import NETNS_DIR, ip_batch, processes_in
from everline.lab.processes import ProcessState, Spawn, end_and_forget, send, start, state_of, until, until_ended

pytestmark = [needs_root, pytest.mark.peers(*IP)]


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[str]:
    """An empty one. What was started is killed by its record: it may not have got into the namespace yet."""
    name = f"ev-{fresh_name()}-alone"
    ip_batch([f"netns add {name}"])
    yield name
    end_and_forget(record_in(tmp_path))
    for pid in processes_in([name]):
        os.kill(pid, signal.SIGKILL)
    ip_batch([f"netns delete {name}"])


def record_in(directory: Path) -> Path:
    """Which process it is."""
    return directory / "run" / "it.json"


def spawn_of(directory: Path, namespace: str, *command: str) -> Spawn:
    """A program with nothing but a path in its environment."""
    return Spawn(
        namespace, command, directory / "data", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WORD": "given"},
        record_in(directory), directory / "log" / "it.log",
    )  # fmt: skip


def said(spawn: Spawn) -> str:
    """What it said when it has ended."""
    assert until_ended([spawn.record], within_s=10) == []
    return spawn.log.read_text()


def test_a_program_runs_in_its_namespace_directory_and_session(tmp_path: Path, namespace: str) -> None:
    """With the umask that passwords need, its own environment, and nothing on its stdin."""
    script = "ip netns identify $$; pwd; umask; echo $WORD $HOME; cat; ps -o sid= -p $$"
    spawn = spawn_of(tmp_path, namespace, "sh", "-c", script)
    started = start(spawn)

    assert said(spawn).split() == [namespace, str(tmp_path / "data"), "0077", "given", str(started.pid)]


def test_the_output_of_a_second_start_is_added_to_the_log(tmp_path: Path, namespace: str) -> None:
    """So that the last words of the first are still there; only its owner may read them."""
    spawn = spawn_of(tmp_path, namespace, "sh", "-c", "echo word; echo fault >&2")
    start(spawn)
    said(spawn)
    start(spawn)

    assert said(spawn) == "word\nfault\n" * 2
    assert spawn.log.stat().st_mode & 0o777 == 0o600


def test_a_program_is_absent_running_paused_running_and_ended(tmp_path: Path, namespace: str) -> None:
    """As signals come."""
    spawn = spawn_of(tmp_path, namespace, "sleep", "600")
    assert state_of(spawn.record) is ProcessState.ABSENT
    start(spawn)
    assert state_of(spawn.record) is ProcessState.RUNNING
    send([spawn.record], signal.SIGSTOP)
    assert until(lambda: state_of(spawn.record) is ProcessState.PAUSED, within_s=5)
    send([spawn.record], signal.SIGCONT)
    assert until(lambda: state_of(spawn.record) is ProcessState.RUNNING, within_s=5)
    send([spawn.record], signal.SIGKILL)

    assert until_ended([spawn.record], within_s=5) == []
    assert state_of(spawn.record) is ProcessState.ENDED


def test_what_a_program_started_is_killed_with_it(tmp_path: Path, namespace: str) -> None:
    """They are one session."""
    spawn = spawn_of(tmp_path, namespace, "sh", "-c", "sleep 600 & sleep 600")
    start(spawn)
    assert until(lambda: len(processes_in([namespace])) == 3, within_s=5)

    send([spawn.record], signal.SIGKILL)

    assert until(lambda: processes_in([namespace]) == [], within_s=5)


def test_a_program_that_runs_is_not_started_twice(tmp_path: Path, namespace: str) -> None:
    """Two on one data directory would damage it."""
    spawn = spawn_of(tmp_path, namespace, "sleep", "600")
    start(spawn)

    with pytest.raises(LabError, match="it runs already"):
        start(spawn)


def test_a_process_that_has_the_number_of_an_earlier_one_is_left_alone(tmp_path: Path, namespace: str) -> None:
    """Numbers come round; the start time tells."""
    spawn = spawn_of(tmp_path, namespace, "sleep", "600")
    started = start(spawn)
    assert until(lambda: processes_in([namespace]) == [started.pid], within_s=5)
    spawn.record.write_text(json.dumps({"pid": started.pid, "ticks": started.ticks - 1}))

    assert state_of(spawn.record) is ProcessState.ENDED
    send([spawn.record], signal.SIGKILL)

    assert processes_in([namespace]) == [started.pid]


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    """With what helps without it."""
    record = tmp_path / "it.json"
    record.write_text("{")

    with pytest.raises(LabError, match="lab down"):
        state_of(record)


def test_a_namespace_that_is_not_there_has_no_processes() -> None:
    """Nor has none."""
    assert not (NETNS_DIR / "ev-nothing-here").exists()
    assert processes_in(["ev-nothing-here"]) == []

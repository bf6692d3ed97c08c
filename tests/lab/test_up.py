"""How labs begin and end: bad surroundings are told clearly, and nothing is ever left behind."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.lab.making import ENGINES, fresh_name, needs_root, remains, small, small_lab, written

from everline.cli.entry import run
from everline.cluster.probe import Standing
from everline.cluster_file import Secrets, load_topology
from everline.lab import processes, surroundings
from everline.lab.down import take_down
from everline.lab.errors import LabError, NotReadyError, UnfitError
from everline.lab.ip import namespaces, processes_in
from everline.lab.lab import Lab
from everline.lab.layout import Layout, lab_programs
from everline.lab.names import namespaces_of
from everline.lab.processes import ProcessState, until
from everline.lab.up import ENGINE_WAVES, WAVES, bring_up
from everline.store.cluster_schema import REPLICATED
from everline.topology.errors import TopologyError
from everline.topology.model import Role

pytestmark = [needs_root, pytest.mark.peers(*ENGINES)]

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "two-regions-and-witness.yaml"
EVERLINE: Final = (sys.executable, "-m", "everline")
REDIS_ONLY: Final = ((Role.REDIS,),)
MINUTE_S: Final = 60.0
NETWORK: Final = f"10.{100 + os.getpid() % 100}."
"""Of the whole example: another one than that of tests which run beside these."""


@pytest.fixture
def small_one(tmp_path: Path) -> Iterator[tuple[Lab, str]]:
    """A lab that is not built yet; nothing of it may be left."""
    lab, text = small_lab(tmp_path)
    yield lab, text
    left = remains(lab.topology.cluster)
    take_down(lab.topology.cluster)
    assert left == []


def with_programs(lab: Lab, **paths: str) -> Lab:
    """The same with other programs."""
    return Lab(lab.layout.directory, lab.topology, programs=replace(lab_programs(), **paths))


async def start_redis(lab: Lab, text: str, *, deadline_s: float = MINUTE_S) -> None:
    """Bring only Redis up."""
    await bring_up(lab, text, tell=print, waves=REDIS_ONLY, deadline_s=deadline_s)


async def test_a_missing_program_is_told_with_its_package(small_one: tuple[Lab, str]) -> None:
    """Before anything is touched."""
    lab, text = small_one
    lacking = with_programs(lab, redis_server="/nowhere/redis-server", java="/nowhere/java")

    with pytest.raises(UnfitError, match=r"/nowhere/redis-server \(package redis-server\).*install-peers"):
        await start_redis(lacking, text)

    assert not lab.layout.directory.exists()


async def test_a_program_that_ends_by_itself_is_told_with_its_last_words(
    small_one: tuple[Lab, str], tmp_path: Path
) -> None:
    """And all that runs beside it is ended."""
    lab, text = small_one
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'Bad directive or wrong number of arguments'\nexit 1\n")
    program.chmod(0o755)

    with pytest.raises(NotReadyError, match=r"e1-redis.* ended by itself") as caught:
        await start_redis(with_programs(lab, redis_server=str(program)), text)

    assert "Bad directive or wrong number of arguments" in caught.value.details


async def test_what_is_not_ready_in_time_is_told_with_what_it_answers(
    small_one: tuple[Lab, str], tmp_path: Path
) -> None:
    """Here something that listens to nobody."""
    lab, text = small_one
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)

    with pytest.raises(NotReadyError, match="not ready in time: e1-redis, e2-redis, w1-redis") as caught:
        await start_redis(with_programs(lab, redis_server=str(program)), text, deadline_s=1)

    assert any(line.startswith("w1-redis: ") and "does w1-redis run?" in line for line in caught.value.details)


async def test_a_wrong_password_is_told_with_its_key(
    small_one: tuple[Lab, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files have another one than the secrets."""
    lab, text = small_one
    write = Layout.write_configuration

    def with_another(layout: Layout, secrets: Secrets) -> None:
        write(layout, replace(secrets, redis="another-password-than-that"))

    monkeypatch.setattr(Layout, "write_configuration", with_another)
    with pytest.raises(NotReadyError) as caught:
        await start_redis(lab, text, deadline_s=2)

    assert "check secrets.redis" in "\n".join(caught.value.details)


async def test_too_little_memory_is_told(small_one: tuple[Lab, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is touched."""
    lab, text = small_one
    monkeypatch.setattr(surroundings, "available_megabytes", lambda: 100)

    with pytest.raises(UnfitError, match="100 MB of memory are free, this lab needs 180"):
        await start_redis(lab, text)


async def test_a_plain_user_is_told_to_use_sudo(small_one: tuple[Lab, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces take root."""
    lab, text = small_one
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(UnfitError, match="sudo everline lab up"):
        await start_redis(lab, text)


async def test_a_bad_secret_stops_it_before_anything_is_built(small_one: tuple[Lab, str]) -> None:
    """With its key."""
    lab, text = small_one
    secret = lab.layout.directory / "secrets" / "redis"
    secret.parent.mkdir(parents=True)
    secret.touch(0o600)
    secret.write_text("short\n")

    with pytest.raises(TopologyError, match=r"secrets\.redis"):
        await start_redis(lab, text)


async def test_secrets_are_made_only_below_the_lab(tmp_path: Path) -> None:
    """A path elsewhere is somebody else's to fill."""
    values = small(fresh_name())
    values["secrets"]["redis"] = {"file": f"{tmp_path}/elsewhere"}  # type: ignore[index]
    path = written(tmp_path, values)
    lab = Lab(tmp_path / "lab", load_topology(path))

    with pytest.raises(UnfitError, match=r"secrets\.redis.*elsewhere is not there"):
        await start_redis(lab, path.read_text())

    assert not (tmp_path / "elsewhere").exists()


async def test_data_of_other_hosts_is_not_taken_over(small_one: tuple[Lab, str], tmp_path: Path) -> None:
    """Redis and ZooKeeper keep addresses in their data."""
    lab, text = small_one
    await start_redis(lab, text)
    take_down(lab.topology.cluster)
    path = written(tmp_path, small(lab.topology.cluster, third={"redis": {}, "sentinel": {}, "keeper": {}}))
    path.write_text(text.replace("10.98.", "10.97."))
    other = Lab(lab.layout.directory, load_topology(path))

    with pytest.raises(UnfitError, match=r"data of a cluster with other hosts.*--wipe"):
        await start_redis(other, path.read_text())


async def test_a_lab_that_was_down_comes_up_with_its_data_and_secrets(small_one: tuple[Lab, str]) -> None:
    """As machines do after a power failure."""
    lab, text = small_one
    await start_redis(lab, text)
    secrets = lab.secrets()
    take_down(lab.topology.cluster)
    kept = lab.layout.data(lab.topology.node("e1-redis")) / "live.conf"
    kept.write_text(kept.read_text() + "# kept\n")

    await start_redis(lab, text)
    take_down(lab.topology.cluster)

    assert lab.secrets() == secrets
    assert "# kept" in kept.read_text()


async def test_a_start_that_is_cancelled_takes_everything_down(small_one: tuple[Lab, str]) -> None:
    """In the middle of its programs' start."""
    lab, text = small_one
    begun = asyncio.Event()
    starting = asyncio.create_task(bring_up(lab, text, tell=lambda _: begun.set(), waves=ENGINE_WAVES))
    async with asyncio.timeout(MINUTE_S):
        await begun.wait()
    assert remains(lab.topology.cluster)
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_program_on_its_way_into_its_namespace_is_taken_down_too(
    small_one: tuple[Lab, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here none ever gets there: only the records tell of them."""
    lab, text = small_one
    monkeypatch.setattr(processes, "_UMASK_THEN_RUN", "exec sleep 601")

    with pytest.raises(NotReadyError, match="not ready in time"):
        await start_redis(lab, text, deadline_s=1)

    assert list(lab.layout.directory.glob("*/run/*")) == []
    assert until(lambda: not sleepers(), within_s=MINUTE_S)


def sleepers() -> list[Path]:
    """Children of the tests that still sleep for 601 s."""
    return [path for path in Path("/proc").glob("[0-9]*") if _sleeps(path)]


def _sleeps(process: Path) -> bool:
    try:
        is_child = f"\nPPid:\t{os.getpid()}\n" in (process / "status").read_text()
        return is_child and (process / "cmdline").read_bytes() == b"sleep\x00601\x00"
    except OSError:
        return False


def in_the_middle(lab: Lab) -> bool:
    """Whether some of its programs run."""
    return any(state.process is ProcessState.RUNNING for state in lab.states())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_takes_everything_down(
    small_one: tuple[Lab, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C, and what systemd or a closing terminal sends."""
    lab, _ = small_one
    with started(lab, tmp_path) as command:
        assert until(lambda: in_the_middle(lab), within_s=MINUTE_S)
        command.send_signal(number)
        said = command.communicate(timeout=MINUTE_S)[0]

    assert command.returncode == code, said
    assert "taking everything down again" in said
    assert remains(lab.topology.cluster) == []


def test_after_kill_9_down_removes_everything(
    small_one: tuple[Lab, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the names alone: what it knew of its processes is lost here too. A second `down` is no error."""
    lab, _ = small_one
    with started(lab, tmp_path) as command:
        assert until(lambda: in_the_middle(lab), within_s=MINUTE_S)
        command.kill()
        command.wait(MINUTE_S)
    pids = processes_in(namespaces_of(lab.topology.cluster, namespaces()))
    for record in lab.layout.directory.glob("*/run/*"):
        record.unlink()
    words = ["lab", "down", "--dir", str(lab.layout.directory.parent), "--cluster", lab.topology.cluster]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert re.search(r"is down: [1-9]\d* processes and 4 namespaces removed", told), told
    assert not [pid for pid in pids if Path(f"/proc/{pid}/ns/net").exists()]
    assert remains(lab.topology.cluster) == []
    assert lab.layout.directory.exists()

    assert run([*words, "--wipe"]) == 0
    assert "0 processes and 0 namespaces removed; files removed" in capsys.readouterr().out
    assert not lab.layout.directory.exists()


def started(lab: Lab, directory: Path) -> "subprocess.Popen[str]":
    """`everline lab up` of the small one, engines only."""
    words = ("lab", "up", str(directory / "cluster.yaml"), "--dir", str(lab.layout.directory.parent), "--engines")
    return subprocess.Popen(
        [*EVERLINE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )  # fmt: skip


def test_commands_for_a_lab_that_is_not_there_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert run(["lab", "status", "--dir", str(tmp_path), "--cluster", "none"]) == 1
    assert "no lab in" in capsys.readouterr().err
    assert run(["lab", "cut", "e1", "--dir", str(tmp_path), "--cluster", "none"]) == 1
    assert "run `everline lab up`" in capsys.readouterr().err


def changed(change: Callable[[Any], object]) -> dict[str, object]:
    """cluster.yaml of the small lab with a fault: `change` is given its first host."""
    values: Any = small(fresh_name())
    change(values["regions"][0]["racks"][0]["hosts"][0])
    return dict(values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(
            lambda host: host["roles"].update(radis={}), "regions[0].racks[0].hosts[0].roles.radis", id="unknown-role"
        ),
        pytest.param(
            lambda host: host["roles"].update(redis={"port": 2181}), "2181", id="one-port-twice"
        ),
        pytest.param(
            lambda host: host.update(address=small("x")["regions"][1]["racks"][0]["hosts"][0]["address"]),  # type: ignore[index]
            "hosts[0].address", id="one-address-twice",
        ),
    ],
)  # fmt: skip
def test_a_file_with_a_fault_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Any], object], told: str
) -> None:
    """It is told with its key."""
    values = changed(change)
    path = written(tmp_path, values)

    assert run(["lab", "up", str(path), "--dir", str(tmp_path / "labs")]) != 0

    assert told in capsys.readouterr().err
    assert remains(str(values["cluster"])) == []
    assert not (tmp_path / "labs").exists()


async def test_a_port_that_is_taken_on_a_host_is_told_with_the_last_words(small_one: tuple[Lab, str]) -> None:
    """By a program that got there first; it is ended with the rest."""
    lab, text = small_one
    redis = lab.topology.node("e1-redis")
    listen = f"import socket, time; s = socket.create_server(({redis.address!r}, 6379)); time.sleep(600)"
    others: list[subprocess.Popen[bytes]] = []

    def take_port(line: str) -> None:
        if line.startswith("network:"):
            inside = ("ip", "netns", "exec", lab.namespace(redis))
            others.append(subprocess.Popen([*inside, sys.executable, "-c", listen]))
            assert until(lambda: root_takes(redis.address, 6379), within_s=MINUTE_S)

    with pytest.raises(NotReadyError, match="e1-redis ended by itself") as caught:
        await bring_up(lab, text, tell=take_port, waves=REDIS_ONLY)

    assert any("Address already in use" in line for line in caught.value.details)
    assert others[0].wait(MINUTE_S) == -signal.SIGKILL


def root_takes(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def test_every_role_is_started() -> None:
    """None is forgotten, and none waits for itself."""
    started = [role for wave in WAVES for role in wave]

    assert sorted(started) == sorted(Role)


def test_the_whole_example_comes_up_by_one_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    """Sixteen hosts in three regions: engines and Everline; everything is ready, then nothing is left."""
    name = fresh_name()
    path = tmp_path / "cluster.yaml"
    path.write_text(EXAMPLE.read_text().replace("cluster: everline", f"cluster: {name}").replace("10.77.", NETWORK))
    where = ["--dir", str(tmp_path / "labs")]
    began = time.monotonic()
    try:
        assert run(["lab", "up", str(path), *where, "--deadline", "300"]) == 0, capfd.readouterr().err
        took_s = time.monotonic() - began
        told = capfd.readouterr().out
        assert run(["lab", "status", *where, "--json"]) == 0
        nodes = json.loads(capfd.readouterr().out)["nodes"]
        assert run(["lab", "status", *where]) == 0
    finally:
        assert run(["lab", "down", *where, "--wipe"]) == 0
    record_property("seconds", took_s)
    print(f"\n{told}the whole example: {took_s:.1f} s")

    assert f"everline lab down --cluster {name}" in told
    assert {row["standing"] for row in nodes} == {Standing.READY}
    assert {row["tables"] for row in nodes if row["role"] == Role.CLICKHOUSE} == {len(REPLICATED)}
    assert all(row["pid"] for row in nodes)
    vips = [row for row in nodes if row["role"] == Role.KEEPALIVED]
    assert len(vips) == 4
    assert all("nginx at " in row["said"] and not row["faults"] for row in vips)
    assert remains(name) == []
    assert not (tmp_path / "labs" / name).exists()


def test_paths_that_break_configuration_files_are_refused(tmp_path: Path) -> None:
    """A blank would end a word in Redis's files."""
    path = written(tmp_path, small(fresh_name()))

    with pytest.raises(LabError, match="may have only letters"):
        Lab(tmp_path / "my labs", load_topology(path))

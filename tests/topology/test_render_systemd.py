"""The rendered units are read by systemd, and start programs with files that are there."""

import itertools
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.topology.rendered import SECRETS, rendered_cluster

from everline.cluster_file import load_topology
from everline.topology.render import Places, Programs, launch_of, render

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.peers("systemd-analyze")
@pytest.mark.parametrize("example", ["single-site", "two-regions-and-witness"])
def test_systemd_accepts_each_unit_and_finds_little_exposed(example: str, tmp_path: Path) -> None:
    """
    `verify` finds no fault; `security` rates below 2 of 10 (Debian's own unit of ClickHouse: 9.2).

    keepalived is below 2.5: it gives interfaces their addresses, which is a right of its own.
    """
    units = written_units(example, tmp_path)

    verified = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    keepalived = [unit for unit in units if "keepalived" in unit.name]
    for threshold, some in ((20, [unit for unit in units if unit not in keepalived]), (25, keepalived)):
        rated = ["systemd-analyze", "security", "--offline=yes", f"--threshold={threshold}", "--no-pager"]
        said = subprocess.run([*rated, *map(str, some)], capture_output=True, text=True, check=False)
        assert some
        assert said.returncode == 0, [line for line in said.stdout.splitlines() if "→" in line]


def written_units(example: str, directory: Path) -> list[Path]:
    """The units of one host of each kind of a shipped example; programs that are not here are stood for by another."""
    program = shutil.which("true") or "/bin/true"
    places = Places(programs=replace(Programs(), everline=program, clickhouse_keeper=program))
    files = render(load_topology(EXAMPLES / f"{example}.yaml"), SECRETS, places)
    units = {Path(path).name: file.text for path, file in files.items() if path.endswith(".service")}
    for name, text in units.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in units]


@pytest.mark.peers("redis-server", "redis-sentinel")
@pytest.mark.parametrize("name", ["h1-redis", "h2-redis", "h1-sentinel"])
def test_redis_and_sentinel_say_when_they_serve(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their units are of Type=notify: without this word, systemd would end them after its patience."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, rendered_cluster(tmp_path) as cluster:
        notified.bind(str(tmp_path / "s"))
        notified.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        cluster.start(name)
        while b"READY=1" not in notified.recv(4096):
            pass


def test_the_names_of_rendered_files_are_those_that_programs_are_started_with(tmp_path: Path) -> None:
    """No command and no copy names a file that was not rendered."""
    with rendered_cluster(tmp_path) as cluster:
        pass
    for node in cluster.topology.nodes:
        launch = launch_of(node, cluster.places)
        named = itertools.chain(launch.command, (copy.source for copy in launch.copies))
        config = [word.rpartition("=")[2] for word in named if cluster.places.config_root in word]
        assert config
        assert all(Path(one.partition(":")[0]).exists() for one in config), node.name

"""When the disk is full: the node says so, keeps what it has, and goes on by itself when there is space again."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.node.flood import send_all
from tests.running_node import RunningNode, running_node, until

from everline.bench.corpus import datagrams, templates

SIZE = "48m"
CALL_MESSAGES = len(templates())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", tmp_path], check=False)
    if mounted.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("a file system cannot be mounted here: run the tests as root")
        pytest.skip("needs root, to mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def fill(disk: Path) -> Path:
    """Use up every byte."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


def readiness(node: RunningNode) -> tuple[int, str]:
    """What a balancer is told."""
    answer = httpx2.get(f"{node.url}/readyz", timeout=10)
    return answer.status_code, answer.text


def send_calls(node: RunningNode, numbers: range) -> int:
    """Whole calls of now; how many messages."""
    return send_all(node.hep, list(datagrams(numbers, time.time_ns() // 1000)))


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """Not ready while it lasts; then all that came meanwhile is stored, and it is ready again, by itself."""
    with running_node(small_disk / "node") as node:
        sent = send_calls(node, range(50))
        assert node.until_received(sent)["stored"] == sent

        filler = fill(small_disk)
        sent += send_calls(node, range(50, 100))
        until(lambda: readiness(node)[0] == 503, within_s=20, what="not ready")
        assert "is full: free some space" in readiness(node)[1]
        assert httpx2.get(f"{node.url}/livez", timeout=10).status_code == 200
        assert len(node.calls()) == 50

        filler.unlink()
        ledger = node.until_received(sent)
        assert (ledger["stored"], ledger["dropped"], ledger["kernel_drops"]) == (sent, 0, 0)
        until(lambda: readiness(node) == (200, "ready\n"), within_s=20, what="ready again")
        assert sorted(call["messages"] for call in node.calls()) == [CALL_MESSAGES] * 100


def test_stopped_with_a_full_disk_it_says_what_is_lost(small_disk: Path) -> None:
    """Within its time, with exit code 0; what was stored is there at the next start."""
    config = small_disk / "everline.toml"
    config.write_text("[ingest]\ndrain_s = 1\n", "utf-8")
    data = small_disk / "node"
    with running_node(data, "--config", str(config)) as node:
        sent = send_calls(node, range(20))
        node.until_received(sent)
        filler = fill(small_disk)
        lost = send_calls(node, range(20, 30))
        until(lambda: readiness(node)[0] == 503, within_s=20, what="not ready")
        node.process.terminate()
        assert node.process.wait(30) == 0
    filler.unlink()
    assert not (data / "node.json").exists()

    with running_node(data, "--config", str(config)) as node:
        assert sum(call["messages"] for call in node.calls()) >= sent
        assert lost > 0

"""A node from its start to its end: what it takes is kept, however it ends."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from tests.node.flood import flood, send_all
from tests.running_node import RunningNode, running_node, until

from everline.bench.corpus import datagrams, templates

STOP_S = 30.0


def calls(numbers: range) -> list[bytes]:
    """All messages of some calls, of now."""
    return list(datagrams(numbers, time.time_ns() // 1000))


def ended(node: RunningNode) -> int:
    """The exit code of a node that was told to end."""
    return node.process.wait(STOP_S)


def counted(node: RunningNode) -> int:
    """Messages of all calls in the store."""
    return sum(int(call["messages"]) for call in node.calls())


def forget(data: Path) -> None:
    """What a killed node leaves behind, and a reader could take for a sign of life."""
    (data / "node.json").unlink(missing_ok=True)


def said_by(data: Path) -> str:
    """What the node wrote on stdout and stderr."""
    return data.with_name(f"{data.name}.log").read_text("utf-8")


def test_a_node_starts_and_is_ready(tmp_path: Path) -> None:
    """It says where it is, to people and to programs."""
    with running_node(tmp_path / "node") as node:
        answer = httpx2.get(f"{node.url}/readyz", timeout=10)

        assert (answer.status_code, answer.text) == (200, "ready\n")
        assert httpx2.get(f"{node.url}/livez", timeout=10).status_code == 200
        assert "everline_node_info" in httpx2.get(f"{node.url}/metrics", timeout=10).text
        about = json.loads((node.data / "node.json").read_text("utf-8"))
        assert about["pid"] == node.process.pid
        until(lambda: f"Everline is up: {node.url}/" in said_by(node.data), within_s=10, what="the greeting")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_keeps_all_that_was_sent(number: signal.Signals, tmp_path: Path) -> None:
    """Over UDP and TCP, in whatever queue it is; exit code 0, and nothing in its place."""
    data = tmp_path / "node"
    sent = calls(range(200))
    half = len(sent) // 2
    with running_node(data) as node, socket.create_connection(node.hep) as agent:
        agent.sendall(b"".join(sent[:half]))
        send_all(node.hep, sent[half:], per_s=1e9)
        node.process.send_signal(number)
        assert ended(node) == 0
    assert f"received={len(sent)} stored={len(sent)}" in said_by(data)
    assert "Traceback" not in said_by(data)
    assert not (data / "node.json").exists()

    with running_node(data) as node:
        assert counted(node) == len(sent)


def test_told_to_stop_in_a_flood_it_stops(tmp_path: Path) -> None:
    """Within its time, every message accounted for."""
    with running_node(tmp_path / "node") as node:
        sending = subprocess.Popen(
            [sys.executable, "-c", f"from tests.node.flood import flood\nflood({node.hep!r}, [b'x'*500], seconds=60)"],
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        try:
            until(lambda: node.ledger()["received"] > 1_000, within_s=10, what="the flood")
            node.process.terminate()
            assert ended(node) == 0
        finally:
            sending.kill()
            sending.wait()

    assert " pending=0 " in said_by(tmp_path / "node")


def test_killed_under_load_it_has_what_it_said_was_stored(tmp_path: Path) -> None:
    """And opens again, twice."""
    data = tmp_path / "node"
    stored = 0
    for turn in range(2):
        forget(data)
        with running_node(data) as node:
            assert counted(node) >= stored
            before = counted(node)
            send_all(node.hep, calls(range(turn * 500, turn * 500 + 500)), per_s=20_000)
            stored = before + until(lambda: node.ledger()["stored"], within_s=10, what="something stored")
            node.process.kill()
            ended(node)
    forget(data)
    with running_node(data) as node:
        assert counted(node) >= stored


def test_a_suspended_node_loses_nothing(tmp_path: Path) -> None:
    """The kernel keeps what comes meanwhile, as far as its buffer goes."""
    sent = calls(range(20))
    with running_node(tmp_path / "node") as node:
        node.process.send_signal(signal.SIGSTOP)
        send_all(node.hep, sent)
        node.process.send_signal(signal.SIGCONT)

        assert node.until_received(len(sent))["stored"] == len(sent)


def test_a_second_node_on_the_same_directory_leaves_the_first_alone(tmp_path: Path) -> None:
    """It says one line and goes; the first is still found."""
    data = tmp_path / "node"
    with running_node(data) as node:
        command = [sys.executable, "-m", "everline", "up", "--data", str(data)]
        second = subprocess.run(
            [*command, "--hep", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode != 0
        assert second.stderr.startswith("everline: ")
        assert "is in use by another Everline process" in second.stderr
        assert second.stderr.count("\n") == 1

        sent = calls(range(5))
        send_all(node.hep, sent)
        assert node.until_received(len(sent))["stored"] == len(sent)
        assert json.loads((data / "node.json").read_text("utf-8"))["pid"] == node.process.pid


def test_a_silent_call_is_closed_when_the_node_starts(tmp_path: Path) -> None:
    """An INVITE of an hour ago, and nothing since."""
    data = tmp_path / "node"
    invite = next(datagrams(range(1), time.time_ns() // 1000 - 3_600 * 1_000_000))
    with running_node(data) as node:
        send_all(node.hep, [invite])
        node.until_received(1)
    with running_node(data) as node:
        closed = until(lambda: [one for one in node.calls() if one["outcome"]], within_s=20, what="the call is closed")

    assert [one["outcome"] for one in closed] == ["timed_out"]


def test_the_demo_makes_calls(tmp_path: Path) -> None:
    """The capture that ships is played once."""
    with running_node(tmp_path / "node", "--demo") as node:
        until(lambda: len(node.calls()) > 10, within_s=30, what="calls of the demo")

        assert node.ledger()["dropped"] == 0


def test_agents_that_fill_all_places_do_not_stop_the_pages(tmp_path: Path) -> None:
    """More connections than are taken: pages, store and UDP go on."""
    with running_node(tmp_path / "node") as node:
        agents = [socket.create_connection(node.hep) for _ in range(1_100)]
        try:
            until(lambda: "everline_stream_connections 1024" in metrics_of(node), within_s=20, what="all places taken")
            assert "everline_stream_refused_total 76" in metrics_of(node)
            sent = calls(range(5))
            send_all(node.hep, sent)
            assert node.until_received(len(sent))["stored"] == len(sent)
        finally:
            for agent in agents:
                agent.close()
        until(lambda: "everline_stream_connections 0.0" in metrics_of(node), within_s=20, what="all places free")


def metrics_of(node: RunningNode) -> str:
    """The Prometheus text."""
    return httpx2.get(f"{node.url}/metrics", timeout=10).text


def test_memory_is_bounded_in_a_flood(tmp_path: Path) -> None:
    """Large messages, far more than can be stored; afterwards nothing is lost."""
    config = tmp_path / "everline.toml"
    config.write_text("[ingest]\nqueue_events = 5000\n[live]\nmax_calls = 1000\n", "utf-8")
    large = [one + bytes(20_000) for one in calls(range(100))]
    with running_node(tmp_path / "node", "--config", str(config)) as node:
        send_all(node.hep, calls(range(100)))
        node.until_received(100 * len(templates()))
        before = peak_rss_bytes(node)

        sent = 100 * len(templates()) + flood(node.hep, large, seconds=3)
        settled = until(lambda: accounted(node, sent), within_s=30, what="every datagram is accounted for")
        assert settled["received"] == settled["stored"] + settled["rejected"] + settled["dropped"]
        assert peak_rss_bytes(node) - before < 400 * 2**20

        after = calls(range(500, 600))
        send_all(node.hep, after)
        assert node.until_received(settled["received"] + len(after))["stored"] == settled["stored"] + len(after)


def accounted(node: RunningNode, sent: int) -> dict[str, int] | None:
    """The ledger once all that was sent is in it."""
    ledger = node.ledger()
    return ledger if ledger["received"] + ledger["kernel_drops"] == sent and not ledger["pending"] else None


def peak_rss_bytes(node: RunningNode) -> int:
    """Most memory that the process ever held."""
    status = Path(f"/proc/{node.process.pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

"""`everline balance`: a balancer as an operator starts it, in front of ingest nodes' sockets."""

import asyncio
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from tests.balance.test_balancer import WITHIN_S, Node
from tests.balance.test_forward import called
from tests.rigs.ports import free_ports

from everline.balance.ring import Member
from everline.cli.balance import TargetError, parse_targets


async def balancer(*arguments: str) -> asyncio.subprocess.Process:
    """Its process, once it says where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "everline", "balance", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        assert b"Everline balances" in await process.stdout.readline()
    return process


async def test_it_spreads_calls_tells_what_it_counts_and_stops_in_order() -> None:
    """Two nodes, each message to both."""
    nodes = [Node(key=b""), Node(key=b"")]
    [hep, http] = free_ports(2)
    targets = ",".join(f"127.0.0.1:{node.port}@rack-{number}" for number, node in enumerate(nodes))
    process = await balancer(
        "--listen", f"127.0.0.1:{hep}", "--http", f"127.0.0.1:{http}", "--to", targets, "--mirror", "2"
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.connect(("127.0.0.1", hep))
        for number in range(100):
            agent.send(called(str(number)))
        agent.send(b"garbage")
        async with asyncio.timeout(WITHIN_S):
            while not all(node.ledger.received == 100 and node.keepalives.answered >= 2 for node in nodes):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{http}", timeout=WITHIN_S) as client:
        assert (await client.get("/readyz")).text == "ready\n"
        metrics = (await client.get("/metrics")).text
    assert "everline_balance_received_total 101.0" in metrics
    assert 'everline_balance_rejected_total{reason="not_sip"} 1.0' in metrics
    for node in nodes:
        assert f'everline_balance_sent_total{{member="127.0.0.1:{node.port}"}} 100.0' in metrics
        node.udp.close()

    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WITHIN_S):
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def test_ingest_nodes_may_have_a_rack_and_a_region() -> None:
    """So that a second owner is far from the first; without one each is a rack of its own."""
    targets = parse_targets(["10.0.0.1:9060@a/east, 10.0.0.2:9060@b", "[::1]:9060"])

    assert targets == {
        Member("10.0.0.1:9060", "a", "east"): ("10.0.0.1", 9060),
        Member("10.0.0.2:9060", "b", ""): ("10.0.0.2", 9060),
        Member("[::1]:9060", "[::1]:9060", ""): ("::1", 9060),
    }


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("10.0.0.1", "need HOST:PORT"),
        ("10.0.0.1:9060@", "HOST:PORT@RACK"),
        ("10.0.0.1:9060@a/", "HOST:PORT@RACK"),
        ("10.0.0.1:99999", "need HOST:PORT"),
        ("", "need HOST:PORT"),
        ("10.0.0.1:9060,10.0.0.1:9060@b", "twice"),
    ],
)
def test_what_is_no_ingest_node_is_refused(word: str, why: str) -> None:
    """By the words that were given."""
    with pytest.raises(TargetError, match=why):
        parse_targets([word])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--to"),
        (("--to", "nonsense"), 2, "--to 'nonsense'"),
        (("--to", "127.0.0.1:1", "--listen", "here"), 2, "--listen 'here'"),
        (("--to", "127.0.0.1:1", "--http", "here"), 2, "--http 'here'"),
        (("--to", "127.0.0.1:1", "--mirror", "3"), 2, "mirror"),
        (("--to", "127.0.0.1:1", "--listen", "192.0.2.1:9060"), 3, "cannot listen on UDP 192.0.2.1:9060"),
    ],
)
def test_wrong_words_end_with_a_reason(arguments: tuple[str, ...], code: int, said: str) -> None:
    """On stderr, before anything is passed on."""
    ended = subprocess.run(
        [sys.executable, "-m", "everline", "balance", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )

    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr

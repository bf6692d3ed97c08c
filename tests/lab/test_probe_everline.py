"""What the probe makes of an Everline node's own word, and of what else may listen on its port."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from tests.lab.making import fresh_name, small

from everline.cluster.probe import NodeReport, Standing, probe
from everline.cluster_file import Secrets
from everline.topology.model import Role, Topology

SECRETS = Secrets(*(["a-password-only-for-tests"] * 5))
ASK_S = 1.0


@asynccontextmanager
async def answering(answer: Callable[[], bytes]) -> AsyncIterator[int]:
    """A server that gives every request the same answer and hangs up; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def topology_at(port: int) -> Topology:
    """A cluster whose first host is this machine, with an ingest node at that port."""
    values = small(fresh_name())
    host = values["regions"][0]["racks"][0]["hosts"][0]  # type: ignore[index]
    host["address"] = "127.0.0.1"
    host["roles"]["ingest"] = {"http_port": port}
    return Topology.model_validate(values)  # `load_topology` would refuse a loopback address.


async def report_of(port: int) -> NodeReport:
    """Of the ingest node there."""
    topology = topology_at(port)
    [report] = await probe(topology, SECRETS, deadline_s=ASK_S, nodes=topology.nodes_of(Role.INGEST)[:1])
    return report


def http(status: str, body: str = "", *, shift_s: float = 0) -> Callable[[], bytes]:
    """An answer with a date."""

    def answer() -> bytes:
        date = formatdate(time.time() + shift_s, usegmt=True)
        return f"HTTP/1.1 {status}\r\ndate: {date}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    return answer


async def test_a_node_that_is_ready_is_ready() -> None:
    """By its own word, and its clock agrees."""
    async with answering(http("200 OK", "ready\n")) as port:
        report = await report_of(port)

    assert (report.standing, report.faults, report.skew_s) == (Standing.READY, (), 0.0)


async def test_a_node_that_is_not_ready_says_why() -> None:
    """Each reason is a fault."""
    async with answering(http("503 Service Unavailable", "the store takes nothing\nkeeps batches\n")) as port:
        report = await report_of(port)

    assert report.standing is Standing.UNREADY
    assert report.faults == ("the store takes nothing", "keeps batches")


async def test_a_refusal_without_a_reason_is_told_by_its_number() -> None:
    """As from a proxy."""
    async with answering(http("404 Not Found")) as port:
        assert (await report_of(port)).faults == ("answers 404 without a reason",)


@pytest.mark.parametrize(("shift_s", "way"), [(-60, "behind"), (60, "ahead of")])
async def test_its_clock_is_compared_with_ours(shift_s: float, way: str) -> None:
    """By the date of its answer."""
    async with answering(http("200 OK", shift_s=shift_s)) as port:
        report = await report_of(port)

    assert report.standing is Standing.UNREADY
    assert report.faults[0].startswith("the clock of host e1 is ")
    assert way in report.faults[0]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"\x00" * 100_000])
async def test_another_program_on_its_port_is_told(said: bytes) -> None:
    """Whatever it says."""
    async with answering(lambda: said) as port:
        report = await report_of(port)

    assert report.standing is Standing.DOWN
    assert "speaks no HTTP" in report.faults[0]


async def test_a_port_where_nobody_listens_is_told_at_once() -> None:
    """With the node that should."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        report = await report_of(nobody.getsockname()[1])

    assert report.standing is Standing.DOWN
    assert "Connection refused): does e1-ingest run?" in report.faults[0]


async def test_silence_costs_one_deadline() -> None:
    """Of whoever takes the connection and says nothing, how many they are."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        topology = topology_at(silent.getsockname()[1])
        nodes = topology.nodes_of(Role.INGEST)[:1] * 5
        began = time.monotonic()
        reports = await probe(topology, SECRETS, deadline_s=ASK_S, nodes=nodes)

    assert time.monotonic() - began < 2 * ASK_S
    assert {report.standing for report in reports} == {Standing.DOWN}
    assert "no answer within 1 s" in reports[0].faults[0]

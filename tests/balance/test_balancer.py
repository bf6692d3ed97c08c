"""A balancer in front of ingest nodes' own sockets: nodes die, hang, drain and come back, and calls go on."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.balance.test_forward import called

from everline.balance.balancer import Balancer, bound
from everline.balance.health import Standing
from everline.balance.ring import Member
from everline.ingest.intake import Intake
from everline.ingest.keepalives import Keepalives
from everline.ingest.ledger import Ledger
from everline.ingest.udp import UdpListener

KEY = b"k" * 32
WITHIN_S = 20.0
BUFFER_BYTES = 1 << 22


class Node:
    """The socket of an ingest node, and what it has taken."""

    def __init__(self, port: int = 0, *, key: bytes = KEY) -> None:
        self.ledger = Ledger()
        self.intake = Intake(self.ledger, capacity=100_000)
        self.is_draining = False
        self.keepalives = Keepalives(key, is_draining=lambda: self.is_draining)
        self.udp = UdpListener(
            "127.0.0.1", port, self.intake, self.ledger, buffer_bytes=BUFFER_BYTES, keepalives=self.keepalives
        )
        self.port = self.udp.port

    async def taken(self) -> list[bytes]:
        """All that it took since the last time."""
        waiting = self.ledger.received - self._given
        self._given += waiting
        return [one.data for one in await self.intake.take(waiting, 0.0)] if waiting else []

    _given = 0


class Site:
    """A balancer, its nodes, and an agent."""

    def __init__(self, nodes: dict[str, Node], balancer: Balancer, agent: socket.socket) -> None:
        self.nodes, self.balancer, self.agent = nodes, balancer, agent

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens by itself."""
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110 - it happens in sockets
                await asyncio.sleep(0.005)

    async def until_stands(self, name: str, standing: Standing) -> None:
        """Wait until the balancer knows a node so."""
        await self.until(lambda: self.balancer.standings()[name] is standing)

    async def send(self, *call_ids: str) -> None:
        """Send a message of each call, and wait until all are passed on."""
        before = self.balancer.tally.received
        for call_id in call_ids:
            self.agent.send(called(call_id))
        await self.until(lambda: self.balancer.tally.received == before + len(call_ids))


@asynccontextmanager
async def balanced(mirror: int = 1, *, node_key: bytes = KEY) -> AsyncIterator[Site]:
    """Four nodes in two regions."""
    nodes = {f"n{number}": Node(key=node_key) for number in range(4)}
    places = {
        Member(name, rack=name, region=f"r{number % 2}"): ("127.0.0.1", node.port)
        for number, (name, node) in enumerate(nodes.items())
    }
    balancer = Balancer([bound("127.0.0.1", 0, buffer_bytes=BUFFER_BYTES)], places, key=KEY, mirror=mirror)
    running = asyncio.create_task(balancer.run())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.connect(balancer.local)
        try:
            yield Site(nodes, balancer, agent)
        finally:
            running.cancel()
            await asyncio.wait([running])
            balancer.stop()
            for node in nodes.values():
                node.udp.close()


async def test_nodes_that_answer_are_in_and_all_is_spread_over_them() -> None:
    """Questions and answers are no messages: the nodes' ledgers have only what the agent sent."""
    async with balanced() as site:
        await site.until(lambda: all(node.keepalives.answered >= 3 for node in site.nodes.values()))
        await site.send(*map(str, range(400)))
        await site.until(lambda: sum(node.ledger.received for node in site.nodes.values()) == 400)

        assert set(site.balancer.standings().values()) == {Standing.IN}
        assert max(node.ledger.received for node in site.nodes.values()) <= 150
        assert sum(site.balancer.shares().values()) == pytest.approx(1)


async def test_with_two_owners_a_node_that_dies_takes_nothing_with_it() -> None:
    """Each message is at a node that lives, whenever it was sent; the dead one is left at once."""
    async with balanced(mirror=2) as site:
        await site.send(*(f"before-{number}" for number in range(200)))
        site.nodes["n1"].udp.close()
        await site.send(*(f"while-{number}" for number in range(200)))
        await site.until_stands("n1", Standing.REFUSING)
        await site.send(*(f"after-{number}" for number in range(200)))

        living = [node for name, node in site.nodes.items() if name != "n1"]
        sent = {called(f"{when}-{number}") for when in ("before", "while", "after") for number in range(200)}
        taken: Counter[bytes] = Counter()

        async def has_all() -> bool:
            for node in living:
                taken.update(await node.taken())
            return taken.keys() == sent

        async with asyncio.timeout(WITHIN_S):
            while not await has_all():  # noqa: ASYNC110 - it happens in sockets
                await asyncio.sleep(0.005)
        after = {called(f"after-{number}") for number in range(200)}
        assert all(taken[data] == 2 for data in after)
        assert site.balancer.shares()["n1"] == 0


async def test_a_node_that_comes_back_gets_its_calls_again() -> None:
    """The same as before, and no others."""
    async with balanced() as site:
        before = site.balancer.shares()
        port = site.nodes["n2"].port
        site.nodes["n2"].udp.close()
        await site.until_stands("n2", Standing.REFUSING)
        assert site.balancer.shares()["n2"] == 0

        site.nodes["n2"] = Node(port)
        await site.until_stands("n2", Standing.IN)
        await site.until(lambda: site.balancer.shares() == before)
        assert site.balancer.generation == 2


async def test_a_node_that_hangs_is_left_though_nothing_refuses() -> None:
    """Its socket is there, and nobody reads it: three questions without an answer."""
    async with balanced() as site:
        await site.until(lambda: site.nodes["n0"].keepalives.answered >= 1)
        asyncio.get_running_loop().remove_reader(site.nodes["n0"].udp._socket)

        await site.until_stands("n0", Standing.SILENT)
        await site.until(lambda: site.balancer.shares()["n0"] == 0)


async def test_a_node_that_drains_gets_nothing_new() -> None:
    """It still answers, and gets its calls back when it does not drain any more."""
    async with balanced() as site:
        site.nodes["n3"].is_draining = True
        await site.until(lambda: site.balancer.shares()["n3"] == 0)
        assert site.balancer.standings()["n3"] is Standing.IN

        site.nodes["n3"].is_draining = False
        await site.until(lambda: site.balancer.shares()["n3"] > 0)


async def test_nodes_with_another_key_are_used_all_the_same_when_none_has_ours() -> None:
    """It is rather the key that is wrong than all nodes dead; they count what they refused."""
    async with balanced(node_key=b"o" * 32) as site:
        for name in site.nodes:
            await site.until_stands(name, Standing.SILENT)
        await site.send(*map(str, range(100)))
        await site.until(lambda: sum(node.ledger.received for node in site.nodes.values()) == 100)

        assert not site.balancer.unready()
        assert all(node.keepalives.refused for node in site.nodes.values())


async def test_when_every_node_is_gone_the_balancer_says_so_and_counts() -> None:
    """Until one is back."""
    async with balanced() as site:
        ports = {name: node.port for name, node in site.nodes.items()}
        for node in site.nodes.values():
            node.udp.close()
        await site.until(lambda: bool(site.balancer.unready()))
        await site.send("lost")
        assert site.balancer.tally.no_member == 1

        site.nodes["n0"] = Node(ports["n0"])
        await site.until(lambda: not site.balancer.unready())
        await site.send("found")
        await site.until(lambda: site.nodes["n0"].ledger.received == 1)


async def test_what_waits_when_it_is_stopped_is_passed_on() -> None:
    """A restart loses nothing that had come."""
    async with balanced() as site:
        for number in range(50):
            site.agent.send(called(str(number)))
        site.balancer.stop()

        await site.until(lambda: sum(node.ledger.received for node in site.nodes.values()) == 50)

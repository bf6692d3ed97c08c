"""The UDP socket on a real network stack: what was sent is received, or counted by the kernel."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from tests.ingest.making import WITHIN_S, datagrams, hep, until

from everline.calls.decode import Datagram
from everline.ingest import udp as udp_module
from everline.ingest.intake import Intake
from everline.ingest.keepalives import MOST_PER_S, Keepalives
from everline.ingest.ledger import Ledger
from everline.ingest.udp import ListenError, UdpListener
from everline.wire.keepalive import Answer, ask, read_answer

FOREVER_S = 3600.0
TINY_BYTES = 65_536


@contextmanager
def sender(listener: UdpListener, host: str = "") -> Iterator[socket.socket]:
    """A socket whose peer is the listener."""
    to = host or listener.host
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((to, listener.port))
        yield one


def listen(host: str = "127.0.0.1", *, capacity: int = 10_000) -> tuple[UdpListener, Intake, Ledger]:
    """A listener on a free port with the smallest buffer."""
    ledger = Ledger()
    intake = Intake(ledger, capacity=capacity)
    return UdpListener(host, 0, intake, ledger, buffer_bytes=TINY_BYTES), intake, ledger


@pytest.mark.parametrize(
    ("bound", "sent_to"),
    [
        pytest.param("127.0.0.1", "127.0.0.1", id="ipv4"),
        pytest.param("::1", "::1", id="ipv6"),
        pytest.param("::", "127.0.0.1", id="ipv4-on-both"),
    ],
)
async def test_datagrams_are_received_with_their_sender(bound: str, sent_to: str) -> None:
    """Byte for byte, the empty one too."""
    listener, intake, ledger = listen(bound)
    with sender(listener, sent_to) as agent:
        for data in (hep("a"), b"", b"x" * 9_000):
            agent.send(data)
        await until(lambda: ledger.received == 3)
        got = await intake.take(3, FOREVER_S)
        port = agent.getsockname()[1]
    listener.close()

    assert [one.data for one in got] == [hep("a"), b"", b"x" * 9_000]
    assert {one.peer_port for one in got} == {port}
    assert got[0].peer_ip.removeprefix("::ffff:") == sent_to


async def test_without_room_datagrams_wait_in_the_kernel() -> None:
    """Nothing is read that would have to be thrown away, and reading goes on when a batch was taken."""
    listener, intake, ledger = listen(capacity=5)
    with sender(listener) as agent:
        for index in range(12):
            agent.send(b"%d" % index)
        await until(lambda: ledger.received == 5)
        taken = await intake.take(5, FOREVER_S)
        await until(lambda: ledger.received == 10)
        taken += await intake.take(5, FOREVER_S)
        await until(lambda: ledger.received == 12)
        taken += await intake.take(2, FOREVER_S)
    listener.close()

    assert [one.data for one in taken] == [b"%d" % index for index in range(12)]
    assert ledger.dropped.total() == ledger.kernel_drops == 0


async def test_what_the_kernel_drops_is_counted_exactly() -> None:
    """Sent = received + dropped by the kernel, with a buffer far too small and no room."""
    listener, intake, ledger = listen(capacity=10)
    sent = 2_000
    with sender(listener) as agent:
        for _ in range(sent):
            agent.send(bytes(500))
        await until(lambda: ledger.received == 10)
        listener.count_kernel_drops()
        assert ledger.kernel_drops > sent / 2
        while ledger.received + ledger.kernel_drops < sent:
            await intake.take(10, 0)
            await asyncio.sleep(0)
            listener.count_kernel_drops()
    listener.close()

    assert ledger.received + ledger.kernel_drops == sent


async def test_draining_reads_what_was_sent_before() -> None:
    """All that the kernel holds, as there is room; who sends afterwards is told."""
    listener, intake, ledger = listen(capacity=10)
    with sender(listener) as agent:
        for index in range(40):
            agent.send(b"%d" % index)
        draining = asyncio.create_task(listener.drain())
        taken = [one async for one in _all(intake, draining)]
        agent.send(b"late")
        with pytest.raises(ConnectionRefusedError):
            agent.send(b"later")

    assert [one.data for one in taken] == [b"%d" % index for index in range(40)]
    assert (ledger.received, ledger.kernel_drops) == (40, 0)


async def _all(intake: Intake, draining: asyncio.Task[None]) -> AsyncIterator[Datagram]:
    async with asyncio.timeout(WITHIN_S):
        while not draining.done() or len(intake):
            if len(intake):
                for one in await intake.take(10, 0):
                    yield one
            await asyncio.sleep(0)


async def test_closing_counts_what_the_kernel_still_held() -> None:
    """Nobody will read it: the kernel throws it away."""
    listener, _, ledger = listen(capacity=10)
    with sender(listener) as agent:
        for _ in range(30):
            agent.send(b"x")
        await until(lambda: ledger.received == 10)

        listener.close()
        listener.close()

    assert (ledger.received, ledger.kernel_drops) == (10, 20)


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    """With what to do about it."""
    listener, intake, ledger = listen()
    with pytest.raises(ListenError, match=rf"UDP 127.0.0.1:{listener.port}: Address already in use; .* --hep"):
        UdpListener("127.0.0.1", listener.port, intake, ledger, buffer_bytes=TINY_BYTES)
    listener.close()


async def test_a_port_that_the_system_chooses_is_free_for_tcp_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same packets are taken there; one that is not is given back."""
    looks = iter([False, False, True])
    monkeypatch.setattr(udp_module, "_is_free_for_tcp", lambda _: next(looks))
    listener, _, _ = listen()
    listener.close()
    monkeypatch.undo()

    assert list(looks) == []
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(taken.getsockname())
        assert not udp_module._is_free_for_tcp(udp)


async def test_a_host_that_is_not_here_is_one_clear_error() -> None:
    """Likewise."""
    with pytest.raises(ListenError, match=r"cannot listen on UDP 192\.0\.2\.1:0"):
        listen("192.0.2.1")


async def test_one_turn_leaves_time_for_others() -> None:
    """A flood on the socket does not hold the loop for ever."""
    listener, _, ledger = listen()
    with sender(listener) as agent:
        for one in datagrams(40):
            agent.send(one.data)
        await asyncio.sleep(0)
        assert 0 <= ledger.received <= 512
        await until(lambda: ledger.received == 40)
    listener.close()


@pytest.mark.parametrize("is_draining", [False, True])
async def test_a_balancer_is_answered_in_the_order_of_packets(*, is_draining: bool) -> None:
    """So that an answer says that packets are taken; it is no message, and is not in the ledger."""
    ledger, key, nonce = Ledger(), b"k" * 32, b"n" * 16
    intake = Intake(ledger, capacity=100)
    keepalives = Keepalives(key, is_draining=lambda: is_draining)
    listener = UdpListener("127.0.0.1", 0, intake, ledger, buffer_bytes=TINY_BYTES, keepalives=keepalives)
    with sender(listener) as balancer:
        balancer.settimeout(0)
        for data in (ask(nonce, b"another key"), hep("a"), ask(nonce, key), hep("b")):
            balancer.send(data)
        await until(lambda: ledger.received == 2)
        said = balancer.recv(1_000)
        with pytest.raises(BlockingIOError):
            balancer.recv(1_000)
    listener.close()

    assert read_answer(said, key) == Answer(nonce, is_draining)
    assert (keepalives.answered, keepalives.refused) == (1, 1)
    assert ledger.received == 2


async def test_while_there_is_no_room_nobody_is_answered() -> None:
    """A node that takes no packets must not look like one that does."""
    ledger, nonce = Ledger(), b"n" * 16
    intake = Intake(ledger, capacity=1)
    keepalives = Keepalives()
    listener = UdpListener("127.0.0.1", 0, intake, ledger, buffer_bytes=TINY_BYTES, keepalives=keepalives)
    with sender(listener) as balancer:
        balancer.settimeout(WITHIN_S)
        balancer.send(hep("a"))
        await until(lambda: ledger.received == 1)
        balancer.send(ask(nonce, b""))
        await asyncio.sleep(0)
        assert keepalives.answered == 0

        await intake.take(1, FOREVER_S)
        await until(lambda: keepalives.answered == 1)
        assert read_answer(balancer.recv(1_000), b"") == Answer(nonce, is_draining=False)
    listener.close()


def test_answers_have_a_bound() -> None:
    """However often somebody asks in another's name."""
    now_s = 10.0
    keepalives = Keepalives(clock=lambda: now_s)
    question = ask(b"n" * 16, b"")

    answers = [keepalives.answer(question) for _ in range(3 * MOST_PER_S)]
    now_s = 11.0

    assert sum(one is not None for one in answers) == keepalives.answered == MOST_PER_S
    assert keepalives.refused == 2 * MOST_PER_S
    assert keepalives.answer(question) is not None

"""Datagrams on their way: to their owners unchanged, and every one that does not arrive is counted."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everline.balance.forward import Forwarder
from everline.balance.keys import key_of
from everline.balance.mmsg import BATCH
from everline.balance.ring import Member, Owners, Ring, slot_of
from everline.balance.tally import Tally
from everline.bench.corpus import datagrams
from everline.wire.hep import decode_hep, encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

NOW_US = 1_790_000_000_000_000
SIP = b"OPTIONS sip:b@example.org SIP/2.0\r\n%sCSeq: 1 OPTIONS\r\n\r\n"
BUFFER_BYTES = 4 << 20


def called(call_id: str) -> bytes:
    """A message of a call."""
    payload = SIP % f"Call-ID: {call_id}\r\n".encode()
    return encode_hep3(CapturedPacket(NOW_US, IPPROTO_UDP, "192.0.2.1", 5060, "192.0.2.2", 5060, payload))


class Bench:
    """A forwarder, an agent in front of it and four members behind, over real sockets."""

    def __init__(self, stack: ExitStack, *, mirror: int = 1, key_rate_per_s: int = 1_000_000) -> None:
        self._stack = stack
        self.entry, self.agent = self._socket(), self._socket()
        self.agent.connect(self.entry.getsockname())
        self.members = {f"m{number}": self._socket() for number in range(4)}
        links = {name: self._socket() for name in self.members}
        for name, link in links.items():
            link.connect(self.members[name].getsockname())
        places = [Member(name, rack=name, region=f"r{number % 2}") for number, name in enumerate(links)]
        self.ring = Ring(places, mirror=mirror)
        self.tally = Tally()
        self.refused: Counter[str] = Counter()
        self.forwarder = Forwarder(
            links, self.ring, tally=self.tally, key_rate_per_s=key_rate_per_s,
            refused=lambda name: self.refused.update([name]),
        )  # fmt: skip

    def sent(self, *sent: bytes, now_us: int = NOW_US) -> dict[str, list[bytes]]:
        """What each member gets of what the agent sends; the ledger of the balancer holds."""
        for data in sent:
            self.agent.send(data)
        while self.forwarder.turn(self.entry, now_us):
            pass
        tally = self.tally
        assert tally.received == tally.routed + sum(tally.rejected.values()) + tally.flooded + tally.no_member
        return {name: self._got(name) for name in self.members}

    def owned(self, key: bytes) -> list[str]:
        """Who owns a call."""
        slot, owners = slot_of(key), self.forwarder.owners
        indexes = [owners.first[slot], owners.second[slot]]
        return [self.ring.members[index].name for index in indexes if index < len(self.members)]

    def die(self, name: str) -> None:
        """A member's process ends: its host refuses what comes."""
        self.members[name].close()

    def _got(self, name: str) -> list[bytes]:
        found: list[bytes] = []
        with suppress(OSError):  # Nothing more waits, or it is dead.
            while True:
                found.append(self.members[name].recv(1 << 16))
        return found

    def _socket(self) -> socket.socket:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.settimeout(0)
        sock.bind(("127.0.0.1", 0))
        return sock


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whose sockets are closed at the end."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("mirror", [1, 2])
def test_every_datagram_arrives_unchanged_at_its_owners(stack: ExitStack, mirror: int) -> None:
    """And nowhere else; in the order in which those of a call came."""
    bench = Bench(stack, mirror=mirror)
    expected: dict[str, list[bytes]] = {name: [] for name in bench.members}
    got: dict[str, list[bytes]] = {name: [] for name in bench.members}
    for data in datagrams(range(64), NOW_US):
        for name in bench.owned(key_of(data)):
            expected[name].append(data)
        for name, found in bench.sent(data).items():
            got[name] += found

    assert got == expected
    assert sum(bench.tally.sent.values()) == mirror * bench.tally.received > 0


def test_more_than_one_batch_is_passed_on(stack: ExitStack) -> None:
    """In several turns."""
    bench = Bench(stack, mirror=2)
    traffic = [called(f"call-{number}") for number in range(2 * BATCH + 3)]

    got = bench.sent(*traffic)

    assert Counter(data for found in got.values() for data in found) == Counter(dict.fromkeys(traffic, 2))


def test_one_agent_with_one_socket_and_5000_calls_is_spread_evenly(stack: ExitStack) -> None:
    """By Call-ID, not by address."""
    bench = Bench(stack)
    counts: Counter[str] = Counter()
    for first in range(0, 5_000, 250):
        got = bench.sent(*(called(f"{number:x}@192.0.2.1") for number in range(first, first + 250)))
        counts.update({name: len(found) for name, found in got.items()})

    assert sum(counts.values()) == 5_000
    assert max(counts.values()) <= 1.1 * 5_000 / 4


def test_raw_sip_arrives_as_hep_with_its_true_sender(stack: ExitStack) -> None:
    """And the time at which it came."""
    bench = Bench(stack, mirror=2)
    message = SIP % b"Call-ID: raw\r\n"

    got = bench.sent(message)

    assert {name for name, found in got.items() if found} == set(bench.owned(b"raw"))
    for data in (data for found in got.values() for data in found):
        packet = decode_hep(data)
        assert (packet.src_ip, packet.src_port) == bench.agent.getsockname()
        assert (packet.dst_ip, packet.dst_port) == bench.entry.getsockname()
        assert (packet.captured_us, packet.payload) == (NOW_US, message)
    assert bench.tally.wrapped == 1


def test_without_a_call_id_a_datagram_follows_its_sender(stack: ExitStack) -> None:
    """To one member, always, and it is counted."""
    bench = Bench(stack)

    got = bench.sent(*(called("") for _ in range(5)), SIP % b"")

    assert [len(found) for found in got.values() if found] == [6]
    assert bench.tally.without_key == 6


def test_what_no_node_could_read_is_counted_by_reason_and_goes_no_further(stack: ExitStack) -> None:
    """Garbage, half packets, keepalives of agents."""
    bench = Bench(stack)

    got = bench.sent(b"", b"\r\n\r\n", b"\xff" * 100, called("x")[:-3], called("y"))

    assert sum(map(len, got.values())) == 1
    assert bench.tally.rejected == {"keepalive": 2, "not_sip": 1, "hep_truncated": 1}


def test_a_flood_of_one_call_is_limited_and_disturbs_no_other(stack: ExitStack) -> None:
    """Not even one that shares its slot; in the next second it may go on."""
    bench = Bench(stack, key_rate_per_s=10)
    flood = called("flood")
    beside = next(name for name in map(str, range(10**7)) if slot_of(name.encode()) == slot_of(b"flood"))

    got = bench.sent(*[flood] * 100, *(called(f"other-{number}") for number in range(100)), called(beside))
    data = Counter(data for found in got.values() for data in found)

    assert 10 <= data[flood] <= 20
    assert bench.tally.flooded == 100 - data[flood]
    assert sum(data.values()) == data[flood] + 101
    assert sum(map(len, bench.sent(flood, now_us=NOW_US + 1_000_000).values())) == 1


def test_a_member_that_refuses_is_told_of_and_its_calls_go_elsewhere_from_then_on(stack: ExitStack) -> None:
    """What was on its way to it is counted as sent: the kernel says so only afterwards. Others lose nothing."""
    bench = Bench(stack)
    traffic = [called(f"call-{number}") for number in range(200)]
    dead = bench.owned(b"call-0")[0]
    living = {
        data for data, number in zip(traffic, range(200), strict=True) if bench.owned(b"call-%d" % number) != [dead]
    }
    bench.die(dead)

    got = bench.sent(*traffic)
    assert {data for found in got.values() for data in found} == living
    bench.sent(called("call-0"))
    assert bench.refused[dead] >= 1

    bench.forwarder.owners = bench.ring.owners(set(bench.members) - {dead})
    assert {data for found in bench.sent(*traffic).values() for data in found} == set(traffic)


def test_while_nobody_lives_everything_is_counted(stack: ExitStack) -> None:
    """Nothing is kept: a balancer has no memory."""
    bench = Bench(stack, mirror=2)
    bench.forwarder.owners = bench.ring.owners(())

    assert not any(bench.sent(called("a"), called("b")).values())
    assert bench.tally.no_member == 2


def test_shares_say_how_much_of_all_each_member_gets(stack: ExitStack) -> None:
    """With mirroring twice the whole."""
    owners: Owners = Bench(stack, mirror=2).forwarder.owners

    assert sum(owners.shares(4)) == pytest.approx(2)
    assert max(owners.shares(4)) <= 0.55


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda one: b"HEP3" + one))))
def test_no_datagrams_do_harm(stack: ExitStack, sent: list[bytes]) -> None:
    """Each is counted, whatever it is."""
    bench = Bench(stack, mirror=2)

    bench.sent(*sent)

    assert bench.tally.received == len(sent)

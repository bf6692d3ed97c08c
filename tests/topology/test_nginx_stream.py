"""NGINX with njs in place of a balancer: each call to one ingest node, whoever sends it and however it is packed."""

import socket
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.ingest.making import CALLEE, CALLER, NOW_US, hep, sip
from tests.rigs.ports import free_ports
from tests.topology.doors import cluster_of, places_in, started, until_so, written

from everline.topology.render.launch import nginx_stream
from everline.wire.hep import PROTOCOL_RTCP, encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket

pytestmark = pytest.mark.peers("nginx", "/usr/lib/nginx/modules/ngx_stream_js_module.so")

CALLS: Final = 1_000
HELLO: Final = b"are you there"
MOST_OF_EVEN: Final = 1.25
"""What consistent hashing with 160 points a server spreads unevenly; Maglev keeps to 1.05."""


class Members:
    """Ingest nodes of which only the sockets are there: what each is sent."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)]
        for one in self.sockets:
            one.bind(("127.0.0.1", 0))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)

    @property
    def ports(self) -> list[int]:
        """Where they are."""
        return [int(one.getsockname()[1]) for one in self.sockets]

    def hear(self) -> bool:
        """Whether any was sent something."""
        return any(any(_waiting_at(member)) for member in self.sockets)

    def took(self) -> list[list[bytes]]:
        """What each has been sent since it was asked last."""
        return [[one for one in _waiting_at(member) if one != HELLO] for member in self.sockets]


def _waiting_at(member: socket.socket) -> Iterator[bytes]:
    try:
        while True:
            yield member.recv(65_536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return


@contextmanager
def balanced(root: Path, members: Members, *, ports: Sequence[int] | None = None) -> Iterator[tuple[str, int]]:
    """NGINX in front of them, or of those at some ports; where it listens."""
    listening, http = free_ports(2)
    hosts = {f"i{port}": {"ingest": {"name": f"i{port}", "hep_port": port}} for port in ports or members.ports}
    topology, places = (
        cluster_of({"balancer": {"hep_port": listening, "http_port": http}}, *hosts.values()),
        places_in(root),
    )
    written(topology, places)
    node = topology.node("h1-balancer")
    with started(node, places, launch=nginx_stream(node, places)):
        where = ("127.0.0.1", listening)
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            until_so(lambda: asking.sendto(HELLO, where) and members.hear(), "NGINX passes datagrams on")
        yield where


def sent(where: tuple[str, int], members: Members, datagrams: Sequence[bytes]) -> list[list[bytes]]:
    """What each member was sent of some datagrams that one socket sends; all must arrive."""
    found: list[list[bytes]] = [[] for _ in members.sockets]
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        for start in range(0, len(datagrams), 50):
            wanted = min(start + 50, len(datagrams))
            for one in datagrams[start:wanted]:
                sender.sendto(one, where)

            def all_here(wanted: int = wanted) -> bool:
                for number, more in enumerate(members.took()):
                    found[number] += more
                return sum(map(len, found)) >= wanted

            until_so(all_here, f"{wanted} datagrams have arrived")
    return found


def owners(found: Sequence[Sequence[bytes]]) -> dict[bytes, int]:
    """Which member has each datagram; none has one that another has too."""
    assert sum(map(len, found)) == len({one for its in found for one in its})
    return {one: number for number, its in enumerate(found) for one in its}


@pytest.fixture
def members() -> Iterator[Members]:
    """Four."""
    with ExitStack() as stack:
        yield Members(stack, 4)


@pytest.mark.parametrize("make", [hep, sip], ids=["hep", "sip"])
def test_one_sender_with_one_socket_and_many_calls_spreads_evenly(
    make: object, members: Members, tmp_path: Path
) -> None:
    """All messages of a call go to one member, unchanged, and each member has its share of the calls."""
    build = hep if make is hep else sip
    calls = [[build(f"call-{number}@test", method) for method in ("INVITE", "ACK", "BYE")] for number in range(CALLS)]
    with balanced(tmp_path, members) as where:
        owner = owners(sent(where, members, [one for call in calls for one in call]))

    of_calls = [{owner[one] for one in call} for call in calls]
    assert [len(one) for one in of_calls] == [1] * CALLS
    shares = Counter(number for one in of_calls for number in one)
    assert max(shares.values()) <= MOST_OF_EVEN * CALLS / len(members.sockets), shares


def test_survivors_keep_their_calls_when_one_is_taken_out(members: Members, tmp_path: Path) -> None:
    """Only the calls of the one that is gone move. Whose a call is, most of its messages tell; each, the test above."""
    calls = [[hep(f"call-{number}@test", method) for method in ("INVITE", "ACK", "BYE")] for number in range(CALLS)]
    with balanced(tmp_path / "four", members) as where:
        before = owners_of_calls(where, members, calls)
    with balanced(tmp_path / "three", members, ports=members.ports[:3]) as where:
        after = owners_of_calls(where, members, calls)

    moved = {number for number in range(CALLS) if before[number] != after[number]}
    assert moved == {number for number in range(CALLS) if before[number] == 3}


def owners_of_calls(where: tuple[str, int], members: Members, calls: Sequence[Sequence[bytes]]) -> list[int]:
    """Which member each call belongs to."""
    owner = owners(sent(where, members, [one for call in calls for one in call]))
    return [Counter(owner[one] for one in call).most_common(1)[0][0] for call in calls]


def test_a_call_is_known_however_it_is_written(members: Members, tmp_path: Path) -> None:
    """As the decoder reads it: compact, folded, in any case, after other chunks; by its correlation id else."""
    call_id = "one-call@test"
    plain = sip(call_id)
    packets = [plain, hep(call_id), *map(in_hep, ways_to_write(plain, call_id))]
    packets += [
        packet(b"{}", call_id.encode(), protocol=PROTOCOL_RTCP),
        packet(b"no Call-ID here", call_id.encode()),
        packet(plain, b"another-id"),
        deflated(plain, call_id.encode()),
        vendor_first(hep(call_id)),
    ]
    with balanced(tmp_path, members) as where:
        owner = owners(sent(where, members, packets))

    assert len(set(owner.values())) == 1, owner


def ways_to_write(message: bytes, call_id: str) -> list[bytes]:
    """The same message with its Call-ID in other words; one in the body is none."""
    field = f"Call-ID: {call_id}".encode()
    others = (f"i:{call_id}", f"CALL-id \t: {call_id} ", f"Call-ID:\r\n {call_id}")
    return [message.replace(field, other.encode()) for other in others] + [message + b"\r\nCall-ID: not-this\r\n"]


def in_hep(payload: bytes) -> bytes:
    """As an agent sends it."""
    return packet(payload, b"")


def packet(payload: bytes, correlation_id: bytes, *, protocol: int = 1) -> bytes:
    """A HEP3 packet of whatever payload."""
    captured = CapturedPacket(NOW_US, IPPROTO_UDP, *CALLER, *CALLEE, payload)
    return encode_hep3(captured, correlation_id=correlation_id, protocol=protocol)


def deflated(payload: bytes, correlation_id: bytes) -> bytes:
    """With the payload in chunk 0x10, which njs can't inflate: the correlation id decides."""
    whole = packet(b"", correlation_id)
    chunk = zlib.compress(payload)
    whole += struct.pack("!HHH", 0, 0x10, 6 + len(chunk)) + chunk
    return whole[:4] + struct.pack("!H", len(whole)) + whole[6:]


def vendor_first(whole: bytes) -> bytes:
    """With a chunk of a vendor that looks like a correlation id before all others."""
    more = struct.pack("!HHH", 7, 0x11, 9) + b"abc"
    return whole[:4] + struct.pack("!H", len(whole) + len(more)) + more + whole[6:]


def test_garbage_is_passed_on_and_stops_nothing(members: Members, tmp_path: Path) -> None:
    """Empty, cut at every byte, with lengths that lie: it stays together by its sender, and calls go on after it."""
    whole = hep("call@test")
    lying = [whole[:4] + b"\xff\xff" + whole[6:], whole[:4] + b"\x00\x00" + whole[6:], b"HEP3\x00\x0c" + b"\x00" * 6]
    garbage = [*(whole[:end] for end in range(1, len(whole), 3)), *lying, bytes(range(256)) * 20]
    with balanced(tmp_path, members) as where:
        found = sent(where, members, [*garbage, whole])

    assert sorted(one for its in found for one in its) == sorted([*garbage, whole])


def test_nginx_accepts_the_file_with_ipv6_too(tmp_path: Path) -> None:
    """By its own test."""
    topology, places = cluster_of({"balancer": {}}, {"ingest": {}}, address="::1"), places_in(tmp_path)
    written(topology, places)
    launch = nginx_stream(topology.node("h1-balancer"), places)
    for directory in launch.directories:
        Path(directory).mkdir(parents=True)
    done = subprocess.run([*launch.command, "-t"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr

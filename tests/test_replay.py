"""`everline replay` against real sockets: what arrives, and what is said when nothing can."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import time

import pytest
from tests.rigs.certificate import certificate_in

from everline.cli.entry import run
from everline.replay.plan import Pace
from everline.replay.run import Clock, Stamp, replay
from everline.replay.source import open_capture
from everline.wire.hep import HepPacket, decode_hep, encode_hep3
from everline.wire.hep_framing import HepFramer
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import write_pcap

COUNT = 50


def packet(second: int, *, padding: int = 0) -> CapturedPacket:
    """One OPTIONS from Alice to Bob."""
    text = f"OPTIONS sip:bob@example.com SIP/2.0\r\nCall-ID: {second}@b\r\nContent-Length: {padding}\r\n\r\n"
    payload = text.encode() + b"x" * padding
    return CapturedPacket(second * 1_000_000, 17, "192.0.2.1", 5060, "198.51.100.2", 5062, payload)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A pcap of `COUNT` messages, one a second."""
    file = tmp_path / "capture.pcap"
    file.write_bytes(b"".join(write_pcap([packet(second) for second in range(1, COUNT + 1)])))
    return file


@contextmanager
def udp_collector() -> Iterator[tuple[str, Callable[[], list[HepPacket]]]]:
    """A UDP socket that keeps what comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0)

        def received() -> list[HepPacket]:
            found: list[HepPacket] = []
            try:
                while True:
                    found.append(decode_hep(sock.recv(65_535)))
            except BlockingIOError:
                return found

        yield f"udp://127.0.0.1:{sock.getsockname()[1]}", received


@contextmanager
def stream_collector(tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, Callable[[], list[HepPacket]]]]:
    """A TCP or TLS listener that reads one connection to its end."""
    framer, packets = HepFramer(), list[HepPacket]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            try:
                with connection, tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                    while data := stream.recv(4096):
                        packets.extend(map(decode_hep, framer.feed(data)))
                    if isinstance(stream, ssl.SSLSocket):
                        stream.unwrap()
            except (OSError, ssl.SSLError):
                return  # The client refused our certificate.

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def received() -> list[HepPacket]:
            thread.join(10)
            return packets

        yield f"{'tls' if tls else 'tcp'}://127.0.0.1:{server.getsockname()[1]}", received


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1, and a server's context with it."""
    pem, key_pem = certificate_in(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    return pem, context


def test_every_message_arrives_over_udp_as_captured(capture: Path, tmp_path: Path) -> None:
    """Times, addresses and bytes of the capture; number and key of the command line."""
    key = tmp_path / "hep.key"
    key.write_text("s3cret\n", "utf-8")
    with udp_collector() as (url, received):
        assert run(["replay", str(capture), "--to", url, "--capture-id", "7", "--auth-key-file", str(key)]) == 0
        found = received()

    assert [CapturedPacket(*one[:7]) for one in found] == [packet(second) for second in range(1, COUNT + 1)]
    assert {(one.capture_id, one.auth_key) for one in found} == {(7, b"s3cret")}


def test_every_message_arrives_over_tcp(capture: Path) -> None:
    """The end of the stream waits until the collector has read all of it."""
    with stream_collector() as (url, received):
        assert run(["replay", str(capture), "--to", url]) == 0
        assert len(received()) == COUNT


def test_every_message_arrives_over_tls(capture: Path, certificate: tuple[Path, ssl.SSLContext]) -> None:
    """With the collector's certificate checked."""
    pem, context = certificate
    with stream_collector(context) as (url, received):
        assert run(["replay", str(capture), "--to", url, "--tls-ca", str(pem)]) == 0
        assert len(received()) == COUNT


def test_a_certificate_that_nobody_vouches_for_is_refused(
    capture: Path, certificate: tuple[Path, ssl.SSLContext], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent, and the option that helps is named."""
    with stream_collector(certificate[1]) as (url, received):
        assert run(["replay", str(capture), "--to", url]) == 3
        assert received() == []

    assert "certificate does not hold" in (error := capsys.readouterr().err)
    assert "--tls-ca" in error
    assert error.count("\n") == 1


def test_shift_to_now_moves_all_times_by_one_offset(capture: Path) -> None:
    """The last message is now, the distances stay."""
    with udp_collector() as (url, received):
        assert run(["replay", str(capture), "--to", url, "--shift-to-now"]) == 0
        times = [one.captured_us for one in received()]

    assert abs(times[-1] / 1e6 - time()) < 30
    assert {later - earlier for earlier, later in pairwise(times)} == {1_000_000}


def test_hep_datagrams_are_sent_as_they_are(tmp_path: Path) -> None:
    """Byte for byte; they keep their own agent number."""
    datagram = encode_hep3(packet(3), capture_id=99, correlation_id=b"c")
    file = tmp_path / "agent.hep"
    file.write_bytes((len(datagram).to_bytes(4, "big") + datagram) * 2)
    with udp_collector() as (url, received):
        assert run(["replay", str(file), "--to", url, "--capture-id", "7"]) == 0
        assert received() == [decode_hep(datagram)] * 2


def test_json_summary_says_what_was_sent_and_skipped(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on stdout, nothing else."""
    with udp_collector() as (url, _):
        assert run(["replay", str(capture), "--to", url, "--json"]) == 0

    got = json.loads(capsys.readouterr().out)
    assert got.pop("seconds") >= 0
    assert got == {"file": str(capture), "to": url, "sent": COUNT, "skipped": {}, "error": None}


def test_what_was_read_before_the_damage_is_sent(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and one line that says how many."""
    capture.write_bytes(capture.read_bytes()[:-10])
    with udp_collector() as (url, received):
        assert run(["replay", str(capture), "--to", url]) == 1
        assert len(received()) == COUNT - 1

    error = capsys.readouterr().err
    assert "truncated" in error
    assert f"({COUNT - 1} messages were sent)" in error
    assert error.count("\n") == 1


def test_a_message_too_long_for_the_transport_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the others are sent."""
    datagrams = [encode_hep3(packet(1)), encode_hep3(packet(2, padding=65_340))]
    file = tmp_path / "agent.hep"
    file.write_bytes(b"".join(len(one).to_bytes(4, "big") + one for one in datagrams))
    with udp_collector() as (url, _):
        assert run(["replay", str(file), "--to", url]) == 0

    assert "1 sent" in (out := capsys.readouterr().out)
    assert "too-large-for-udp 1" in out


@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls"])
def test_nobody_listens(scheme: str, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told at once, in one line."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    assert run(["replay", str(capture), "--to", f"{scheme}://127.0.0.1:{port}"]) == 3

    assert "nothing listens there" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def _hang_up(server: socket.socket) -> None:
    server.accept()[0].close()


def test_a_collector_that_hangs_up_ends_the_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With how many had been sent."""
    file = tmp_path / "long.pcap"
    file.write_bytes(b"".join(write_pcap([packet(one, padding=30_000) for one in range(1, 600)])))
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
        assert run(["replay", str(file), "--to", f"tcp://127.0.0.1:{server.getsockname()[1]}"]) == 3

    assert "messages were sent)" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1


def test_speed_keeps_the_distances_of_the_capture(capture: Path) -> None:
    """Fifty messages, one a second, ten times as fast; the clock is the test's own."""
    now_s = 100.0
    sent_at: list[float] = []

    class Notes:
        def send(self, datagram: bytes) -> bool:
            assert datagram
            sent_at.append(now_s)
            return True

        def close(self) -> None: ...
        def abort(self) -> None: ...

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    summary = replay(
        open_capture(capture), Notes, Pace(speed=10, rate_per_s=None), Stamp(),
        offset_us=0, clock=Clock(lambda: now_s, sleep), on_progress=lambda _sent: None,
    )  # fmt: skip

    assert sent_at == pytest.approx([100 + index / 10 for index in range(COUNT)])
    assert summary.seconds == pytest.approx(4.9)

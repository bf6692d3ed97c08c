"""What can be wrong when a node starts: one line that says what and what to do, an exit code, no traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.ingest.making import hep
from tests.node.flood import send_all
from tests.rigs.certificate import certificate_in, key_pem
from tests.running_node import running_node

START_S = 60.0
WITHOUT_POWERS: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Runs a command as a root that permissions hold for, as they do for everybody else."""


def up(
    data: Path, *options: str, environ: Mapping[str, str] | None = None, run_by: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Start a node that cannot start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EVERLINE_")}
    command = [sys.executable, "-m", "everline", "up", "--data", str(data)]
    ports = ["--hep", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return subprocess.run(
        [*run_by, *command, *ports, *options],
        capture_output=True, text=True, timeout=START_S, check=False, env=clean | dict(environ or {}),
    )  # fmt: skip


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """The whole of stderr."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("everline: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr
    assert done.stdout == ""


@pytest.fixture
def tls_files(tmp_path: Path) -> Path:
    """A directory with `cert.pem`, its `key.pem`, and what goes wrong with them."""
    certificate_in(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "other.pem").write_bytes(key_pem(other))
    (tmp_path / "locked.pem").write_bytes(key_pem(other, serialization.BestAvailableEncryption(b"secret")))
    (tmp_path / "garbage.pem").write_bytes(b"no PEM at all\n")
    return tmp_path


@pytest.mark.parametrize(
    ("certificate", "key", "code", "part"),
    [
        pytest.param("cert.pem", "other.pem", 3, "cannot use certificate", id="key-of-another"),
        pytest.param("cert.pem", "locked.pem", 3, "password", id="key-with-a-password"),
        pytest.param("garbage.pem", "key.pem", 3, "cannot use certificate", id="no-certificate"),
        pytest.param("cert.pem", "garbage.pem", 3, "cannot use certificate", id="no-key"),
        pytest.param("none.pem", "key.pem", 2, "none.pem", id="no-file"),
    ],
)
def test_a_certificate_that_cannot_be_used(certificate: str, key: str, code: int, part: str, tls_files: Path) -> None:
    """Nobody is asked for a password on a terminal."""
    options = ["--tls", "127.0.0.1:0", "--tls-certificate", str(tls_files / certificate)]

    done = up(tls_files / "node", *options, "--tls-key", str(tls_files / key))

    assert_one_line(done, code, part, certificate)


def _udp() -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    return taken


def _tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("what", "option", "take"),
    [("UDP", "--hep", _udp), ("TCP", "--hep", _tcp), ("HTTP", "--http", _tcp), ("TLS", "--tls", _tcp)],
)
def test_a_port_that_is_taken(what: str, option: str, take: Callable[[], socket.socket], tls_files: Path) -> None:
    """Which one, and with which option to choose another."""
    with take() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        tls = ["--tls-certificate", str(tls_files / "cert.pem"), "--tls-key", str(tls_files / "key.pem")]

        done = up(tls_files / "node", option, address, *(tls if what == "TLS" else []))

    assert_one_line(done, 3, f"cannot listen on {what} {address}: Address already in use", option)


def test_a_port_that_may_not_be_had(tmp_path: Path) -> None:
    """An address of another machine."""
    assert_one_line(up(tmp_path / "node", "--http", "192.0.2.1:80"), 3, "cannot listen on HTTP 192.0.2.1:80")


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    """Nothing is started, nothing is left."""
    data = tmp_path / "node"
    data.mkdir(mode=0o500)
    done = up(data, run_by=WITHOUT_POWERS if os.geteuid() == 0 else ())

    assert_one_line(done, 3, f"cannot use {data} as data directory: Permission denied", "--data")
    assert list(data.iterdir()) == []


def test_data_of_a_later_version(tmp_path: Path) -> None:
    """It is left as it is."""
    version = tmp_path / "node" / "store" / "version"
    version.parent.mkdir(parents=True)
    version.write_text("9999\n", "ascii")

    assert_one_line(up(tmp_path / "node"), 1, "9999", "later")
    assert version.read_text("ascii") == "9999\n"


def test_a_token_that_protects_nothing(tmp_path: Path) -> None:
    """Somebody has put it there: it is refused, and not shown."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "admin.token").write_text("guess-me", "ascii")

    done = up(tmp_path / "node")

    assert_one_line(done, 3, "admin.token holds no secret")
    assert "guess-me" not in done.stderr


def test_every_fault_of_the_configuration_at_once(tmp_path: Path) -> None:
    """From the file, the environment and the flags, each with where it was set."""
    config = tmp_path / "everline.toml"
    config.write_text("[ingest]\nbatchms = 1\nqueue_events = 1\n", "utf-8")

    done = up(tmp_path / "node", "--config", str(config), "--log-format", "xml", environ={"EVERLINE_BOGUS": "1"})

    assert_one_line(
        done,
        2,
        "ingest.batchms",
        "did you mean ingest.batch_ms?",
        "ingest.queue_events",
        "log.format",
        "EVERLINE_BOGUS",
    )


def test_agents_with_a_wrong_key_are_counted(tmp_path: Path) -> None:
    """Nothing of them is stored, whether they come over UDP or TCP."""
    config = tmp_path / "everline.toml"
    (tmp_path / "hep.key").write_text("s3cret\n", "ascii")
    config.write_text(f'[ingest]\nauth_key_file = "{tmp_path / "hep.key"}"\n', "utf-8")
    wrong = [hep("a", auth_key=b"guess"), hep("b")]
    with running_node(tmp_path / "node", "--config", str(config)) as node:
        send_all(node.hep, wrong)
        with socket.create_connection(node.hep) as agent:
            agent.sendall(b"".join(wrong))
        send_all(node.hep, [hep("c", auth_key=b"s3cret")])
        ledger = node.until_received(5)

    assert (ledger["rejected"], ledger["stored"]) == (4, 1)

"""The command line as a table: exit codes, one line, no traceback."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from everline import __version__
from everline.cli.entry import run
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import write_pcap

EVERLINE = (sys.executable, "-c", "from everline.cli import main; main()")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in tuple(os.environ):
        if name.startswith("EVERLINE_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("line", "code", "fault"),
    [
        pytest.param("bogus", 2, "No such command 'bogus'", id="unknown-command"),
        pytest.param("calls --bogus", 2, "No such option: --bogus", id="unknown-option"),
        pytest.param("replay", 2, "Missing argument", id="missing-argument"),
        pytest.param("replay x.pcap", 2, "Missing option '--to'", id="missing-option"),
        pytest.param("replay x.pcap --to udp://127.0.0.1:1", 1, "x.pcap cannot be read", id="no-such-capture"),
        pytest.param("replay . --to udp://127.0.0.1:1", 1, "cannot be read", id="a-directory"),
        pytest.param("replay x --to http://127.0.0.1:1", 2, "is no target", id="unknown-scheme"),
        pytest.param("replay x --to udp://127.0.0.1", 2, "is no target", id="no-port"),
        pytest.param("replay x --to 127.0.0.1:9060", 2, "is no target", id="no-scheme"),
        pytest.param("replay x --to udp://127.0.0.1:1 --speed 0", 2, "--speed", id="no-speed"),
        pytest.param("replay x --to udp://h:1 --auth-key-file no", 1, "--auth-key-file no cannot", id="no-key-file"),
        pytest.param("calls", 3, "no node is known here", id="no-node"),
        pytest.param("calls --data nowhere", 3, "no node runs with nowhere", id="no-such-directory"),
        pytest.param("calls --since yesterday", 2, "--since 'yesterday' is no time", id="bad-time"),
        pytest.param("calls --limit few", 2, "--limit 'few' is no number", id="bad-limit"),
        pytest.param("calls --json --csv", 2, "exclude each other", id="two-formats"),
        pytest.param("call a@b --json --text", 2, "exclude each other", id="two-forms"),
        pytest.param("call", 2, "Missing argument", id="no-call-id"),
        pytest.param("status", 3, "no node is known here", id="status-without-node"),
        pytest.param("config show --config no.toml", 2, "cannot be read", id="no-such-file"),
        pytest.param("up --hep nowhere", 2, "ingest.hep (command line): 'nowhere': need HOST:PORT", id="bad-address"),
        pytest.param("up --tls-key k.pem", 2, "ingest.tls_certificate", id="key-without-certificate"),
        pytest.param("up --log-format xml", 2, "log.format", id="bad-log-format"),
        pytest.param("bench decode --seconds 0", 2, "--seconds", id="no-time-to-measure"),
    ],
)
def test_wrong_input_is_one_line_on_stderr(
    line: str, code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found and what to do; nothing on stdout."""
    assert run(line.split()) == code

    out, err = capsys.readouterr()
    assert fault in err
    assert err.startswith("everline: ")
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("--version", f"everline {__version__}", id="version"),
        pytest.param("", "replay", id="nothing-is-help"),
        pytest.param("--help", "replay", id="help"),
        pytest.param("replay --help", "--shift-to-now", id="help-of-a-command"),
        pytest.param("config check", "no fault found", id="config-check"),
        pytest.param("config show", 'ingest.hep = "127.0.0.1:9060"  # default', id="config-show"),
    ],
)
def test_right_input_exits_with_0(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout; stderr stays empty."""
    assert run(line.split()) == 0

    out, err = capsys.readouterr()
    assert said in out
    assert err == ""


def test_config_check_lists_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with the key path and the file."""
    file = tmp_path / "everline.toml"
    file.write_text("[ingest]\nbatch_ms = 0\nhepp = 1\n", "utf-8")

    assert run(["config", "check", "--config", str(file)]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["ingest.batch_ms", "ingest.hepp"]
    assert all(str(file) in line for line in lines)


def test_config_show_hides_secrets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON too."""
    monkeypatch.setenv("EVERLINE_INGEST_AUTH_KEY", "s3cret")

    assert run(["config", "show", "--json"]) == 0

    out = capsys.readouterr().out
    assert json.loads(out)["ingest.auth_key"] == "***"
    assert "s3cret" not in out


def test_a_reader_that_has_gone_is_no_failure_to_talk_about() -> None:
    """`everline … | head` says nothing on stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*EVERLINE, "config", "show"], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=30, text=True
    )
    os.close(writer)

    assert done.stderr == ""
    assert done.returncode == 1


def test_ctrl_c_ends_with_130_and_without_a_traceback(tmp_path: Path) -> None:
    """While a replay that would take hours is under way."""
    text = b"OPTIONS sip:b@c SIP/2.0\r\nCall-ID: a\r\n\r\n"
    ends = (17, "192.0.2.1", 5060, "198.51.100.2", 5062, text)
    file = tmp_path / "slow.pcap"
    file.write_bytes(b"".join(write_pcap([CapturedPacket(0, *ends), CapturedPacket(3_600_000_000, *ends)])))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        target = f"udp://127.0.0.1:{collector.getsockname()[1]}"
        command = [*EVERLINE, "replay", str(file), "--to", target, "--speed", "1"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            collector.recv(65_535)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in err

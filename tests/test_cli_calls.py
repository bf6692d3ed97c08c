"""`everline calls`, `call` and `status` against a real HTTP server that answers as a node does."""

import csv
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from everline.cli.entry import run
from everline.cli.text import TimeError, at_text, moment, span_text
from everline.client import NodeAddress, NodeNotFoundError, locate

TOKEN = "token-of-the-test"
CALLS = 1_203
LADDER = {
    "columns": [
        {"address": "192.0.2.1:5060", "role": "caller", "alias": "UA"},
        {"address": "192.0.2.2:5060", "role": "callee", "alias": ""},
    ],
    "rows": [{"source": 0, "target": 1, "label": "INVITE", "since_ms": 0.0, "dialog": 0, "repeats": 0, "phase": ""}],
}


def call_json(index: int) -> dict[str, Any]:
    """A call as the API gives it; some of its text is hostile."""
    return {
        "call_id": f"{index}/x@b", "state": "ended", "outcome": "answered", "status": 200,
        "caller": "+4912\x1b[2J[red]", "callee": "=1+1", "caller_uri": "sip:a@b", "callee_uri": "sip:c@d",
        "invite_at": 1_700_000_000.5, "ringing_at": None, "answered_at": 1_700_000_001.0, "ended_at": 1_700_000_251.0,
        "talk_s": 250.0, "pdd_s": None, "srd_s": 0.25, "released_by": "caller", "messages": 9,
    }  # fmt: skip


class Node(BaseHTTPRequestHandler):
    """Answers as a node does, and notes what was asked."""

    asked: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        """Route by path."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/api/v1/")
        self.asked.append((path, query))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.problem(401, "No valid token or session came with the request.")
        elif path == "calls":
            self.page(query)
        elif path == "calls.csv":
            rows = "".join(f'{index}/x@b,"two\nlines"\r\n' for index in range(CALLS))
            self.answer(200, ("call_id,caller\r\n" + rows).encode(), "text/csv")
        elif path == "node":
            ledger = {"received": 10, "stored": 9, "rejected": 1, "dropped": 0, "pending": 0, "missing": 0}
            self.json({"node": "n1", "version": "1", "ledger": ledger, "not_ready": []})
        elif unquote(path) == "calls/1/x@b":
            self.json({**call_json(1), "ladder": LADDER, "nodes": ["n1"]})
        elif unquote(path) == "pcap/1/x@b":
            self.answer(200, b"\xd4\xc3\xb2\xa1pcap", "application/vnd.tcpdump.pcap")
        else:
            self.problem(404, f"No message with Call-ID {unquote(path)!r} is known.")

    def page(self, query: dict[str, str]) -> None:
        """A page of calls."""
        if query.get("status") == "999":
            self.problem(400, "status='999' is no SIP status")
            return
        start = int(query.get("after", "0"))
        end = min(start + int(query["limit"]), CALLS)
        self.json({"calls": list(map(call_json, range(start, end))), "next": str(end) if end < CALLS else None})

    def problem(self, status: int, detail: str) -> None:
        """A fault as the API tells it."""
        body = {"title": "x", "status": status, "detail": detail, "next_step": "Do the next thing."}
        self.answer(status, json.dumps(body).encode(), "application/problem+json")

    def json(self, value: object) -> None:
        """JSON."""
        self.answer(200, json.dumps(value).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Status, headers, body."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str]]]]:
    """A node that runs with `var/everline` below the working directory; gives what it is asked."""
    for name in tuple(os.environ):
        if name.startswith("EVERLINE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Node, "asked", [], raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    directory = tmp_path / "var" / "everline"
    directory.mkdir(parents=True)
    url = f"http://127.0.0.1:{server.server_port}"
    (directory / "node.json").write_text(json.dumps({"url": url}), "utf-8")
    (directory / "admin.token").write_text(TOKEN + "\n", "utf-8")
    yield Node.asked
    server.shutdown()
    server.server_close()


Said = pytest.CaptureFixture[str]
Asked = list[tuple[str, dict[str, str]]]


def test_filters_reach_the_node(asked: Asked, capsys: Said) -> None:
    """Times as epoch seconds, the rest as given; what is not given is not sent."""
    line = "calls --since 1700000000 --until 2023-11-15T00:00:00Z --number +49123 --caller a --callee b --call-id c@d"
    more = "--state ended --outcome busy --status 486 --ip 192.0.2.1 --user-agent Zoiper --limit 3 --json"
    assert run([*line.split(), *more.split()]) == 0

    assert asked == [("calls", {
        "since": "1700000000", "until": "1700006400.000000", "number": "+49123", "caller": "a", "callee": "b",
        "call_id": "c@d", "state": "ended", "outcome": "busy", "status": "486", "ip": "192.0.2.1",
        "user_agent": "Zoiper", "limit": "3",
    })]  # fmt: skip
    assert json.loads(capsys.readouterr().out) == [call_json(index) for index in range(3)]


@pytest.mark.parametrize(
    ("limit", "count", "pages"),
    [
        pytest.param("1", 1, 1, id="one"),
        pytest.param("501", 501, 2, id="more-than-a-page"),
        pytest.param("5000", CALLS, 3, id="more-than-there-are"),
        pytest.param("all", CALLS, 3, id="all"),
        pytest.param("0", CALLS, 3, id="zero-is-all"),
    ],
)
def test_pages_are_joined(limit: str, count: int, pages: int, asked: Asked, capsys: Said) -> None:
    """The limit counts calls, however many answers that takes."""
    assert run(["calls", "--limit", limit, "--json"]) == 0

    assert [one["call_id"] for one in json.loads(capsys.readouterr().out)] == [f"{one}/x@b" for one in range(count)]
    assert len(asked) == pages


def test_csv_is_the_export_of_the_node_up_to_the_limit(asked: Asked, capsys: Said) -> None:
    """A value of two lines is one value."""
    assert run(["calls", "--csv", "--limit", "2", "--number", "1"]) == 0

    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["call_id", "caller"], ["0/x@b", "two\nlines"], ["1/x@b", "two\nlines"]]
    assert asked == [("calls.csv", {"number": "1"})]


@pytest.mark.usefixtures("asked")
def test_a_pipe_gets_a_call_a_line(capsys: Said) -> None:
    """Tab-separated, nothing cut off, no control characters of others."""
    assert run(["calls", "--limit", "2"]) == 0

    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split("\t")[0] == "began (UTC)"
    assert second.split("\t")[-1] == "1/x@b"
    assert first.split("\t") == [
        "2023-11-14 22:13:20.500Z", "+4912\\x1b[2J[red]", "=1+1", "ended", "answered", "200", "", "4 m 10 s", "0/x@b",
    ]  # fmt: skip


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("line", ["calls --limit 2", "call 1/x@b"])
def test_a_terminal_gets_colours_and_no_markup_of_others(
    line: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a caller's name holds is text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    assert run(line.split()) == 0

    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "\x1b[2J" not in out


@pytest.mark.usefixtures("asked")
def test_a_call_is_shown_with_its_ladder(capsys: Said) -> None:
    """Facts first, then the arrows."""
    assert run(["call", "1/x@b"]) == 0

    out = capsys.readouterr().out
    assert "talked        4 m 10 s\n" in out
    assert "released by   caller\n" in out
    assert "─ INVITE ─" in out


@pytest.mark.usefixtures("asked")
def test_a_call_as_json_is_one_object(capsys: Said) -> None:
    """Nothing else on stdout."""
    assert run(["call", "1/x@b", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["ladder"] == LADDER


@pytest.mark.usefixtures("asked")
def test_a_call_as_capture_file(tmp_path: Path, capsys: Said) -> None:
    """Byte for byte as the node gives it."""
    assert run(["call", "1/x@b", "--pcap", "call.pcap"]) == 0
    assert (tmp_path / "call.pcap").read_bytes() == b"\xd4\xc3\xb2\xa1pcap"

    assert run(["call", "1/x@b", "--pcap", "no/such/dir.pcap"]) == 1
    assert capsys.readouterr().err == "everline: no/such/dir.pcap cannot be written: No such file or directory\n"


@pytest.mark.usefixtures("asked")
def test_status_shows_the_ledger(capsys: Said) -> None:
    """As text and as JSON."""
    assert run(["status"]) == 0
    assert "received      10\n" in capsys.readouterr().out
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ledger"]["stored"] == 9


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("line", "code", "fault"),
    [
        pytest.param("call none@b", 1, "'calls/none@b' is known. Do the next thing.", id="unknown-call"),
        pytest.param("calls --status 999", 1, "is no SIP status. Do the next thing.", id="refused-by-the-node"),
        pytest.param("calls --status 999 --json", 1, "is no SIP status", id="json-stays-empty"),
    ],
)
def test_what_the_node_refuses_is_one_line(line: str, code: int, fault: str, capsys: Said) -> None:
    """With the next step that the node names."""
    assert run(line.split()) == code

    out, err = capsys.readouterr()
    assert fault in err
    assert (err.count("\n"), out) == (1, "")


@pytest.mark.usefixtures("asked")
def test_a_wrong_token_names_where_to_take_the_right_one(capsys: Said) -> None:
    """And never prints it."""
    Path("var/everline/admin.token").write_text("wrong-token", "utf-8")

    assert run(["status"]) == 1

    assert "EVERLINE_TOKEN" in (err := capsys.readouterr().err)
    assert "wrong-token" not in err


def test_the_directory_named_beats_the_environment_which_beats_the_usual_directories(
    asked: Asked, tmp_path: Path
) -> None:
    """Whoever names a directory means it."""
    assert asked == []
    usual = locate(None, {})
    other = tmp_path / "other"
    other.mkdir()
    (other / "node.json").write_text('{"url": "http://127.0.0.1:1/"}', "utf-8")
    (other / "admin.token").write_text("other-token", "utf-8")
    environ = {"EVERLINE_URL": "http://192.0.2.1:5173", "EVERLINE_TOKEN": "env-token"}

    assert usual.token == TOKEN
    assert locate(None, environ) == NodeAddress("http://192.0.2.1:5173", "env-token")
    assert locate(other, environ) == NodeAddress("http://127.0.0.1:1", "other-token")
    assert "other-token" not in repr(locate(other, environ))


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense"])
def test_a_damaged_node_file_is_one_clear_error(text: str, tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "node.json").write_text(text, "utf-8")

    with pytest.raises(NodeNotFoundError, match="damaged"):
        locate(tmp_path, {})


def test_a_node_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    """One line, exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("EVERLINE_URL", f"http://127.0.0.1:{port}")

    assert run(["status"]) == 3

    assert "does not answer" in (err := capsys.readouterr().err)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1h", "996400.000000", id="an-hour-ago"),
        pytest.param("90s", "999910.000000", id="seconds"),
        pytest.param("1.5d", "870400.000000", id="days"),
        pytest.param("1700000000.25", "1700000000.25", id="epoch-as-given"),
        pytest.param("1970-01-02", "86400.000000", id="iso-date-is-utc"),
        pytest.param("1970-01-02T01:00:00+01:00", "86400.000000", id="iso-with-offset"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    """A time on the command line."""
    assert moment("--since", text, 1_000_000) == expected


@pytest.mark.parametrize("text", ["", "h", "nanh", "infd", "1e999d", "yesterday", "²", "1970-13-01"])
def test_no_moment(text: str) -> None:
    """With what was needed."""
    with pytest.raises(TimeError, match="need 1h"):
        moment("--since", text, 1_000_000)


def test_values_as_people_read_them() -> None:
    """Unknown is empty."""
    spans: list[Callable[[], str]] = [lambda: span_text(None), lambda: span_text(0.349), lambda: span_text(7_500)]
    assert [span() for span in spans] == ["", "349 ms", "2 h 5 m"]
    assert (at_text(None), at_text(0.0015)) == ("", "1970-01-01 00:00:00.001Z")

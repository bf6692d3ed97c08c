"""The operator's hooks: real programs, and a real HTTP server."""

import asyncio
import json
import stat
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.test_heart import until

from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.hooks import MAX_OUTPUT, Hooks, missed_calls
from everline.topology.settings import Hook, HookEvent

DEAD = make_entry(Kind.NODE_DEAD, 5, node="e1-ingest", region="north", by="w", reason="no heartbeat", token=7)


class Field:
    """Hooks of a node that leads, or not."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self.token = 7
        self.noted: list[Entry] = []
        self.hooks = Hooks(hooks, cluster="voice", node="w", token=lambda: self.token, note=self.noted.append)

    def details(self) -> dict[str, Any]:  # JSON
        """Of the last entry."""
        found: dict[str, Any] = json.loads(self.noted[-1].details)
        return found


@asynccontextmanager
async def running(*hooks: Hook) -> AsyncIterator[Field]:
    """Let them be called."""
    field = Field(hooks)
    task = asyncio.create_task(field.hooks.run())
    try:
        yield field
    finally:
        task.cancel()
        await asyncio.wait([task])


def script(path: Path, text: str) -> str:
    """A program of the operator."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def command(*words: str, deadline_s: float = 10) -> Hook:
    """A hook that runs it when a node is dead."""
    return Hook(on=(HookEvent.NODE_DEAD,), command=words, deadline_s=deadline_s)


async def test_a_command_gets_the_event_as_json_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a shell, and without the secrets of our environment."""
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    program = script(tmp_path / "hook", 'echo "$1"; cat; env')
    async with running(command(program, "a b; echo c")) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)

    output = field.details()["output"]
    assert field.noted[0].kind is Kind.HOOK_DONE
    assert output.startswith("a b; echo c\n")
    assert json.loads(output.splitlines()[1])["event"] == "node_dead"
    for line in ("EVERLINE_REGION=north", "EVERLINE_NODE=e1-ingest", "EVERLINE_REASON=no heartbeat",
                 "EVERLINE_TOKEN=7", "EVERLINE_EVENT=node_dead", f"EVERLINE_ENTRY_ID={DEAD.entry_id}"):  # fmt: skip
        assert line in output.splitlines()
    assert "hunter2" not in output


@pytest.mark.parametrize(
    ("text", "deadline_s", "why", "attempts"),
    [
        pytest.param("exit 3", 10, "exit code 3", 3, id="it-fails-thrice"),
        pytest.param("sleep 60 & sleep 60", 0.2, "not done within 0.2 s", 3, id="it-hangs-with-a-child"),
    ],
)
async def test_a_command_that_fails_is_tried_again_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, deadline_s: float, why: str, attempts: int
) -> None:
    """A bounded number of times; nothing of it is left running."""
    monkeypatch.setattr("everline.cluster.hooks._PAUSE_S", 0.01)
    program = script(tmp_path / "hook", f"echo $$ >> {tmp_path / 'pids'}\n{text}")
    async with running(command(program, deadline_s=deadline_s)) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)

    assert field.noted[0].kind is Kind.HOOK_FAILED
    assert why in field.noted[0].reason
    assert field.details()["attempts"] == attempts
    assert len(pids_of(tmp_path)) == attempts
    assert not [pid for pid in pids_of(tmp_path) if is_running(pid)]


def pids_of(directory: Path) -> list[str]:
    """Of the programs that were started."""
    return (directory / "pids").read_text().split()


def is_running(group: str) -> bool:
    """Whether any process of this group is there."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has just ended.
            state, _, of_group, *_ = path.read_text().rpartition(")")[2].split()
            if of_group == group and state != "Z":
                return True
    return False


async def test_a_program_that_cannot_be_run_is_not_tried_again(tmp_path: Path) -> None:
    """It would not be there the next time."""
    async with running(command(str(tmp_path / "nothing"))) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)

    assert field.noted[0].reason == "cannot run it: No such file or directory"
    assert field.details()["attempts"] == 1


async def test_output_without_end_is_cut(tmp_path: Path) -> None:
    """And does not block the program."""
    async with running(command(script(tmp_path / "hook", "head -c 1000000 /dev/zero | tr '\\0' x"))) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)

    assert field.noted[0].kind is Kind.HOOK_DONE
    assert field.details()["output"] == "x" * MAX_OUTPUT


async def test_a_hook_is_called_once_for_an_entry_and_a_token(tmp_path: Path) -> None:
    """And again by a leader with another token that can't see that it was done."""
    async with running(command(script(tmp_path / "hook", "true"))) as field:
        field.hooks.offer(DEAD)
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)
        field.token = 8
        field.hooks.offer(DEAD)
        await until(lambda: len(field.noted) == 2)

    assert [one.token for one in field.noted] == [7, 8]


async def test_who_does_not_lead_calls_nothing(tmp_path: Path) -> None:
    """It is for the next leader, which sees that it was not done."""
    hook = command(script(tmp_path / "hook", f"touch {tmp_path / 'called'}"))
    async with running(hook) as field:
        field.token = 0
        field.hooks.offer(DEAD)
        await until(field.hooks._waiting.empty)

    assert not (tmp_path / "called").exists()
    assert [call.entry for call in missed_calls([hook], [DEAD])] == [DEAD]


async def test_what_the_log_says_to_be_done_is_not_missed(tmp_path: Path) -> None:
    """Nor what no hook wants to hear of."""
    hook = command(script(tmp_path / "hook", "true"))
    async with running(hook) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)
    back = make_entry(Kind.NODE_BACK, 6, node="e1-ingest", by="w")

    assert missed_calls([hook], [DEAD, back, *field.noted]) == []


class _Receiver(BaseHTTPRequestHandler):
    """Answers what it is told to, and keeps what it got."""

    answers: list[int]
    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        """A call."""
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answers.pop(0))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[Hook, list[dict[str, Any]]]]:
    """A webhook that gives these answers."""
    kind = type("Receiver", (_Receiver,), {"answers": list(answers), "got": []})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/a-secret-path"
        yield Hook(on=(HookEvent.NODE_DEAD,), webhook=url, deadline_s=5), kind.got  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("answers", "kind", "calls"),
    [
        pytest.param([200], Kind.HOOK_DONE, 1, id="well"),
        pytest.param([503, 429, 204], Kind.HOOK_DONE, 3, id="well-at-last"),
        pytest.param([500, 500, 500], Kind.HOOK_FAILED, 3, id="never"),
        pytest.param([404], Kind.HOOK_FAILED, 1, id="a-refusal-is-not-tried-again"),
    ],
)
async def test_a_webhook_is_posted(monkeypatch: pytest.MonkeyPatch, answers: list[int], kind: Kind, calls: int) -> None:
    """Its path may be a secret, and is not in the log."""
    monkeypatch.setattr("everline.cluster.hooks._PAUSE_S", 0.01)
    with receiver(*answers) as (hook, got):
        async with running(hook) as field:
            field.hooks.offer(DEAD)
            await until(lambda: field.noted)

    assert field.noted[0].kind is kind
    assert len(got) == calls
    assert {(one["entry_id"], one["token"], one["event"]) for one in got} == {(DEAD.entry_id, 7, "node_dead")}
    assert "secret" not in str(field.noted)


async def test_a_webhook_that_nobody_answers_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 1 is nobody's."""
    monkeypatch.setattr("everline.cluster.hooks._PAUSE_S", 0.01)
    async with running(Hook(on=(HookEvent.NODE_DEAD,), webhook="http://127.0.0.1:1/x", deadline_s=1)) as field:
        field.hooks.offer(DEAD)
        await until(lambda: field.noted)

    assert field.noted[0].reason == "no answer (ConnectError)"

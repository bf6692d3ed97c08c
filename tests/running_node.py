"""A whole node in a process of its own, for tests that stand outside of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2

T = TypeVar("T")

START_S: Final = 30.0
SETTLE_S: Final = 30.0


def until(condition: Callable[[], T | None], *, within_s: float, what: str) -> T:
    """The first true value of a condition; a failed assertion when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return value


class RunningNode:
    """A node that answers: its API and its process."""

    def __init__(self, process: subprocess.Popen[bytes], data: Path) -> None:
        about = json.loads((data / "node.json").read_text())
        self.process = process
        self.data = data
        self.url: str = about["url"]
        self.token = (data / "admin.token").read_text().strip()
        host, _, port = about["hep"].rpartition(":")
        self.hep = (host, int(port))
        self._client = httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=15)

    def get(self, path: str, **query: str | int) -> httpx2.Response:
        """GET from the API."""
        answer = self._client.get(f"/api/v1/{path}", params=query)
        answer.raise_for_status()
        return answer

    def ledger(self) -> dict[str, int]:
        """The packet ledger."""
        ledger: dict[str, int] = self.get("node").json()["ledger"]
        return ledger

    def until_received(self, messages: int) -> dict[str, int]:
        """The ledger once so many messages were received and none is on its way."""

        def done() -> dict[str, int] | None:
            ledger = self.ledger()
            return ledger if ledger["received"] >= messages and not ledger["pending"] else None

        return until(done, within_s=SETTLE_S, what=f"{messages} messages received and stored")

    def calls(self, **filters: str | int) -> list[dict[str, Any]]:
        """All calls that match, as the API gives them, over all pages."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = self.get("calls", limit=500, **filters, **({"after": after} if after else {})).json()
            found += page["calls"]
            after = page["next"]
        return found

    def close(self) -> None:
        """Forget the connections to it."""
        self._client.close()


@contextmanager
def running_node(data: Path, *options: str) -> Iterator[RunningNode]:
    """Start a node on free ports, and stop it at the end."""
    command = [sys.executable, "-m", "everline", "up", "--data", str(data)]
    ports = ["--hep", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERLINE_")}
    log = (data.parent / f"{data.name}.log").open("wb")
    process = subprocess.Popen([*command, *ports, *options], stdout=log, stderr=log, env=environment)
    try:
        until(
            lambda: (data / "node.json").exists() or process.poll() is not None, within_s=START_S, what="the node is up"
        )
        assert process.poll() is None, Path(log.name).read_text()
        node = RunningNode(process, data)
        try:
            yield node
        finally:
            node.close()
    finally:
        log.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

"""A node in a process of its own, for what is measured from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from everline.bench.machine import BenchError
from everline.datadir import NODE_FILE, TOKEN_FILE

SETTLE_S: Final = 60.0
START_S: Final = 60.0


class BenchNode:
    """A node that answers; `client` asks it as its admin."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        about = json.loads((folder / NODE_FILE).read_text())
        self.url: str = about["url"]
        self.token = (folder / TOKEN_FILE).read_text().strip()
        self._process = process
        self.client = httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)
        self.hep_port = int(about["hep"].rpartition(":")[2])

    def settled(self, sent: int) -> dict[str, Any]:  # the ledger as JSON
        """The ledger once nothing is on its way."""
        deadline = time.monotonic() + SETTLE_S
        last: dict[str, Any] = {}
        while time.monotonic() < deadline:
            ledger: dict[str, Any] = self.client.get("/api/v1/node").json()["ledger"]
            is_still = ledger["received"] == sent or ledger == last
            if not ledger["pending"] and is_still:
                return ledger
            last = ledger
            time.sleep(0.1)
        raise BenchError(f"the node was not done {SETTLE_S:g} s after the last datagram")

    def peak_rss_bytes(self) -> int:
        """Most memory that its process ever held."""
        return self._status("VmHWM:")

    def rss_bytes(self) -> int:
        """What it holds now."""
        return self._status("VmRSS:")

    def cpu_s(self) -> float:
        """Processor time that it took so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition(key)[2].split()[0]) * 1024


@contextmanager
def bench_node(folder: Path) -> Iterator[BenchNode]:
    """
    Run a node with its data in a folder.

    Raises:
        BenchError: It does not start.
    """
    arguments = ["up", "--data", str(folder), "--hep", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "everline", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        if process.stdout is None or not process.stdout.readline():
            raise BenchError(f"the node did not start; try: everline {' '.join(arguments)}")
        node = BenchNode(process, folder)
        try:
            yield node
        finally:
            node.client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

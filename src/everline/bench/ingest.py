"""What one node takes in: a real process, a real socket, the embedded store, nothing lost."""

import json
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from everline.bench.corpus import datagrams, templates
from everline.bench.machine import this_machine
from everline.bench.node import bench_node

GOAL_PER_S: Final = 40_000
RATES_PER_S: Final = (20_000, 30_000, 40_000, 50_000, 60_000, 80_000)
BURST: Final = 50
"""Datagrams sent without looking at the clock."""


@dataclass(frozen=True, slots=True)
class Run:
    """
    One rate, tried for some seconds.

    Attributes:
        sent_per_s: What the sender achieved.
        lost: Sent and not stored: dropped by the kernel, or dropped and counted by the node.
        settled_s: After the last datagram, until all were stored.
        peak_rss_bytes: Most memory that the node's process ever held.
        cpu_s: Processor time of the node for this run.
    """

    wanted_per_s: int
    sent: int
    sent_per_s: int
    stored: int
    lost: int
    settled_s: float
    peak_rss_bytes: int
    cpu_s: float

    @property
    def is_clean(self) -> bool:
        """Whether the rate was reached, nothing was lost, and the store was not left behind."""
        return self.lost == 0 and self.sent_per_s >= self.wanted_per_s * 0.98 and self.settled_s < 1.0


def run(*, as_json: bool, seconds: float = 10.0) -> None:
    """Try rising rates, each on a fresh node, until one is not taken whole; print the best that was."""
    runs: list[Run] = []
    for rate_per_s in RATES_PER_S:
        runs.append(_measure(rate_per_s, seconds))
        if not as_json:
            sys.stdout.write(_line(runs[-1]) + "\n")
            sys.stdout.flush()
        if not runs[-1].is_clean:
            break
    best = max((one for one in runs if one.is_clean), key=lambda one: one.sent_per_s, default=None)
    machine = this_machine()
    if as_json:
        figures = {
            "bench": "ingest", "messages_per_s": best.sent_per_s if best else 0, "goal_per_s": GOAL_PER_S,
            "peak_rss_bytes": best.peak_rss_bytes if best else 0, "runs": [asdict(one) for one in runs],
            "machine": machine.as_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    words = f"{best.sent_per_s:,} messages/s, peak {best.peak_rss_bytes / 2**20:.0f} MiB" if best else "none"
    lines = [
        f"ingest    {words} with nothing lost, stored in the embedded engine (goal {GOAL_PER_S:,})",
        *machine.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _line(one: Run) -> str:
    return (
        f"try       {one.wanted_per_s:,}/s: sent {one.sent:,} at {one.sent_per_s:,}/s, stored {one.stored:,}, "
        f"lost {one.lost:,}, all stored after {one.settled_s:.1f} s, "
        f"peak {one.peak_rss_bytes / 2**20:.0f} MiB, {one.cpu_s:.1f} s CPU"
    )


def _measure(rate_per_s: int, seconds: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="everline-bench-") as folder, bench_node(Path(folder)) as node:
        cpu_before = node.cpu_s()
        sent, took_s = _send(node.hep_port, rate_per_s, seconds)
        ended = time.monotonic()
        ledger = node.settled(sent)
        return Run(
            wanted_per_s=rate_per_s,
            sent=sent,
            sent_per_s=int(sent / took_s),
            stored=ledger["stored"],
            lost=sent - ledger["stored"],
            settled_s=round(time.monotonic() - ended, 2),
            peak_rss_bytes=node.peak_rss_bytes(),
            cpu_s=round(node.cpu_s() - cpu_before, 2),
        )


def _send(port: int, rate_per_s: int, seconds: float) -> tuple[int, float]:
    """Send whole calls at a rate; how many datagrams, and in how many seconds."""
    wanted = int(rate_per_s * seconds) // len(templates()) * len(templates())
    # Made beforehand, so that the sender takes little of the processors while it sends.
    prepared = list(datagrams(range(wanted // len(templates())), time.time_ns() // 1000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        start = time.monotonic()
        for first in range(0, len(prepared), BURST):
            early_s = start + first / rate_per_s - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            for data in prepared[first : first + BURST]:
                sender.send(data)
        return len(prepared), time.monotonic() - start

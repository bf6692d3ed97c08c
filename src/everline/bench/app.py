"""What the pages and the API of one node take: searches over millions of calls, live calls, many readers of events."""

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Final

from everline.bench.corpus import datagrams, templates
from everline.bench.machine import BenchError, this_machine
from everline.bench.many_calls import NUMBERS, ManyCalls, make_calls
from everline.bench.node import BenchNode, bench_node
from everline.bench.streams import Readers
from everline.datadir import DataDir
from everline.store.schema import DAY_US

CALLS: Final = 10_000_000
DAYS: Final = 28
"""Less than the usual retention: nothing is dropped while it is measured."""
BYTES_PER_CALL: Final = 600
"""Room on the disk, while parts are merged too."""
MADE_FILE: Final = "bench.json"
ASKED: Final = 60
"""Questions of each kind, each another one."""
LIVE_CALLS: Final = 5_000
STREAMS: Final = 500
CODES: Final = (486, 404, 480, 603, 503)
GOALS_MS: Final = {
    "last hour, page": 300, "last hour, API": 300, "a number, page": 300, "a response code, page": 300,
    "live calls, page": 100, "event to all streams": 1_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """One kind of question, asked often. Milliseconds, from outside of the node."""

    name: str
    asked: int
    p50_ms: float
    p95_ms: float
    max_ms: float

    @property
    def goal_ms(self) -> int | None:
        """For p95; None without one."""
        return GOALS_MS.get(self.name)

    def line(self) -> str:
        """For people."""
        goal = f" (goal {self.goal_ms} ms)" if self.goal_ms else ""
        times = f"p50 {self.p50_ms:,.0f} ms, p95 {self.p95_ms:,.0f} ms{goal}, max {self.max_ms:,.0f} ms"
        return f"{self.name:<24}{times}; {self.asked} times"


def run(
    *, as_json: bool, calls: int = CALLS, data: Path | None = None, streams: int = STREAMS, asked: int = ASKED
) -> None:
    """Measure, and print. With `data` the calls are kept there, and a second run finds them."""
    live = min(LIVE_CALLS, calls)
    with _folder(data) as folder:
        wanted = _prepared(folder, calls, tell=lambda said: None if as_json else _say(said))
        with bench_node(folder) as node:
            found = _searches(node, wanted, asked)
            found += _live(node, live, asked)
            at_rest_bytes = node.rss_bytes()
            found.append(asyncio.run(_streams(node, streams, live, asked // 2)))
            stream_bytes = max(node.rss_bytes() - at_rest_bytes, 0) // max(streams, 1)
            peak_bytes = node.peak_rss_bytes()
    machine = this_machine()
    if as_json:
        figures = {
            "bench": "app", "calls": wanted.calls, "live_calls": live, "streams": streams,
            "figures": [asdict(one) | {"goal_ms": one.goal_ms} for one in found],
            "peak_rss_bytes": peak_bytes, "bytes_per_stream": stream_bytes, "machine": machine.as_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    lines = [
        f"app       {wanted.calls:,} calls of {wanted.days} days in the embedded engine, {live:,} live calls, "
        f"{streams} streams",
        *(one.line() for one in found),
        f"memory    peak {peak_bytes / 2**20:,.0f} MiB, about {stream_bytes / 1024:,.0f} KiB a stream",
        *machine.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _say(said: str) -> None:
    sys.stdout.write(said + "\n")
    sys.stdout.flush()


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="everline-bench-") as folder:
        yield Path(folder)


def _prepared(folder: Path, calls: int, *, tell: Callable[[str], None]) -> ManyCalls:
    """The calls that are in the folder, made if there are none yet."""
    data = DataDir(folder)
    data.prepare()
    made = data.kept(MADE_FILE)
    if made:
        return ManyCalls(**json.loads(made))
    if data.store.exists():
        raise BenchError(f"{folder} holds another store: name a directory of its own with --data")
    free = shutil.disk_usage(folder).free
    if free < calls * BYTES_PER_CALL:
        raise BenchError(
            f"{calls:,} calls need {calls * BYTES_PER_CALL / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"
        )
    wanted = ManyCalls(calls, time.time_ns() // 1000 - DAYS * DAY_US, DAYS)
    start = time.monotonic()
    for there in make_calls(data.store, wanted):
        tell(f"made      {there:,} of {calls:,} calls, {time.monotonic() - start:.0f} s")
    data.keep(MADE_FILE, json.dumps(asdict(wanted)))
    return wanted


def _searches(node: BenchNode, made: ManyCalls, asked: int) -> list[Timed]:
    """Each question another one: another hour, another number, another code before another moment."""
    random = Random(7)  # noqa: S311 - so that two runs ask the same
    moments = [random.uniform(made.first_us + DAY_US, made.last_us) / 1e6 for _ in range(asked)]
    lasts = [made.last_us / 1e6 - random.uniform(0, 600) for _ in range(asked)]
    numbers = [f"+1202{int(random.random() ** 4 * NUMBERS):07d}" for _ in range(asked)]
    hours = [{"since": f"{one - 3600:.3f}", "until": f"{one:.3f}"} for one in lasts]
    codes = [{"status": str(random.choice(CODES)), "until": f"{one:.3f}"} for one in moments]
    by_number = [{"number": one} for one in numbers]
    return [
        _timed(node, "last hour, page", "/calls", hours),
        _timed(node, "last hour, API", "/api/v1/calls", hours),
        _timed(node, "a number, page", "/calls", by_number),
        _timed(node, "a response code, page", "/calls", codes),
        _timed(node, "figures of an hour, API", "/api/v1/kpis", hours[: asked // 3]),
        _timed(node, "overview of an hour", "/", hours[: asked // 3]),
    ]


def _live(node: BenchNode, calls: int, asked: int) -> list[Timed]:
    """The page of live calls and its API, with so many calls in progress."""
    # Up to the ACK: the calls go on.
    step = len(templates())
    block = list(datagrams(range(calls), time.time_ns() // 1000))
    begun = [one for at, one in enumerate(block) if (at // 256) % step < step * 5 // 8]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", node.hep_port))
        for at, data in enumerate(begun):
            sender.send(data)
            if at % 50 == 0:
                time.sleep(0.005)
    node.settled(len(begun))
    return [
        _timed(node, "live calls, page", "/live", [{}] * asked),
        _timed(node, "live calls, API", "/api/v1/live", [{"limit": "500"}] * asked),
    ]


async def _streams(node: BenchNode, streams: int, after: int, events: int) -> Timed:
    """From the sending of a datagram, so the batch of the intake is in it."""
    readers = Readers(node.url, node.token, streams)
    try:
        await readers.open()
        taken_s: list[float] = []
        for number in range(after, after + events):
            invite = next(datagrams(range(number, number + 1), time.time_ns() // 1000))
            call_id = f"{number:08d}-7f3a@192.0.2.10"
            taken_s.append(await readers.heard_s(call_id, invite, ("127.0.0.1", node.hep_port)))
    finally:
        await readers.close()
    return _summed("event to all streams", taken_s)


def _timed(node: BenchNode, name: str, path: str, queries: list[dict[str, str]]) -> Timed:
    taken_s: list[float] = []
    for query in queries:
        start = time.perf_counter()
        answer = node.client.get(path, params=query, headers={"Accept": "text/html, application/json"})
        taken_s.append(time.perf_counter() - start)
        if answer.status_code != 200:
            raise BenchError(f"{path} {query}: {answer.status_code} {answer.text[:200]}")
    return _summed(name, taken_s)


def _summed(name: str, taken_s: list[float]) -> Timed:
    p95_s = quantiles(taken_s, n=20, method="inclusive")[-1] if len(taken_s) > 1 else taken_s[0]
    return Timed(name, len(taken_s), *(round(one * 1000, 1) for one in (median(taken_s), p95_s, max(taken_s))))

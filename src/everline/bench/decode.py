"""How fast one core decodes: HEP3 and SIP to event columns."""

import gc
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Final

from everline.bench.captured import CapturedTraffic
from everline.bench.corpus import datagrams, templates
from everline.bench.machine import BenchError, this_machine
from everline.calls.decode import Datagram, DecodeRules, decode_batch

ROUNDS: Final = 30
CALLS: Final = 2_048
SLICE: Final = 500
GOAL_PER_S: Final = 150_000


@dataclass(frozen=True, slots=True)
class Rate:
    """
    What was measured on one kind of traffic.

    Attributes:
        messages_per_s: Median over the passes, of processor time.
        best_per_s: The best pass.
    """

    messages_per_s: int
    best_per_s: int
    passes: int
    mean_bytes: int


def run(*, as_json: bool, seconds: float = 10.0) -> None:
    """
    Measure for some seconds of processor time, half on captured traffic, half on longer messages; print both.

    Raises:
        BenchError: A message was rejected: the figure would mean nothing.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # As a node does.
    captured = CapturedTraffic()
    traffic = _measure(lambda index: captured.rounds(range(index * ROUNDS, (index + 1) * ROUNDS)), seconds / 2)
    longer = _measure(
        lambda index: datagrams(range(index * CALLS, (index + 1) * CALLS), time.time_ns() // 1000), seconds / 2
    )
    machine = this_machine()
    if as_json:
        figures = {
            "bench": "decode", "messages_per_s": traffic.messages_per_s, "best_per_s": traffic.best_per_s,
            "goal_per_s": GOAL_PER_S, "mean_bytes": traffic.mean_bytes, "longer": asdict(longer),
            "machine": machine.as_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    lines = [
        f"decode    {_words(traffic)}; goal {GOAL_PER_S:,}",
        f"traffic   HEP3 of SIPp through Kamailio, ten kinds of calls, {traffic.mean_bytes} bytes on average; "
        "new Call-IDs, tags and branches in every pass",
        f"longer    {_words(longer)}",
        f"traffic   {len(templates())} messages a call, {longer.mean_bytes} bytes on average, 13 header lines, "
        "half of them with node name and correlation id",
        *machine.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _words(rate: Rate) -> str:
    return f"{rate.messages_per_s:,} messages/s on one core (median of {rate.passes} passes, best {rate.best_per_s:,})"


def _measure(traffic: Callable[[int], Iterable[bytes]], seconds: float) -> Rate:
    """Decode one pass after the other, each of calls never seen before."""
    rules = DecodeRules("bench")
    rates: list[float] = []
    spent, size, sent = 0.0, 0, 0
    while spent < seconds:
        now_us = time.time_ns() // 1000
        corpus = [Datagram(data, now_us, "192.0.2.1", 9060) for data in traffic(len(rates))]
        slices = [corpus[start : start + SLICE] for start in range(0, len(corpus), SLICE)]
        events = 0
        start = time.process_time()
        for one in slices:
            events += len(decode_batch(one, rules).batch)
        took = time.process_time() - start
        if events != len(corpus):
            raise BenchError(f"{events} events of {len(corpus)} messages: the figure means nothing")
        rates.append(len(corpus) / took)
        spent, sent, size = spent + took, sent + len(corpus), size + sum(len(one.data) for one in corpus)
    return Rate(round(sorted(rates)[len(rates) // 2]), round(max(rates)), len(rates), round(size / sent))

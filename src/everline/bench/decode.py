"""How fast one core decodes: HEP3 and SIP to event columns."""

import json
import sys
import time
from typing import Final

from everline.bench.corpus import datagrams, templates
from everline.bench.machine import BenchError, this_machine
from everline.calls.decode import Datagram, DecodeRules, decode_batch

CALLS: Final = 4_096
MESSAGES_A_CALL: Final = len(templates())
SLICE: Final = 500
GOAL_PER_S: Final = 150_000


def run(*, as_json: bool, seconds: float = 10.0) -> None:
    """Measure for some seconds of processor time, and print."""
    rules = DecodeRules("bench")
    rates: list[float] = []
    spent, size, events = 0.0, 0.0, 0
    while spent < seconds:
        # New calls in every pass, as on a real node: what was remembered of the last ones is of no use.
        corpus = _corpus(range(len(rates) * CALLS, (len(rates) + 1) * CALLS))
        size = sum(len(datagram.data) for one in corpus for datagram in one) / (CALLS * MESSAGES_A_CALL)
        start = time.process_time()
        for one in corpus:
            events += len(decode_batch(one, rules).batch)
        took = time.process_time() - start
        rates.append(CALLS * MESSAGES_A_CALL / took)
        spent += took
    if events != len(rates) * CALLS * MESSAGES_A_CALL:
        raise BenchError(
            f"{events} events of {len(rates) * CALLS * MESSAGES_A_CALL} messages: the figure means nothing"
        )
    machine = this_machine()
    median = sorted(rates)[len(rates) // 2]
    if as_json:
        figures = {
            "bench": "decode", "messages_per_s": round(median), "best_per_s": round(max(rates)),
            "goal_per_s": GOAL_PER_S, "mean_bytes": round(size), "machine": machine.as_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    lines = [
        f"decode    {median:,.0f} messages/s on one core (median of {len(rates)} passes, best {max(rates):,.0f}; "
        f"goal {GOAL_PER_S:,})",
        f"corpus    {CALLS * MESSAGES_A_CALL:,} HEP3+SIP messages of {CALLS:,} new calls in each pass, "
        f"{size:.0f} bytes each on average",
        *machine.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _corpus(calls: range) -> list[list[Datagram]]:
    now_us = time.time_ns() // 1000
    found = [Datagram(data, now_us, "192.0.2.1", 9060) for data in datagrams(calls, now_us)]
    return [found[start : start + SLICE] for start in range(0, len(found), SLICE)]

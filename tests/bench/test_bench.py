"""The benchmarks measure what they say; how fast is not a matter of tests."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from everline.bench.app import GOALS_MS, MADE_FILE
from everline.bench.corpus import datagrams, templates
from everline.bench.stock_balancer import is_installed
from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.event import Event
from everline.calls.facts import facts_of
from everline.calls.record import Outcome, record_of

NOW_US = 1_790_000_000_000_000
MACHINE = {"cpu", "cores", "python", "date", "raw_udp_per_s"}


def bench(*arguments: str) -> dict[str, Any]:  # JSON
    """Run a benchmark; its one JSON object."""
    command = [sys.executable, "-m", "everline", "bench", *arguments, "--json"]
    said = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True).stdout
    assert said.count("\n") == 1
    found: dict[str, Any] = json.loads(said)
    return found


def events_of(calls: range) -> list[Event]:
    """The corpus, decoded."""
    decoded = decode_batch(
        [Datagram(one, NOW_US, "192.0.2.1", 9060) for one in datagrams(calls, NOW_US)], DecodeRules("bench")
    )
    assert not decoded.rejected
    assert not decoded.clamped
    return list(decoded.batch.events())


def test_the_corpus_is_whole_answered_calls() -> None:
    """Nothing of it is rejected, and each call has every message."""
    events = events_of(range(300))
    by_call = Counter(one.call_id for one in events)

    assert len(by_call) == 300
    assert set(by_call.values()) == {len(templates())}
    one = next(iter(by_call))
    record = record_of(one, facts_of(event for event in events if event.call_id == one))
    assert record.outcome is Outcome.ANSWERED
    assert record.messages == len(templates())


def test_calls_of_the_corpus_differ() -> None:
    """In what a decoder could remember; messages have keys of their own."""
    events = events_of(range(20))

    assert len({one.event_key for one in events}) == len(events)
    assert len({one.from_tag for one in events}) == 20


def test_bench_decode_prints_one_object() -> None:
    """With the keys that others read."""
    figures = bench("decode", "--seconds", "0.2")

    assert set(figures) == {"bench", "messages_per_s", "best_per_s", "goal_per_s", "mean_bytes", "longer", "machine"}
    assert set(figures["machine"]) == MACHINE
    assert figures["bench"] == "decode"
    assert figures["best_per_s"] >= figures["messages_per_s"] > 0


def test_bench_ingest_prints_one_object() -> None:
    """Every run accounts for what was sent."""
    figures = bench("ingest", "--seconds", "0.5")

    assert set(figures) == {"bench", "messages_per_s", "goal_per_s", "peak_rss_bytes", "runs", "machine"}
    for run in figures["runs"]:
        assert run["sent"] == run["stored"] + run["lost"]
        assert run["peak_rss_bytes"] > 0


def test_bench_balance_prints_one_object() -> None:
    """With the keys that others read; nothing that it passed on was lost."""
    found = bench("balance", "--seconds", "0.3")

    assert found.keys() >= {"datagrams_per_s", "mirrored_per_s", "raw_per_s", "mean_bytes", "machine"}
    assert found["machine"].keys() >= MACHINE
    assert found["single"]["passes"] >= 1
    assert not is_installed() or found["stock"]["datagrams_per_s"] > 0


def test_bench_app_prints_one_object_and_keeps_its_calls(tmp_path: Path) -> None:
    """Every kind of question was asked; the next run would find the calls."""
    small = ("app", "--calls", "1000", "--streams", "3", "--asked", "6", "--data", str(tmp_path))
    first = bench(*small)

    assert first.keys() == {
        "bench", "calls", "live_calls", "streams", "figures", "peak_rss_bytes", "bytes_per_stream", "machine",
    }  # fmt: skip
    assert {one["name"] for one in first["figures"]} >= GOALS_MS.keys()
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["max_ms"] for one in first["figures"])
    assert first["calls"] == 1_000
    assert json.loads((tmp_path / MADE_FILE).read_text())["calls"] == 1_000

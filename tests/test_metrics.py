"""Metrics: each one is documented, and the text is what Prometheus reads."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.app.calls_for_test import gate_with
from tests.ingest.making import Ingest, datagram, datagrams

from everline.balance.balancer import Balancer, bound
from everline.balance.ring import Member
from everline.bus.memory import MemoryBus
from everline.cluster.keeper import Link
from everline.cluster.table import NodeTable
from everline.ingest.keepalives import Keepalives
from everline.ingest.ledger import Drop
from everline.metrics import IngestMeasured, Measured, NodeCollector, SignInCollector, metrics_text
from everline.node.balancer_metrics import BalancerCollector
from everline.node.cluster_metrics import MemberCollector
from everline.node.ingest_role import WriterCollector
from everline.store.circuit import CircuitState

DOCS = Path(__file__).parents[1] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge) \| (.+) \|$", re.MULTILINE)


def text_of(ingest: Ingest) -> str:
    """The metrics of a node with this ingest."""
    return metrics_text(
        NodeCollector(
            Measured(
                node="n1",
                ingest=IngestMeasured(
                    ledger=ingest.ledger,
                    intake=ingest.intake,
                    pipeline=ingest.pipeline,
                    connections=lambda: 2,
                    refused=lambda: 1,
                    receive_buffer_bytes=4096,
                    keepalives=Keepalives(),
                ),
                bus=MemoryBus(),
            )
        )
    )()


def cluster_text() -> str:
    """The metrics that a node of a cluster has besides, of parts that were asked nothing yet."""
    member = SimpleNamespace(
        token=lambda: 7,
        table=NodeTable("n1", [], suspect_us=1, dead_us=2, at_us=0),
        journal=SimpleNamespace(waiting=1, lost=2),
    )
    writer = SimpleNamespace(
        stored=1, spooled=2, rejected=Counter({"bad_row": 1}), retries=3, hedges=4, unreadable=0,
        spool=SimpleNamespace(size_bytes=5, records=6, damaged=0), spool_age_s=lambda _: 1.5,
        server_states=lambda: {"c1": CircuitState.CLOSED},
    )  # fmt: skip
    engines = SimpleNamespace(link=Link.CONNECTED), SimpleNamespace(trouble="")
    parts: Any = (member, *engines)  # As much of each as is asked.
    whole: Any = writer
    return metrics_text(MemberCollector(*parts), WriterCollector(whole))()


async def balancer_text() -> str:
    """The metrics of a balancer in front of one node, which has passed on something and refused something."""
    balancer = Balancer([bound("127.0.0.1", 0, buffer_bytes=65_536)], {Member("n1"): ("127.0.0.1", 9)})
    balancer.tally.rejected["not_sip"] = 1
    try:
        return metrics_text(BalancerCollector(balancer))()
    finally:
        balancer.stop()


def signed_in_text() -> str:
    """Of a node where somebody was let in."""
    gate = gate_with()
    gate.outcomes["let_in"] += 1
    return metrics_text(SignInCollector(gate))()


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


@pytest.fixture
async def ingest() -> Ingest:
    """One that has counted something of everything."""
    one = Ingest()
    one.ledger.stream_lost_bytes["garbage"] = 7
    one.ledger.kernel_drops = 3
    async with one.running():
        one.intake.offer([*datagrams(5), datagram(b"garbage"), datagram(b"\r\n")])
        await one.settled()
    return one


async def test_every_metric_is_documented_and_every_documented_one_is_there(ingest: Ingest) -> None:
    """By name and type, both ways."""
    documented = {name: kind for name, kind, _ in _ROW.findall(DOCS.read_text("utf-8"))}
    given = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for text in (text_of(ingest), cluster_text(), await balancer_text(), signed_in_text())
        for family in text_string_to_metric_families(text)
    }

    assert documented == given


def test_sign_ins_are_counted_by_how_they_ended() -> None:
    """Each outcome is there before it happens."""
    found = {labels["outcome"]: value for name, labels, value in samples(signed_in_text()) if name.endswith("_total")
             and "outcome" in labels}  # fmt: skip

    assert found == {"let_in": 1, "refused": 0, "throttled": 0, "uncountable": 0}


async def test_every_metric_says_what_it_is(ingest: Ingest) -> None:
    """In the text too."""
    assert all(family.documentation for family in text_string_to_metric_families(text_of(ingest)))


async def test_the_figures_add_up(ingest: Ingest) -> None:
    """The equation of the ledger, from outside."""
    totals: Counter[str] = Counter()
    for name, _, value in samples(text_of(ingest)):
        totals[name] += int(value)

    assert totals["everline_ingest_received_total"] == 7
    assert totals["everline_ingest_stored_total"] == 5
    assert totals["everline_ingest_rejected_total"] == 2
    assert totals["everline_ingest_pending"] == totals["everline_ingest_dropped_total"] == 0
    assert totals["everline_ingest_kernel_drops_total"] == 3


async def test_every_reason_of_a_drop_is_there_before_it_happens(ingest: Ingest) -> None:
    """An alert on a rate needs the zero that comes before; and each reason is documented."""
    reasons = {
        labels["reason"] for name, labels, _ in samples(text_of(ingest)) if name == "everline_ingest_dropped_total"
    }

    assert reasons == set(Drop)
    assert all(f"`{reason}`" in DOCS.read_text("utf-8") for reason in Drop)

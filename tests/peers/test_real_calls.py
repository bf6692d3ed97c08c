"""Real calls through real software: SIPp calls SIPp through Kamailio, and the records must be what SIPp did."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.peers.rig import KamailioRig, ScenarioResult
from tests.peers.tshark import expert_notes, sip_rows
from tests.running_node import RunningNode, running_node, until

CALLS = 220
OTHERS = 5

pytestmark = pytest.mark.peers("sipp", "kamailio", "tshark")


@dataclass(frozen=True)
class RealTraffic:
    """What SIPp did, and the node that saw it."""

    node: RunningNode
    results: list[ScenarioResult]
    records: dict[str, dict[str, Any]]

    def kinds(self) -> list[ScenarioResult]:
        """Those that are calls."""
        return [result for result in self.results if result.scenario.outcome is not None]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealTraffic]:
    """220 calls of ten kinds, with registrations and OPTIONS between them."""
    with running_node(tmp_path_factory.mktemp("real") / "data") as node:
        with KamailioRig(node.hep) as rig:
            results = rig.run_calls(CALLS, others=OTHERS)
        ended = until(lambda: _all_ended(node), within_s=15, what="every call has ended")
        yield RealTraffic(node, results, {record["call_id"]: record for record in ended})


def _all_ended(node: RunningNode) -> list[dict[str, Any]] | None:
    records = node.calls()
    is_done = len(records) >= CALLS and all(record["state"] == "ended" for record in records)
    return records if is_done and not node.ledger()["pending"] else None


def test_sipp_was_content(traffic: RealTraffic) -> None:
    """No call went wrong, so its statistics are what must be found."""
    assert sum(result.failed for result in traffic.results) == 0
    assert sum(result.calls for result in traffic.kinds()) == CALLS


def test_count_and_outcome_are_those_of_sipp(traffic: RealTraffic) -> None:
    """As many calls of each outcome as SIPp's statistics say, and no other call."""
    expected: Counter[str] = Counter()
    for result in traffic.kinds():
        expected[str(result.scenario.outcome)] += result.calls

    assert Counter(record["outcome"] for record in traffic.records.values()) == expected


def test_each_call_ended_as_its_scenario_says(traffic: RealTraffic) -> None:
    """Outcome, final status and who released, call by call."""
    expected = {
        call_id: (str(result.scenario.outcome), result.scenario.status, result.scenario.released_by)
        for result in traffic.kinds()
        for call_id in result.call_ids
    }

    found = {
        call_id: (record["outcome"], record["status"], record["released_by"])
        for call_id, record in traffic.records.items()
    }
    assert found == expected


def test_talk_times_are_the_scenarios_within_50_ms(traffic: RealTraffic) -> None:
    """From the 200 to the BYE, as SIPp paused."""
    answered = [result for result in traffic.kinds() if result.talk_s]
    wrong = {
        call_id: (traffic.records[call_id]["talk_s"], result.talk_s)
        for result in answered
        for call_id in result.call_ids
        if abs((traffic.records[call_id]["talk_s"] or 0.0) - result.talk_s) > 0.05
    }

    assert len(answered) >= 5
    assert not wrong


def test_registrations_and_options_are_kept_and_are_no_calls(traffic: RealTraffic) -> None:
    """Their messages can be looked up; no record was made of them."""
    others = [call_id for result in traffic.results if result.scenario.outcome is None for call_id in result.call_ids]

    assert len(others) == 2 * OTHERS
    assert not set(others) & set(traffic.records)
    for call_id in others:
        assert traffic.node.get(f"messages/{call_id}").json()


def test_nothing_was_lost_or_refused(traffic: RealTraffic) -> None:
    """The ledger balances and shows no loss."""
    ledger = traffic.node.ledger()

    assert (ledger["rejected"], ledger["dropped"], ledger["kernel_drops"]) == (0, 0, 0)
    assert ledger["received"] == ledger["stored"]


def test_an_exported_call_is_read_by_tshark(traffic: RealTraffic, tmp_path: Path) -> None:
    """The pcap of a call has all its messages, and none that Wireshark finds malformed."""
    call_id = next(result for result in traffic.kinds() if result.name == "held").call_ids[0]
    capture = tmp_path / "call.pcap"
    capture.write_bytes(traffic.node.get(f"pcap/{call_id}").content)

    rows = sip_rows(capture)

    assert len(rows) == traffic.records[call_id]["messages"]
    assert {row["sip.Call-ID"] for row in rows} == {call_id}
    assert not expert_notes(capture)

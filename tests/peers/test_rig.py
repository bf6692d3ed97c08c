"""The rig keeps its word: what SIPp says it did is what Kamailio reports in HEP."""

import time
from collections import defaultdict
from dataclasses import dataclass

import pytest
from tests.peers.rig import CALLS, OTHERS, HepRecorder, KamailioRig, Scenario, ScenarioResult, calls_plan
from tests.peers.rig.process import udp_port_bound
from tests.peers.rig.sipp import CALLEE_IP, CALLER_IP

from everline.wire.hep import HepPacket, decode_hep
from everline.wire.sip import SipMessage, parse_sip

pytestmark = pytest.mark.peers("sipp", "kamailio")

TOTAL = 200
EACH_OTHER = 3
MAX_WALL_S = 25.0
TICK_S = 0.002
"""SIPp counts a pause in whole milliseconds of its clock, so it may end a little early."""
SLACK_S = 0.5
"""What two busy processors may add to a pause of SIPp."""


@dataclass(frozen=True)
class Run:
    """One run of the rig: what SIPp said, what Kamailio sent, and how long it all took."""

    results: dict[str, ScenarioResult]
    seen: dict[str, list[tuple[HepPacket, SipMessage]]]
    wall_s: float
    proxy: tuple[str, int]


@pytest.fixture(scope="module")
def run() -> Run:
    """Make all kinds of calls once, for all tests of this file."""
    began = time.monotonic()
    with HepRecorder() as recorder:
        with KamailioRig(recorder.address) as rig:
            results = rig.run_calls(TOTAL, others=EACH_OTHER)
            datagrams = recorder.until_quiet()
        wall_s = time.monotonic() - began
    seen = defaultdict(list)
    for packet in map(decode_hep, datagrams):
        message = parse_sip(packet.payload)
        seen[message.call_id].append((packet, message))
    return Run({result.name: result for result in results}, seen, wall_s, rig.proxy)


def test_all_of_it_is_over_in_time_and_leaves_nothing_behind(run: Run) -> None:
    """A run is short enough for every check, and the proxy is gone with the `with` block."""
    assert run.wall_s < MAX_WALL_S
    assert not udp_port_bound(*run.proxy)


@pytest.mark.parametrize("scenario", [*CALLS, *OTHERS], ids=lambda scenario: scenario.name)
def test_every_call_goes_as_planned_by_the_word_of_sipp(run: Run, scenario: Scenario) -> None:
    """SIPp counts as many successful calls as were asked for, and no other."""
    result = run.results[scenario.name]

    assert result.calls == (calls_plan(TOTAL) | dict.fromkeys(OTHERS, EACH_OTHER))[scenario]
    assert result.failed == 0


def test_hep_tells_of_each_call_and_of_no_other(run: Run) -> None:
    """The Call-IDs that SIPp made are the Call-IDs that Kamailio saw."""
    made = [call_id for result in run.results.values() for call_id in result.call_ids]

    assert len(made) == len(set(made)) == TOTAL + len(OTHERS) * EACH_OTHER
    assert set(made) == set(run.seen)


@pytest.mark.parametrize("scenario", CALLS, ids=lambda scenario: scenario.name)
def test_a_call_ends_as_its_scenario_says(run: Run, scenario: Scenario) -> None:
    """The final response to the caller's INVITE, and who sent the BYE or CANCEL first."""
    for call_id in run.results[scenario.name].call_ids:
        finals = {
            message.status
            for packet, message in run.seen[call_id]
            if message.method == "INVITE" and message.status >= 200 and packet.dst_ip == CALLER_IP
        }
        released_from = {
            packet.src_ip
            for packet, message in run.seen[call_id]
            if message.method in {"BYE", "CANCEL"} and message.status == 0 and packet.src_ip != run.proxy[0]
        }

        assert finals == ({scenario.status, 407} if scenario.challenged else {scenario.status})
        assert released_from == {
            "caller": {CALLER_IP}, "callee": {CALLEE_IP}, None: set(),
        }[scenario.released_by]  # fmt: skip


@pytest.mark.parametrize("scenario", [one for one in CALLS if one.talk_ms], ids=lambda scenario: scenario.name)
def test_the_talk_lasts_as_long_as_its_scenario_says(run: Run, scenario: Scenario) -> None:
    """From the answer at the callee's side to the BYE at the side that sends it, as Kamailio timed them."""
    result = run.results[scenario.name]
    for call_id in result.call_ids:
        answered_us = min(
            packet.captured_us
            for packet, message in run.seen[call_id]
            if message.method == "INVITE" and message.status == 200
        )
        bye_us = min(packet.captured_us for packet, message in run.seen[call_id] if message.method == "BYE")

        assert result.talk_s - TICK_S < (bye_us - answered_us) / 1e6 < result.talk_s + SLACK_S

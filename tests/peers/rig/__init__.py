"""Kamailio and SIPp at work on loopback: real calls with a known end, reported in HEP by software that is not ours."""

from tests.peers.rig.kamailio import KamailioRig
from tests.peers.rig.recorder import HepRecorder
from tests.peers.rig.scenario import CALLS, OTHERS, Scenario, calls_plan
from tests.peers.rig.sipp import ScenarioResult

__all__ = ["CALLS", "OTHERS", "HepRecorder", "KamailioRig", "Scenario", "ScenarioResult", "calls_plan"]

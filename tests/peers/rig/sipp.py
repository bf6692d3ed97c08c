"""SIPp as caller and callee, and the statistics it keeps."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tests.peers.rig.process import PeerFailedError, PeerProcess, free_udp_port, udp_port_bound
from tests.peers.rig.scenario import NUMBERS, Scenario

CALLER_IP: Final = "127.0.0.2"
CALLEE_IP: Final = "127.0.0.3"
USER: Final = "everline"
PASSWORD: Final = "fictional-password"

_SCRIPTS: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "scenarios"), undefined=StrictUndefined, autoescape=True
)


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """
    What SIPp says it did.

    Attributes:
        calls: Calls that went through the whole script.
        failed: Calls that did not.
        retransmissions: Messages sent once more by the caller.
        call_ids: Of all calls made, in the order they began.
    """

    scenario: Scenario
    calls: int
    failed: int
    retransmissions: int
    call_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def talk_s(self) -> float:
        return self.scenario.talk_ms / 1000


class Callee:
    """A SIPp that takes the calls of one scenario."""

    def __init__(self, scenario: Scenario, *, directory: Path) -> None:
        self.scenario = scenario
        self.port = free_udp_port(CALLEE_IP)
        script = _write_script(scenario, scenario.callee_script, directory)
        command = ["sipp", "-sf", script, *_endpoint(CALLEE_IP, self.port)]
        self.process = PeerProcess(f"callee-of-{scenario.name}", command, directory=directory)

    def until_ready(self) -> None:
        self.process.until(lambda: udp_port_bound(CALLEE_IP, self.port))


class Caller:
    """A SIPp that makes a number of calls of one scenario and ends."""

    def __init__(
        self, scenario: Scenario, calls: int, *, spread_s: float, proxy: tuple[str, int], directory: Path
    ) -> None:
        self._scenario = scenario
        run = f"{scenario.name}-{len(list(directory.glob(f'{scenario.name}-*.csv')))}"
        numbers = directory / f"numbers-of-{scenario.name}.csv"
        rows = [f"{scenario.caller}{last:02};{scenario.callee}{last:02}" for last in range(NUMBERS)]
        numbers.write_text("\n".join(["SEQUENTIAL", *rows, ""]))
        self._statistics = directory / f"{run}.csv"
        self._statistics.touch()
        script = _write_script(scenario, scenario.caller_script, directory)
        command = [
            "sipp", f"{proxy[0]}:{proxy[1]}", "-sf", script, *_endpoint(CALLER_IP, free_udp_port(CALLER_IP)),
            "-inf", str(numbers), "-cid_str", f"{scenario.name}-%u-%p@%s", "-auth_uri", "voice.example",
            "-m", str(calls), "-r", str(calls), "-rp", str(int(spread_s * 1000)), "-l", str(calls),
            "-trace_stat", "-stf", str(self._statistics), "-trace_err", "-error_file", f"{run}.errors",
        ]  # fmt: skip
        self.process = PeerProcess(f"caller-of-{run}", command, directory=directory)

    def result(self, deadline: float) -> ScenarioResult:
        """
        Wait for the end and read the statistics.

        Raises:
            PeerFailedError: It did not end in time, or could not start.
        """
        code = self.process.exit_code(deadline)
        if code not in {0, 1}:  # 1: at least one call failed, which is for the test to judge.
            raise PeerFailedError(self.process.name, f"ended with code {code}", self.process.log())
        last = _last_row(self._statistics)
        created = int(last["TotalCallCreated"])
        call_ids = tuple(
            f"{self._scenario.name}-{call}-{self.process.pid}@{CALLER_IP}" for call in range(1, created + 1)
        )
        return ScenarioResult(
            self._scenario,
            calls=int(last["SuccessfulCall(C)"]),
            failed=int(last["FailedCall(C)"]),
            retransmissions=int(last["Retransmissions(C)"]),
            call_ids=call_ids,
        )


def _endpoint(ip: str, port: int) -> list[str]:
    """Bind to this address alone; the control port would else be the same for all."""
    return ["-i", ip, "-bind_local", "-p", str(port), "-ci", ip, "-cp", str(free_udp_port(ip)), "-nostdin"]


def _write_script(scenario: Scenario, script: str, directory: Path) -> str:
    path = directory / f"{scenario.name}-{script}.xml"
    path.write_text(_SCRIPTS.get_template(f"{script}.xml").render(_values(scenario)))
    return str(path)


def _values(scenario: Scenario) -> Mapping[str, object]:
    return {
        "ring_ms": scenario.ring_ms, "ring_line": scenario.ring_line, "talk_ms": scenario.talk_ms,
        "final_line": scenario.final_line, "status": scenario.status, "reinvites": scenario.reinvites,
        "user": USER, "password": PASSWORD,
    }  # fmt: skip


def _last_row(statistics: Path) -> Mapping[str, str]:
    with statistics.open(newline="") as rows:
        *_, last = csv.DictReader(rows, delimiter=";")
    return last

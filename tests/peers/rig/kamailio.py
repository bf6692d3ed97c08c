"""Kamailio as the proxy between SIPp and SIPp, with `siptrace` reporting in HEP."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from jinja2 import Template
from tests.peers.rig.process import PeerProcess, free_udp_port, udp_port_bound
from tests.peers.rig.scenario import CALLS, OTHERS, Scenario, calls_plan
from tests.peers.rig.sipp import CALLEE_IP, PASSWORD, USER, Callee, Caller, ScenarioResult

PROXY_IP: Final = "127.0.0.1"
CAPTURE_ID: Final = 77
_LAST_CALL_S: Final = 20.0


class KamailioRig:
    """
    A proxy and the callees behind it, for the length of a `with` block; callers come with each run.

    Args:
        hep_target: Where Kamailio sends what it sees.
        calls: The kinds of call the callees are ready for.
    """

    def __init__(self, hep_target: tuple[str, int], calls: Sequence[Scenario] = CALLS) -> None:
        self._hep_target = hep_target
        self._calls = calls
        self._stack = ExitStack()
        self.proxy = (PROXY_IP, free_udp_port(PROXY_IP))

    def run_calls(self, total: int = 200, *, others: int = 0) -> list[ScenarioResult]:
        """Make `total` calls of all kinds, and `others` registrations and OPTIONS each; about six seconds."""
        return self.run(calls_plan(total, self._calls) | dict.fromkeys(OTHERS, others))

    def run(self, plan: Mapping[Scenario, int], *, spread_s: float = 4.0) -> list[ScenarioResult]:
        """
        Play scenarios at the same time, each as often as the plan says.

        Args:
            plan: How many of which.
            spread_s: The calls begin within this time.

        Raises:
            PeerFailedError: A program did not start, or did not end 20 s after that time.
        """
        deadline = time.monotonic() + spread_s + _LAST_CALL_S
        with ExitStack() as running:
            callers = []
            for scenario, calls in plan.items():
                if calls:
                    caller = Caller(scenario, calls, spread_s=spread_s, proxy=self.proxy, directory=self._directory)
                    running.enter_context(caller.process)
                    callers.append(caller)
            return [caller.result(deadline) for caller in callers]

    def __enter__(self) -> Self:
        with self._stack:
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="everline-rig-")))
            callees = [self._start_callee(scenario) for scenario in self._calls]
            for callee in callees:
                callee.until_ready()
            self._start_proxy(callees)
            self._stack = self._stack.pop_all()  # Only now is it kept: a failed start leaves nothing behind.
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _start_callee(self, scenario: Scenario) -> Callee:
        callee = Callee(scenario, directory=self._directory)
        self._stack.enter_context(callee.process)
        return callee

    def _start_proxy(self, callees: list[Callee]) -> None:
        config = self._directory / "kamailio.cfg"
        config.write_text(self._config(callees))
        command = [
            "kamailio", "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8",
            "-P", str(self._directory / "kamailio.pid"), "-Y", str(self._directory),
        ]  # fmt: skip
        kamailio = self._stack.enter_context(PeerProcess("kamailio", command, directory=self._directory))
        kamailio.until(lambda: udp_port_bound(*self.proxy))

    def _config(self, callees: list[Callee]) -> str:
        template = Template(Path(__file__).with_name("kamailio.cfg.j2").read_text())
        trunks = [
            {"prefix": one.scenario.callee, "challenged": one.scenario.challenged, "ip": CALLEE_IP, "port": one.port}
            for one in callees
        ]
        text: str = template.render(
            listen_ip=self.proxy[0], listen_port=self.proxy[1],
            hep_ip=self._hep_target[0], hep_port=self._hep_target[1], capture_id=CAPTURE_ID,
            user=USER, password=PASSWORD, trunks=trunks,
        )  # fmt: skip
        return text

"""
Make the recordings that are shipped and tested with: `python -m tests.peers.rig.capture`.

Needs Kamailio, SIPp, sngrep, and tcpdump with the right to capture on the loopback interface.
"""

import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.peers.rig.kamailio import KamailioRig
from tests.peers.rig.process import PeerProcess
from tests.peers.rig.recorder import HepRecorder, write_records
from tests.peers.rig.scenario import CALLS, OTHERS, Scenario, calls_plan
from tests.peers.rig.sipp import ScenarioResult

_ROOT: Final = Path(__file__).parents[3]
SAMPLES: Final = _ROOT / "tests" / "samples"
DEMO: Final = _ROOT / "src" / "everline" / "demo" / "traffic.hep"
_SNGREP_S: Final = 10.0


def capture_demo() -> None:
    """Eighty calls within a minute, each as long as a hurried person would make it."""
    calls = [_slowed(scenario) for scenario in CALLS]
    with HepRecorder() as recorder, KamailioRig(recorder.address, calls) as rig:
        results = rig.run(calls_plan(80, calls) | dict.fromkeys(OTHERS, 6), spread_s=60)
        write_records(DEMO, recorder.until_quiet())
    _report(DEMO, results, recorder.datagrams)


def capture_mixed() -> None:
    """The same few calls three times: from Kamailio in HEP, from the wire as pcap, and that pcap through sngrep."""
    pcap = SAMPLES / "sip-mixed.pcap"
    with HepRecorder() as recorder, KamailioRig(recorder.address) as rig:
        with _tcpdump(rig.proxy[1], recorder.address[1], pcap):
            results = rig.run_calls(30, others=2)
            datagrams = recorder.until_quiet()
        write_records(SAMPLES / "kamailio-mixed.hep", datagrams)
    _report(SAMPLES / "kamailio-mixed.hep", results, datagrams)
    _capture_sngrep(pcap, results)


def _capture_sngrep(pcap: Path, results: Sequence[ScenarioResult]) -> None:
    """Let sngrep read the capture file and send what it finds in HEP."""
    with tempfile.TemporaryDirectory() as directory, HepRecorder() as recorder:
        command = ["sngrep", "-F", "-N", "-q", "-I", str(pcap), "-H", f"udp:127.0.0.1:{recorder.address[1]}"]
        with PeerProcess("sngrep", command, directory=Path(directory)):
            datagrams = recorder.until_quiet(2.0)
    write_records(SAMPLES / "sngrep.hep", datagrams)
    _report(SAMPLES / "sngrep.hep", results, datagrams)


@contextmanager
def _tcpdump(sip_port: int, hep_port: int, path: Path) -> Iterator[None]:
    """Capture what passes the proxy; its HEP leaves from the SIP port and is left out."""
    sip_only = f"udp port {sip_port} and not port {hep_port}"
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "lo.pcap"
        # -Z: started by root, tcpdump would become a user who may not write here.
        command = ["tcpdump", "-i", "lo", "-n", "-s", "0", "-U", "--immediate-mode", "-Z", "root", "-w", str(copy)]
        with PeerProcess("tcpdump", [*command, sip_only], directory=Path(directory)) as tcpdump:
            tcpdump.until(lambda: "listening on" in tcpdump.log())
            yield
            tcpdump.stop(signal.SIGINT)
        path.write_bytes(copy.read_bytes())


def _slowed(scenario: Scenario) -> Scenario:
    return replace(scenario, talk_ms=scenario.talk_ms * 12, ring_ms=scenario.ring_ms * 8)


def _report(path: Path, results: Sequence[ScenarioResult], datagrams: Sequence[bytes]) -> None:
    calls = Counter({result.name: result.calls for result in results})
    failed = sum(result.failed for result in results)
    print(f"{path.name}: {len(datagrams)} datagrams, {path.stat().st_size} bytes, {failed} failed, {dict(calls)}")


if __name__ == "__main__":
    capture_mixed()
    capture_demo()

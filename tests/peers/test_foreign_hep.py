"""HEP between us and others: what we encode is read by tshark and sngrep, what sngrep sends is read by us."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any

import pytest
from tests.peers.rig.process import PeerProcess, free_udp_port, udp_bytes_waiting, udp_port_bound
from tests.peers.tshark import expert_notes, rows, sip_rows, with_hep3
from tests.running_node import RunningNode, running_node

from everline.replay.source import open_capture
from everline.wire.hep import encode_hep3
from everline.wire.packet import IPPROTO_UDP, CapturedPacket
from everline.wire.pcap import write_pcap

CAPTURE = Path(__file__).parents[1] / "samples" / "sip-mixed.pcap"


@pytest.fixture(scope="module")
def messages() -> list[CapturedPacket]:
    """SIP that was captured from SIPp and Kamailio."""
    return list(open_capture(CAPTURE).messages())


def _as_hep(messages: Sequence[CapturedPacket]) -> Iterator[bytes]:
    for message in messages:
        yield encode_hep3(message, capture_id=7, node_name=b"sbc-1", auth_key=b"key", correlation_id=b"id")


def _capture_of(datagrams: Iterator[bytes], path: Path) -> Path:
    """A capture of HEP datagrams on their way to port 9060."""
    packets = [
        CapturedPacket(index, IPPROTO_UDP, "192.0.2.1", 40_000, "192.0.2.9", 9060, data)
        for index, data in enumerate(datagrams, start=1)
    ]
    path.write_bytes(b"".join(write_pcap(packets)))
    return path


@pytest.mark.peers("tshark")
def test_tshark_dissects_what_we_encode(messages: list[CapturedPacket], tmp_path: Path) -> None:
    """Every field is where the specification puts it, nothing is malformed, and the SIP inside is SIP."""
    ipv6 = CapturedPacket(
        1_700_000_000_000_001, IPPROTO_UDP, "2001:db8::1", 5060, "2001:db8::2", 5061, messages[0].payload
    )
    capture = _capture_of(_as_hep([*messages, ipv6]), tmp_path / "hep.pcap")
    fields = [
        f"hep3.{name}"
        for name in (
            "ipv4_source", "ipv4_target", "ipv6_source", "ipv6_target", "source_port", "target_port",
            "seconds", "microseconds", "protocol", "capture_id", "node_name", "auth_key", "correlation_id",
        )
    ]  # fmt: skip

    found = rows(capture, [*fields, "sip.Call-ID"], only="hep3", options=with_hep3())

    assert len(found) == len(messages) + 1
    assert not expert_notes(capture, options=with_hep3())
    for row, message in zip(found, [*messages, ipv6], strict=True):
        source = row["hep3.ipv4_source"] or row["hep3.ipv6_source"]
        target = row["hep3.ipv4_target"] or row["hep3.ipv6_target"]
        at_us = int(row["hep3.seconds"]) * 1_000_000 + int(row["hep3.microseconds"])
        assert (source, int(row["hep3.source_port"])) == (message.src_ip, message.src_port)
        assert (target, int(row["hep3.target_port"])) == (message.dst_ip, message.dst_port)
        assert at_us == message.captured_us
        assert (row["hep3.protocol"], row["hep3.capture_id"]) == ("1", "7")
        assert (row["hep3.node_name"], row["hep3.auth_key"], row["hep3.correlation_id"]) == ("sbc-1", "key", "id")
        assert row["sip.Call-ID"].encode() in message.payload


@pytest.mark.peers("sngrep", "tshark")
def test_sngrep_reads_what_we_encode(messages: list[CapturedPacket], tmp_path: Path) -> None:
    """Sngrep as a HEP server takes what we send and writes the SIP in it: the same messages, none malformed."""
    port, written = free_udp_port("127.0.0.1"), tmp_path / "sip.pcap"
    command = ["sngrep", "-F", "-N", "-L", f"udp:127.0.0.1:{port}", "-O", str(written)]

    with PeerProcess("sngrep", command, directory=tmp_path) as sngrep, socket(AF_INET, SOCK_DGRAM) as sender:
        sngrep.until(lambda: udp_port_bound("127.0.0.1", port))
        for index, message in enumerate(messages):
            if index % 20 == 0:  # Its socket has a small buffer.
                sngrep.until(lambda: not udp_bytes_waiting(port))
            sender.sendto(encode_hep3(message, capture_id=7), ("127.0.0.1", port))
        sngrep.until(lambda: written.stat().st_size >= CAPTURE.stat().st_size)
        sngrep.stop()

    assert sip_rows(written) == sip_rows(CAPTURE)
    assert not expert_notes(written)


@pytest.mark.peers("sngrep")
def test_a_capture_through_sngrep_gives_the_records_of_our_own_replay(tmp_path: Path) -> None:
    """Sngrep sends a capture as HEP to one node, `everline replay` sends it to another: the records are equal."""
    with running_node(tmp_path / "theirs") as theirs, running_node(tmp_path / "ours") as ours:
        sent = len(list(open_capture(CAPTURE).messages()))
        command = ["sngrep", "-F", "-N", "-q", "-I", str(CAPTURE), "-H", f"udp:{theirs.hep[0]}:{theirs.hep[1]}"]
        with PeerProcess("sngrep", command, directory=tmp_path):
            theirs.until_received(sent)
        replay = [
            sys.executable,
            "-m",
            "everline",
            "replay",
            str(CAPTURE),
            "--to",
            f"udp://{ours.hep[0]}:{ours.hep[1]}",
        ]
        subprocess.run(replay, check=True, capture_output=True, timeout=60)
        ours.until_received(sent)

        assert _comparable(theirs) == _comparable(ours)
        assert len(_comparable(ours)) >= 20


def _comparable(node: RunningNode) -> dict[str, dict[str, Any]]:
    """The records by Call-ID, without who captured them: that differs, as it should."""
    return {
        record["call_id"]: {name: value for name, value in record.items() if name != "agents"}
        for record in node.calls()
    }

"""Send the messages of a capture to a collector at a pace."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from everline.errors import EverlineError
from everline.replay.plan import Pace
from everline.replay.retime import retimed
from everline.replay.source import CaptureSource
from everline.replay.target import Sender
from everline.wire.hep import HepDecodeError, encode_hep3
from everline.wire.packet import CapturedPacket

SLACK_S: Final = 0.002
"""So far ahead of time we send rather than sleep: a shorter sleep costs more than it is worth."""
PROGRESS_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is written into the HEP packets made of captured SIP; HEP datagrams of the capture keep their own."""

    capture_id: int = 0
    auth_key: bytes = b""
    node_name: bytes = b""


@dataclass(slots=True)
class Summary:
    """
    What became of a capture.

    Attributes:
        sent: Messages sent.
        skipped: What was not sent, by reason.
        seconds: How long it took.
        fault: Why it ended before the end of the capture, or None.
    """

    sent: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    fault: EverlineError | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, and a way to let them pass."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


def replay(
    source: CaptureSource,
    connect: Callable[[], Sender],
    pace: Pace,
    stamp: Stamp,
    *,
    offset_us: int,
    clock: Clock,
    on_progress: Callable[[int], None],
) -> Summary:
    """
    Send every message; what was read before a damage, or sent before a refusal, is in the summary with the fault.

    Args:
        source: The capture.
        connect: Opens the way to the collector.
        pace: When to send what.
        stamp: What to write into HEP packets that we make.
        offset_us: Added to every capture time.
        clock: How time passes.
        on_progress: Told now and then how many messages were sent.
    """
    summary = Summary()
    started = clock.now()

    def send_all(sender: Sender) -> None:
        for message in source.messages():
            _wait(pace.due_s(message.captured_us), clock, started)
            _send(_datagram(source, message, stamp, offset_us), sender, summary)
            if summary.sent % PROGRESS_EVERY == 0:
                on_progress(summary.sent)

    try:
        _with_sender(connect, send_all)
    except EverlineError as fault:
        summary.fault = fault
    on_progress(summary.sent)
    summary.fault, summary.seconds = summary.fault or source.damage, clock.now() - started
    summary.skipped.update(source.skipped)
    return summary


def _with_sender(connect: Callable[[], Sender], send_all: Callable[[Sender], None]) -> None:
    """Connect, send, and close in order; after a failure, leave at once."""
    sender = connect()
    try:
        send_all(sender)
    except BaseException:  # Ctrl-C too: the socket is ours.
        sender.abort()
        raise
    sender.close()


def _wait(due_s: float, clock: Clock, started: float) -> None:
    early_s = started + due_s - clock.now()
    if early_s > SLACK_S:
        clock.sleep(early_s)


def _send(datagram: bytes | None, sender: Sender, summary: Summary) -> None:
    if datagram is None:
        summary.skipped["too-large-for-hep"] += 1
    elif sender.send(datagram):
        summary.sent += 1
    else:
        summary.skipped["too-large-for-udp"] += 1


def _datagram(source: CaptureSource, message: CapturedPacket, stamp: Stamp, offset_us: int) -> bytes | None:
    """The HEP datagram of a message; None if it does not fit into one."""
    if source.is_hep_message(message):
        return retimed(message.payload, offset_us) if offset_us else message.payload
    ends = (message.src_ip, message.src_port, message.dst_ip, message.dst_port)
    moved = CapturedPacket(max(message.captured_us + offset_us, 0), message.ip_proto, *ends, message.payload)
    try:
        return encode_hep3(moved, capture_id=stamp.capture_id, auth_key=stamp.auth_key, node_name=stamp.node_name)
    except HepDecodeError:
        return None

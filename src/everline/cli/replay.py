"""`everline replay`: send a capture file to a node."""

import json
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from everline.errors import EverlineError
from everline.replay.errors import CaptureInputError
from everline.replay.plan import SAFE_RATE_PER_S, Pace, shift_to
from everline.replay.run import Clock, Stamp, Summary, replay
from everline.replay.source import CaptureSource, open_capture
from everline.replay.target import open_sender, parse_target

NODE_NAME: Final = b"everline-replay"


class ReplayError(EverlineError):
    """The capture was not sent to its end."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="replay")(command)


def command(
    file: Annotated[Path, typer.Argument(help="A .pcap, .pcapng or .hep file.")],
    *,
    to: Annotated[str, typer.Option(metavar="URL", help="udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")],
    speed: Annotated[
        float | None, typer.Option(min=0.001, max=1e6, help="1 keeps the captured timing, 10 is ten times as fast.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, max=1e7, help="Most messages a second; over UDP 20000 unless given.")
    ] = None,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all capture times so that the last message is now.")
    ] = False,
    capture_id: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="HEP capture agent number.")] = 0,
    auth_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the HEP authentication key.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the CA that signed the node's certificate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as one JSON object on stdout.")] = False,
) -> None:
    """Send the SIP and HEP messages of a capture to a node, as its capture agent would."""
    target = parse_target(to)
    stamp = Stamp(capture_id=capture_id, auth_key=_key(auth_key_file), node_name=NODE_NAME)
    source = open_capture(file)
    with ExitStack() as stack:
        is_watched = sys.stderr.isatty()
        count, last_us = _scan(source) if shift_to_now or is_watched else (0, 0)
        summary = replay(
            source,
            partial(open_sender, target, tls_ca=tls_ca),
            Pace(speed=speed, rate_per_s=rate or (SAFE_RATE_PER_S if target.scheme == "udp" else None)),
            stamp,
            offset_us=shift_to(last_us, time.time_ns() // 1000) if shift_to_now else 0,
            clock=Clock(time.monotonic, time.sleep),
            on_progress=_ProgressBar(stack, count) if is_watched else _unwatched,
        )
    _report(summary, file, as_json=as_json, to=str(target))


def _scan(source: CaptureSource) -> tuple[int, int]:
    """How many messages there are, and the latest capture time."""
    count = last_us = 0
    for message in source.messages():
        count += 1
        last_us = max(last_us, message.captured_us)
    return count, last_us


def _report(summary: Summary, file: Path, *, as_json: bool, to: str) -> None:
    fault = summary.fault
    if as_json:
        parts = {"file": str(file), "to": to, "sent": summary.sent, "skipped": dict(summary.skipped)}
        print(json.dumps(parts | {"seconds": round(summary.seconds, 3), "error": str(fault) if fault else None}))
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(summary.skipped.items()))
    sent = f"{summary.sent} sent to {to} in {summary.seconds:.1f} s; skipped: {reasons or 'nothing'}"
    if fault is not None:
        error = ReplayError(f"{file}: {fault} ({summary.sent} messages were sent)")
        error.exit_code = fault.exit_code
        raise error
    if not summary.sent:
        raise CaptureInputError(f"{file} holds no SIP and no HEP that can be sent; skipped: {reasons or 'nothing'}")
    if not as_json:
        print(sent)


def _key(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        key = file.read_bytes().partition(b"\n")[0].strip()
    except OSError as error:
        raise CaptureInputError(f"--auth-key-file {file} cannot be read: {error.strerror}") from error
    if not key:
        raise CaptureInputError(f"--auth-key-file {file} is empty: its first line must be the key")
    return key


def _unwatched(_sent: int) -> None:
    """Nobody looks: stderr is not a terminal."""


class _ProgressBar:
    """A bar on the terminal while a capture is sent."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import Progress  # noqa: PLC0415

        self._progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        self._task = self._progress.add_task("sending", total=count)

    def __call__(self, sent: int) -> None:
        self._progress.update(self._task, completed=sent)

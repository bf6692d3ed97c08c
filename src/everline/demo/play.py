"""Play the shipped capture into a running node, with the RTCP that its calls could have had."""

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import Final

from everline.config import Endpoint
from everline.demo.media import made_up_reports
from everline.errors import EverlineError
from everline.replay.plan import Pace, shift_to
from everline.replay.run import Clock, Stamp, replay
from everline.replay.source import CaptureSource, open_capture
from everline.replay.target import Target, open_sender

log = logging.getLogger(__name__)

SAMPLE: Final = Path(__file__).parent / "traffic.hep"
"""HEPv3 of SIPp calls through Kamailio, see tests/samples/README.md."""


async def play_sample(hep: Endpoint) -> None:
    """Send the sample over UDP, its times shifted so that it ends now."""
    try:
        sent = await asyncio.to_thread(_play, hep)
    except EverlineError as fault:
        log.warning("demo.failed", extra={"why": str(fault)})
        return
    log.info("demo.played", extra={"messages": sent, "to": str(hep)})


def sample_with_media() -> CaptureSource:
    """The sample, and RTCP for its calls behind it."""
    signalling = [message.payload for message in open_capture(SAMPLE).messages()]
    records = (len(one).to_bytes(4, "big") + one for one in (*signalling, *made_up_reports(signalling)))
    return CaptureSource(b"".join(records), is_hep_file=True)


def _play(hep: Endpoint) -> int:
    source = sample_with_media()
    last_us = max(message.captured_us for message in source.messages())
    summary = replay(
        source,
        partial(open_sender, Target("udp", hep)),
        Pace(),
        Stamp(),
        offset_us=shift_to(last_us, time.time_ns() // 1000),
        clock=Clock(time.monotonic, time.sleep),
        on_progress=_nobody_watches,
    )
    if summary.fault:
        raise summary.fault
    return summary.sent


def _nobody_watches(_sent: int) -> None:
    """Progress is of no interest: it takes less than a second."""

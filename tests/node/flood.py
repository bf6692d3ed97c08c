"""Agents that send more than anybody can take."""

import socket
import time
from collections.abc import Sequence
from itertools import cycle


def flood(to: tuple[str, int], messages: Sequence[bytes], *, seconds: float, per_s: float = 1e9) -> int:
    """Send the same messages over and over; how many were sent. Blocks: give it a thread."""
    sent, start = 0, time.monotonic()
    endless = cycle(messages)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.connect(to)
        while (elapsed_s := time.monotonic() - start) < seconds:
            if sent > elapsed_s * per_s:
                time.sleep(0.001)
                continue
            for _ in range(50):
                agent.send(next(endless))
            sent += 50
    return sent


def send_all(to: tuple[str, int], messages: Sequence[bytes], *, per_s: float = 5_000) -> int:
    """Send each message once, slowly enough for any node; how many."""
    start = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.connect(to)
        for index, data in enumerate(messages):
            if index % 50 == 0 and (early_s := start + index / per_s - time.monotonic()) > 0:
                time.sleep(early_s)
            agent.send(data)
    return len(messages)

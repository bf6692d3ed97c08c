"""Calls for the tests of a cluster: each test has numbers of its own, so that none finds those of another."""

import json
import time
from collections import Counter
from itertools import count
from typing import Any, Final

from tests.node.flood import send_all
from tests.rigs.cluster import ClusterRig, until

from everline.bench.corpus import datagrams
from everline.bus.scripts import EVENTS as STREAM

BALANCED: Final = "everline_balance_received_total"
RECEIVED: Final = "everline_ingest_received_total"
_numbers: Final = count(1_000, 1_000)
RINGING: Final = 6
ANSWERED: Final = 8
WHOLE: Final = 16
"""How many of a call's messages, over its two hops, there are until it rings, is answered, has ended."""


class Calls:
    """
    Some calls that nobody has made yet.

    Args:
        ago_s: When they began, in seconds before now.
        until: How many messages of each are sent.
    """

    def __init__(self, calls: int, *, ago_s: float = 1.0, until: int = WHOLE) -> None:
        first = next(_numbers)
        self.at_us = time.time_ns() // 1000 - int(ago_s * 1e6)
        each = [list(datagrams(range(one, one + 1), self.at_us))[:until] for one in range(first, first + calls)]
        self.messages = [message for one in each for message in one]
        self.ids = frozenset(f"{one:08d}-7f3a@192.0.2.10" for one in range(first, first + calls))
        self._each = until

    def send(self, rig: ClusterRig, *nodes: str) -> None:
        """To each of some ingest nodes; returns when they have received all."""
        for node in nodes:
            wanted = rig.metric(node, RECEIVED) + len(self.messages)
            send_all(("127.0.0.1", rig.port(node, "hep_port")), self.messages)
            until(lambda node=node, wanted=wanted: rig.metric(node, RECEIVED) >= wanted, f"{node} has received all")  # type: ignore[misc]

    def balance(self, rig: ClusterRig, balancer: str) -> None:
        """To a balancer; returns when it has received all."""
        wanted = rig.metric(balancer, BALANCED) + len(self.messages)
        send_all(("127.0.0.1", rig.port(balancer, "hep_port")), self.messages)
        until(lambda: rig.metric(balancer, BALANCED) >= wanted, f"{balancer} has received all")

    def until_known(self, rig: ClusterRig, app: str, *, messages: int = 0) -> dict[str, dict[str, Any]]:
        """These calls as an app node has them, once all their messages (or so many of each) are stored."""
        each = messages or self._each

        def known() -> dict[str, dict[str, Any]]:
            found = {key: one for key, one in rig.calls(app).items() if key in self.ids}
            whole = len(found) == len(self.ids) and all(one["messages"] == each for one in found.values())
            return found if whole else {}

        return until(known, f"{app} has all {each} messages of {sorted(self.ids)}")


def told(rig: ClusterRig, calls: Calls, *, after: str) -> Counter[tuple[str, str]]:
    """How often each step of these calls was told since a position of the stream, by Call-ID and step."""
    entries = rig.redis(rig.primary(), "XRANGE", STREAM, f"({after}", "+")
    messages = (json.loads(fields["t"]) for _, fields in entries)
    return Counter((one["call_id"], one["event_type"]) for one in messages if one["call_id"] in calls.ids)

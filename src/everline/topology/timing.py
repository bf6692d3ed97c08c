"""Timers that contradict each other."""

from collections.abc import Iterator
from typing import Final

from everline.topology.errors import TopologyFault
from everline.topology.model import Timers

_RULES: Final = (
    ("suspect_ms", 2, "heartbeat_ms", "one lost heartbeat would make a node suspect"),
    ("keeper_session_ms", 2, "connect_ms", "a session would end before another Keeper member can be reached"),
    ("clickhouse_session_ms", 2, "connect_ms", "a session would end before another Keeper member can be reached"),
    ("redis_failover_ms", 2, "redis_down_after_ms", "a failover would be given up while it is being agreed on"),
)
"""`larger` is at least so many times `smaller`, because."""

_ORDERS: Final = (
    ("suspect_ms", "dead_ms", "a node is suspected before it counts as dead"),
    ("connect_ms", "dead_ms", "a peer that accepts slowly would count as dead"),
    ("connect_ms", "insert_ms", "no time would be left to store a batch once connected"),
    ("hedge_ms", "insert_ms", "no other server would be asked before the first is given up"),
    ("connect_ms", "query_ms", "no time would be left for an answer once connected"),
)
"""`smaller` is below `larger`, because."""


def contradictions(timers: Timers) -> Iterator[TopologyFault]:
    """Every fault of this kind."""
    value: dict[str, int] = timers.model_dump()
    for larger, times, smaller, why in _RULES:
        if value[larger] < times * value[smaller]:
            need = f"need at least {times} x {smaller} ({times * value[smaller]})"
            yield TopologyFault(f"timers.{larger}", f"{value[larger]} is too short, {need}: {why}")
    for smaller, larger, why in _ORDERS:
        if value[smaller] >= value[larger]:
            problem = f"{value[smaller]} is too long, need less than {larger} ({value[larger]}): {why}"
            yield TopologyFault(f"timers.{smaller}", problem)

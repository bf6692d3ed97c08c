"""A balancer of a cluster: passes packets on to their ingest nodes. It needs neither Redis nor ClickHouse for that."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Final

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.app.vitals import create_vitals_app
from everline.balance.balancer import Balancer, bound
from everline.cluster.beat import Health
from everline.cluster.entry import Entry
from everline.cluster.leader import Duty
from everline.cluster.wiring import balance_members, keepalive_key, ready_addresses
from everline.ingest.udp import ListenError
from everline.node.balancer_metrics import BalancerCollector
from everline.node.common import Common, Vitals
from everline.topology.model import BalancerOptions

QUIET_S: Final = 1.5
"""A balancer that stops waits until nothing has come for so long: the VIP is at another one by then."""
LONGEST_QUIET_S: Final = 4.0
LOOK_S: Final = 0.1
MOST_SHARES: Final = 100
"""Told in a heartbeat, which has a bound; of more ingest nodes the metrics tell."""


class BalancerRole:
    """
    Sends each call to the ingest nodes that own it. It stands for no election.

    It listens at its own address and at the VIP that may come to its host, before it comes.

    Raises:
        ListenError: An address can't be had.
    """

    duties: Sequence[Duty] = ()

    def __init__(self, common: Common, note: Callable[[Entry], None]) -> None:  # noqa: ARG002 - the shape of all roles
        self._common = common
        topology = common.topology
        with ExitStack() as stack:
            socks = [
                stack.enter_context(self._listening(host, is_moving=is_moving))
                for host, is_moving in ((common.node.address, False), (topology.vip_of(common.node), True))
                if host
            ]
            self._balancer = Balancer(
                socks,
                balance_members(topology),
                key=keepalive_key(common.secrets),
                ready=ready_addresses(topology),
                mirror=topology.balance.mirror,
                key_rate_per_s=topology.balance.key_rate_per_s,
            )
            stack.pop_all()

    def collectors(self) -> Sequence[Collector]:
        """What it counts."""
        return [BalancerCollector(self._balancer)]

    def application(self, vitals: Vitals) -> ASGIApp:
        """What machines ask, keepalived among them."""
        return create_vitals_app(vitals.unready, vitals.metrics)

    def health(self, token: int) -> Health:
        """What its heartbeats say; `stored` is what it has passed on."""
        tally, shares = self._balancer.tally, self._balancer.shares()
        return Health(
            bus_ok=not self._common.primary.trouble, leader_token=token, received=tally.received, stored=tally.routed,
            shares={name: round(share, 4) for name, share in shares.items()} if len(shares) <= MOST_SHARES else {},
        )  # fmt: skip

    def unfit(self) -> str:
        """It never leads."""
        return ""

    def unready(self) -> list[str]:
        """Why the VIP should be at another one."""
        return list(self._balancer.unready())

    async def start(self) -> None:
        """It has listened since it was made."""

    async def run(self) -> None:
        """Watch over the ingest nodes, for ever; packets are passed on as they come."""
        await self._balancer.run()

    async def stop(self) -> None:
        """Pass on what comes until nothing comes any more: by now it says that it is not ready, and the VIP moves."""
        began_s = quiet_since_s = monotonic()
        passed = self._balancer.tally.received
        while monotonic() - quiet_since_s < QUIET_S and monotonic() - began_s < LONGEST_QUIET_S:
            await asyncio.sleep(LOOK_S)
            if passed != self._balancer.tally.received:
                passed, quiet_since_s = self._balancer.tally.received, monotonic()
        self._balancer.stop()

    def _listening(self, host: str, *, is_moving: bool) -> socket.socket:
        port = self._common.node.options_as(BalancerOptions).hep_port
        try:
            return bound(
                host, port, buffer_bytes=self._common.topology.ingest.receive_buffer_bytes, is_moving=is_moving
            )
        except OSError as fault:
            raise ListenError("UDP", host, port, fault, option="hep_port of the role balancer") from fault

"""An app node: pages, API and events over HTTP, and the leader's work."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.access.gate import Gate
from everline.access.keeper_book import KeeperBook
from everline.access.oidc import OidcClient
from everline.access.oidc_settings import oidc_settings
from everline.access.signing import KeyRing
from everline.access.store_audit import StoreAudit
from everline.access.throttle import RedisThrottle
from everline.access.trail import Trail
from everline.app.services import PacketLedger, Services
from everline.app.web import create_app
from everline.cluster.beat import Health, StoreHealth
from everline.cluster.entry import Entry
from everline.cluster.leader import Duty
from everline.metrics import Measured, NodeCollector, SignInCollector
from everline.node.common import Common, Vitals
from everline.node.leading import Leading
from everline.node.sight import Sight

LOOK_S: Final = 1.0


class AppRole:
    """Serves what the cluster has; keeps nothing that another app node does not have too."""

    def __init__(self, common: Common, note: Callable[[Entry], None]) -> None:
        self._common = common
        self._leading = Leading(common, note)
        self._gate = _gate_of(common)

    @property
    def duties(self) -> Sequence[Duty]:
        """The leader's."""
        return self._leading.duties()

    def collectors(self) -> Sequence[Collector]:
        """What it counts."""
        measured = Measured(node=self._common.node.name, ingest=None, bus=self._common.bus)
        return [NodeCollector(measured), SignInCollector(self._gate)]

    def application(self, vitals: Vitals) -> ASGIApp:
        """Pages and API. Every app node signs sessions with the same keys, so that any may answer."""
        services = Services(
            store=self._leading.store,
            bus=self._common.bus,
            metrics=vitals.metrics,
            ledger=PacketLedger,
            readiness=vitals.unready,
            node=self._common.node.name,
            gate=self._gate,
            cluster=Sight(self._common, vitals.rows),
            closing=vitals.closing,
        )
        return create_app(services)

    def health(self, token: int) -> Health:
        """What its heartbeats say."""
        return Health(store=self._store_health(), bus_ok=not self._common.primary.trouble, leader_token=token)

    def unfit(self) -> str:
        """Why it should not lead now."""
        return self._leading.unfit()

    def unready(self) -> list[str]:
        """Why another node should be asked instead."""
        return [] if self._leading.reaches_store() else ["no ClickHouse server answers"]

    async def start(self) -> None:
        """It listens for nothing but HTTP."""

    async def run(self) -> None:
        """Its work is done request by request; meanwhile it looks whether it could do it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leading.watch(), name="watch-store")
            tasks.create_task(self._gate.book.run(), name="access-book")
            tasks.create_task(self._gate.trail.run(), name="audit")
            tasks.create_task(self._tell_setup(), name="set-up-link")

    async def stop(self) -> None:
        """What is asked is answered by the HTTP server."""

    async def _tell_setup(self) -> None:
        """Print the one-time link, if it is known that there is no user yet."""
        while self._gate.book.contents is None:  # noqa: ASYNC110 - Keeper may be away for hours
            await asyncio.sleep(LOOK_S)
        if self._gate.awaits_setup:
            sys.stdout.write(
                "Make the first user, by a link that works once, at any address of the pages: "
                f"/setup#{self._gate.setup_code()}\n"
            )
            with suppress(OSError):
                sys.stdout.flush()

    def _store_health(self) -> StoreHealth:
        if not self._leading.reaches_store():
            return StoreHealth.DOWN
        return StoreHealth.PARTIAL if self._leading.store.partial_since else StoreHealth.OK


def _gate_of(common: Common) -> Gate:
    """Users in Keeper, what they did in ClickHouse, their tries in Redis: nothing in this node."""
    book = KeeperBook(common.keeper, common.topology.cluster)
    settings = oidc_settings(common.topology.oidc, client_secret=common.secrets.oidc_client_secret)
    return Gate(
        book=book,
        trail=Trail(book, StoreAudit(common.servers), node=common.node.name),
        throttle=RedisThrottle(common.primary),
        ring=KeyRing.parse(common.secrets.session_key),
        admin_token=common.secrets.admin_token,
        oidc=OidcClient(settings) if settings else None,
    )

"""A balancer without a cluster file: `everline balance`. Told where to listen and whom to send to."""

import asyncio
import gc
import signal
import sys
from collections.abc import Mapping

from everline.app.vitals import create_vitals_app
from everline.balance.balancer import Balancer, bound
from everline.balance.ring import Member
from everline.config import Endpoint
from everline.ingest.udp import ListenError
from everline.metrics import metrics_text
from everline.node.balancer_metrics import BalancerCollector
from everline.node.http import HttpServer, http_socket

BUFFER_BYTES = 32 << 20


def run(
    listen: Endpoint, targets: Mapping[Member, tuple[str, int]], *, http: Endpoint, mirror: int, key_rate_per_s: int
) -> None:
    """
    Balance until SIGTERM or SIGINT, then pass on what waits and return.

    Raises:
        EverlineError: It could not start: an address is taken.
    """
    gc.freeze()
    asyncio.run(_serve(listen, targets, http=http, mirror=mirror, key_rate_per_s=key_rate_per_s))


async def _serve(
    listen: Endpoint, targets: Mapping[Member, tuple[str, int]], *, http: Endpoint, mirror: int, key_rate_per_s: int
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        sock = bound(*listen, buffer_bytes=BUFFER_BYTES)
    except OSError as fault:
        raise ListenError("UDP", *listen, fault, option="--listen") from fault
    with sock, http_socket(http) as listening:
        balancer = Balancer([sock], targets, mirror=mirror, key_rate_per_s=key_rate_per_s)
        server = HttpServer(create_vitals_app(balancer.unready, metrics_text(BalancerCollector(balancer))), listening)
        sys.stdout.write(
            f"Everline balances: send HEP or SIP to {Endpoint(*balancer.local)}, UDP; "
            f"each call goes to {min(mirror, len(targets))} of {len(targets)} ingest nodes\n"
            f"Look: {server.url}/metrics\n"
        )
        sys.stdout.flush()
        await _until(stop, balancer, server)


async def _until(stop: asyncio.Event, balancer: Balancer, server: HttpServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        working = [
            tasks.create_task(balancer.run(), name="members"),
            tasks.create_task(server.run_until_stopped(), name="http"),
        ]
        await stop.wait()
        balancer.stop()
        await server.stop()
        for task in working:
            task.cancel()

"""Redis comes back without anything in it: the store knows which calls are open."""

import json
import time

from tests.node.cluster.traffic import ANSWERED, Calls
from tests.rigs.cluster import ClusterRig, until

from everline.topology.model import Role


def test_open_calls_are_live_again(rig: ClusterRig) -> None:
    """On every app node; the failover log says so."""
    calls, ended = Calls(5, until=ANSWERED), Calls(2)
    calls.send(rig, "h1-ingest")
    ended.send(rig, "h1-ingest")
    calls.until_known(rig, "h1-app")
    ended.until_known(rig, "h1-app")
    until(lambda: live(rig, "h1-app") >= calls.ids, "the calls are live")
    servers = rig.names(Role.REDIS)
    rig.kill(*servers)
    gone_us = time.time_ns() // 1000
    for name in servers:
        rig.forget_calls(name)

    rig.start(*servers)

    for app in rig.names(Role.APP):
        until(lambda app=app: live(rig, app) >= calls.ids, f"{app} shows the open calls again")  # type: ignore[misc]
        assert not live(rig, app) & ended.ids
    until(lambda: rebuilt(rig, gone_us) >= len(calls.ids), "the failover log has it")


def live(rig: ClusterRig, app: str) -> set[str]:
    """Calls that are in progress, as an app node shows them."""
    return {one["call_id"] for one in rig.api(app, "live", limit=500)["calls"]}


def rebuilt(rig: ClusterRig, since_us: int) -> int:
    """How many calls were put back since a time, as the failover log has it."""
    entries = (one for one in rig.history() if one["kind"] == "bus_rebuilt" and one["at_us"] > since_us)
    return sum(int(json.loads(one["details"])["calls"]) for one in entries)

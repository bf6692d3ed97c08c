"""Who leads: shown by the command, followed by another one that does its duties, drained by the operator."""

from collections import Counter
from typing import Any

from tests.node.cluster.traffic import RINGING, Calls, told
from tests.rigs.cluster import ClusterRig, until

from everline.calls.event import SYNTHETIC
from everline.topology.model import Role


def the_leader(rig: ClusterRig) -> tuple[str, int]:
    """Who leads, with its token."""
    leaders = until(lambda: one if len(one := rig.leaders()) == 1 else None, "one node leads")
    return next(iter(leaders.items()))


def until_led_after(rig: ClusterRig, token: int) -> tuple[str, int]:
    """Who leads with a later token, once somebody does."""
    return until(
        lambda: next((one for one in rig.leaders().items() if one[1] > token), None), f"somebody leads after {token}"
    )


def until_logged(rig: ClusterRig, kind: str, **fields: str | int) -> dict[str, Any]:
    """The entry of the failover log that has these fields, once it has come."""

    def found() -> dict[str, Any] | None:
        entries = (one for one in rig.history() if one["kind"] == kind)
        return next((one for one in entries if fields.items() <= one.items()), None)

    return until(found, f"the failover log has {kind} with {fields}")


def test_status_names_the_leader_and_all_programs(rig: ClusterRig) -> None:
    """As the leader itself says it; exit code 0 when every program is as it should be."""
    view = until(lambda: rig.status(code=0), "every program is as it should be, and every node is heard")

    assert (view["leader"]["node"], view["leader"]["token"]) == the_leader(rig)
    assert (view["cluster"], view["keeper_fault"], view["bus_fault"]) == ("rig", "", "")
    assert [one["node"] for one in view["nodes"]] == [
        "h1-ingest", "h1-app", "h2-ingest", "h2-app", "h3-balancer", "h3-witness",
    ]  # fmt: skip
    assert {one["node"]: one["standing"] for one in view["programs"]} == dict.fromkeys(
        [node.name for node in rig.cluster.topology.nodes], "ready"
    )


def test_status_for_people(rig: ClusterRig) -> None:
    """The leader first, then the ring as balancers see it, then a line for every program."""
    node, token = the_leader(rig)
    until(lambda: rig.status(code=0), "every node is heard")
    lines = rig.everline("cluster", "status").stdout.splitlines()

    assert lines[0].startswith(f"leader    {node} (here), token {token}, since ")
    assert lines[1] == "ring      h1-ingest 100%, h2-ingest 100% (h3-balancer)"
    assert lines[3].split() == ["REGION", "RACK", "NODE", "STATE", "HEARD", "SAYS"]
    assert [line.split()[2] for line in lines[4:]] == [node.name for node in rig.cluster.topology.nodes]


def test_the_leader_is_killed(rig: ClusterRig) -> None:
    """Another one leads with a later token, the log has it, and calls that are silent are closed once."""
    first = rig.last_event()
    silent = Calls(4, ago_s=600, until=RINGING)
    silent.send(rig, "h1-ingest", "h2-ingest")
    old, token = the_leader(rig)
    rig.kill(old)

    node, later = until_led_after(rig, token)

    assert node != old
    elected = until_logged(rig, "leader_elected", node=node, token=later)
    assert elected["detected_us"] <= elected["acted_us"]
    until_logged(rig, "node_dead", node=old)
    app = next(iter(rig.running(Role.APP)))

    def closed() -> bool:
        calls = rig.calls(app)
        return all(calls.get(one, {}).get("outcome") == "timed_out" for one in silent.ids)

    until(closed, f"{node} has closed the silent calls")
    assert timeouts(rig, silent) == dict.fromkeys(silent.ids, 1)
    until(lambda: Counter(told(rig, silent, after=first).values()) == {1: 3 * len(silent.ids)}, "all is told once")


def timeouts(rig: ClusterRig, calls: Calls) -> dict[str, int]:
    """How many synthetic events each call has in the store, over all its servers."""
    sql = f"SELECT call_id, uniqExact(event_key) FROM everline.messages WHERE protocol = {SYNTHETIC} GROUP BY call_id"
    return {call_id: events for call_id, events in rig.ask("h1-clickhouse", sql) if call_id in calls.ids}


def test_the_leader_is_drained(rig: ClusterRig) -> None:
    """It hands over, is not ready, and is shown as drained; taken back it is ready."""
    old, token = the_leader(rig)

    said = rig.everline("node", "drain", old, "--reason", "a new disk")

    assert (said.returncode, said.stdout, said.stderr) == (0, f"{old} is drained\n", "")
    node, later = until_led_after(rig, token)
    assert node != old
    drained = "drained by the operator: `everline node undrain` takes it back"
    until(lambda: rig.readiness(old) == drained, f"{old} is not ready")
    view = until(lambda: rig.status(code=1), "a node is not ready, and status ends so")
    assert [(one["node"], one["reason"]) for one in view["drains"]] == [(old, "a new disk")]
    assert (view["leader"]["node"], view["leader"]["reason"]) == (node, "drained")
    assert rig.everline("node", "drain", old).stdout == f"{old} was drained already\n"

    said = rig.everline("node", "undrain", old)

    assert (said.returncode, said.stdout, said.stderr) == (0, f"{old} is in service\n", "")
    rig.until_ready(old)
    assert rig.everline("node", "undrain", old).stdout == f"{old} was in service already\n"
    until_logged(rig, "leader_resigned", node=old, token=token, reason="drained")
    until_logged(rig, "leader_elected", node=node, token=later, reason="drained")
    until_logged(rig, "node_drained", node=old)
    until_logged(rig, "node_undrained", node=old)
    assert "leader_resigned" in rig.everline("cluster", "history").stdout


def test_an_ingest_node_is_drained(rig: ClusterRig) -> None:
    """It is not ready, so that nothing new is sent to it; what comes anyway is taken."""
    assert rig.everline("node", "drain", "h2-ingest").returncode == 0
    until(lambda: rig.readiness("h2-ingest").startswith("drained"), "h2-ingest is not ready")
    late = Calls(2)
    late.send(rig, "h2-ingest")
    late.until_known(rig, "h1-app")

    assert rig.everline("node", "undrain", "h2-ingest").returncode == 0
    rig.until_ready("h2-ingest")

"""How calls come to ingest nodes, through balancers and past them, whoever of them dies; on a lab of one site."""

import asyncio
import secrets
import socket
import time
from itertools import islice
from random import Random

import pytest
from tests.faults.eyes import until
from tests.faults.fault import Fault
from tests.faults.site import Site
from tests.faults.surviving import survive
from tests.faults.table import BALANCED

from everline.bench.corpus import datagrams
from everline.drill.load import LoadPlan, running_load
from everline.drill.report import DrillResult
from everline.drill.verdict import verdict_when_equal

pytestmark = pytest.mark.parametrize("lab", ["single-site"], indirect=True, scope="module")

SPRAYED_S = 8.0
EQUAL_S = 30.0
CALLS = 5_000
BURST = 50
SPREAD = 1.1
"""Most that one node may have over the mean: 1.05 by the ring, the rest by the calls that were drawn."""


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in BALANCED])
async def test_agents_at_the_vip_do_not_notice(fault: Fault, site: Site, results: list[DrillResult]) -> None:
    """Recovered in time; nothing lost, nothing twice, no call split, records equal to what was sent."""
    await survive(fault, site, results)


async def test_a_front_that_knows_no_calls_changes_no_record(site: Site) -> None:
    """Each packet goes to an ingest node by chance: records equal the ledger's all the same."""
    random = Random(1)
    plan = LoadPlan(f"sprayed-{secrets.token_hex(3)}")
    async with running_load(plan, site.destinations, choose=lambda _: [random.choice(site.destinations)]) as load:
        await asyncio.sleep(SPRAYED_S)
        ledger = await load.stop()

    verdict = await verdict_when_equal(site.asking(), ledger, within_s=EQUAL_S)

    assert len({name for sent in ledger.sent for name in sent.to}) == len(site.destinations)
    assert verdict.is_clean, verdict
    print(f"\n{verdict.sent:,} packets sprayed over {len(site.destinations)} nodes: records equal")


async def test_what_still_comes_to_a_host_that_gave_the_vip_up_is_balanced(site: Site) -> None:
    """Those outside hear last of a move: what they send to the old host meanwhile is taken there."""
    vip = site.front_vip
    holder = await site.holder(vip)
    [other] = [node for node in vip.nodes if node.name != holder.name]
    before = await site.balanced(without=[holder])

    async with site.misled_to(other, vip):
        with socket.socket(type=socket.SOCK_DGRAM) as agent:
            for datagram in islice(datagrams(range(BURST), time.time_ns() // 1000), BURST):
                agent.sendto(datagram, (site.front.host, site.front.hep_port))

        async def all_received() -> bool:
            return await site.balanced(without=[holder]) == before + BURST

        await until(all_received, within_s=EQUAL_S, what=f"{other.name} has received all of it")
    assert (await site.holder(vip)).name == holder.name


async def test_one_agent_with_one_socket_spreads_evenly(site: Site) -> None:
    """What hashes addresses would give all of them to one node."""
    before, received = await site.given(), await site.balanced()
    with socket.socket(type=socket.SOCK_DGRAM) as agent:
        agent.connect((site.front.host, site.front.hep_port))
        first = secrets.randbelow(19_000) * CALLS
        for start in range(first, first + CALLS, BURST):
            for number in range(start, start + BURST):
                agent.send(next(datagrams(range(number, number + 1), time.time_ns() // 1000)))
            await asyncio.sleep(0.01)

    async def all_received() -> bool:
        return await site.balanced() >= received + CALLS

    await until(all_received, within_s=EQUAL_S, what="the balancer has received all calls")
    after = await site.given()
    got = [after[name] - before[name] for name in after]
    mean = sum(got) / len(got)

    print(f"\n{CALLS:,} calls of one socket: {sorted(map(int, got))} packets to each ingest node")
    assert mean == CALLS * site.topology.balance.mirror / len(got)
    assert max(got) <= SPREAD * mean

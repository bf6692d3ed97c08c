"""One fault under load, from the first message to the verdict."""

import asyncio
import secrets
import sys

from tests.faults.eyes import until
from tests.faults.fault import Fault, LateError, Story
from tests.faults.site import WHOLE_AGAIN_S, Site

from everline.drill.load import LoadPlan, running_load
from everline.drill.recovery import Moment, NotRecoveredError, Recovery, until_recovered
from everline.drill.report import DrillResult
from everline.drill.verdict import verdict_when_equal

WARM_S = 30.0
WARM_EVENTS = 400
AFTER_S = 1.0


async def survive(fault: Fault, site: Site, results: list[DrillResult]) -> None:
    """
    Recovered in time; nothing lost, nothing twice, records equal to what was sent.

    Many hosts are on one machine here, and a slow moment of it is not the cluster's: what is late once is tried once
    more. What is lost, or not equal, fails at once.
    """
    try:
        await _survive(fault, site, results)
    except LateError as late:
        sys.stdout.write(f"\n{fault.name}: {late}; tried once more\n")
        await site.restore(within_s=WHOLE_AGAIN_S)
        await _survive(fault, site, results)


async def _survive(fault: Fault, site: Site, results: list[DrillResult]) -> None:
    plan = LoadPlan(f"{fault.name}-{secrets.token_hex(3)}", rate_per_s=fault.rate_per_s, copies=fault.copies)
    async with running_load(plan, [site.front] if fault.is_balanced else site.destinations) as load:
        story = Story(site, load, Moment.now(), Moment.now())
        await until(site.has_stored(plan.run, WARM_EVENTS), within_s=WARM_S, what="the load is stored")
        recovery = await _suffer(fault, story)
        await asyncio.sleep(AFTER_S)  # The end of the load is not the end of the fault.
        ledger = await load.stop()
    most = fault.most_lost(story)
    verdict = await verdict_when_equal(
        site.asking(), ledger, within_s=fault.equal_within_s, outages=story.outages, most_lost=most
    )
    result = DrillResult(fault.sentence, recovery, verdict, most)
    results.append(result)
    for act in fault.afterwards:
        await act(story)
    sys.stdout.write(f"\n{fault.name}: {_said(result, story)}\n")
    if result.is_only_late:
        raise LateError(f"recovered in {recovery.rto_s:.1f} s, not within {fault.within_s:g}" if recovery else "")
    assert result.is_passed, (result.as_json(), dict(ledger.refused))


async def _suffer(fault: Fault, story: Story) -> Recovery | None:
    """Make the fault, look at what goes on, end it; when the first act came that shows recovery, None if too late."""
    await fault.inject(story)
    recovery = None if fault.is_after_heal else await _recovered(fault, story, story.fault)
    for act in fault.meanwhile:
        await act(story)
    await asyncio.sleep(max(0.0, story.fault.monotonic_s + fault.held_s - Moment.now().monotonic_s))
    story.healed = Moment.now()
    await fault.heal(story)
    return await _recovered(fault, story, story.healed) if fault.is_after_heal else recovery


async def _recovered(fault: Fault, story: Story, since: Moment) -> Recovery | None:
    try:
        return await until_recovered(
            fault.name, fault.recovered(story), since=since, within_s=fault.within_s, every_s=fault.look_every_s
        )
    except NotRecoveredError:
        return None


def _said(result: DrillResult, story: Story) -> str:
    recovery, verdict = result.recovery, result.verdict
    took = f"recovered in {recovery.rto_s:.1f} s (≤ {recovery.within_s:g})" if recovery else "NOT recovered in time"
    lost = f"{verdict.sent:,} sent, {len(verdict.lost)} lost, {verdict.undelivered} sent to nobody who was up"
    return "; ".join([took, lost, f"equal after {verdict.converged_after_s} s", *story.figures])

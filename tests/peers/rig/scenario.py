"""What SIPp plays: each scenario has one known end, one known talk time and numbers of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from everline.calls.record import Outcome

NUMBERS: Final = 100
"""Numbers of a scenario: its prefix and two digits."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    One kind of call, or of traffic that is no call.

    Attributes:
        name: Begins each of its Call-IDs.
        caller_script: SIPp file of the side that sends the first request.
        callee_script: SIPp file of the side behind the proxy; "" where the proxy answers by itself.
        caller: The calling number without its last two digits.
        callee: The called number without its last two digits; the proxy routes by it.
        outcome: The end a call record must show; None for traffic that is no call.
        released_by: "caller" or "callee" where a BYE or CANCEL tells, else None.
        talk_ms: Pause between the ACK of the answer and the BYE.
        ring_ms: Pause between ringing and what follows; 0 is no ringing at all.
        ring_line: The provisional response.
        final_line: The final response to the first INVITE, after a challenge if there is one.
        reinvites: Directions with which the callee answers re-INVITEs.
        challenged: Whether the proxy asks for a password first.
        share_percent: Part of all calls.
    """

    name: str
    caller_script: str
    callee_script: str
    caller: str
    callee: str
    outcome: Outcome | None
    released_by: str | None = None
    talk_ms: int = 0
    ring_ms: int = 200
    ring_line: str = "180 Ringing"
    final_line: str = "200 OK"
    reinvites: tuple[str, ...] = ()
    challenged: bool = False
    share_percent: int = 10

    @property
    def status(self) -> int:
        """Of the final response."""
        return int(self.final_line.split()[0])


# The numbers are kept for fiction by the US, UK and German regulators, or are extensions.
CALLS: Final = (
    Scenario(
        "answered-caller", "caller-hangs-up", "callee-answers", "+120255501", "+4420794601",
        Outcome.ANSWERED, released_by="caller", talk_ms=600, share_percent=20,
    ),
    Scenario(
        "answered-callee", "caller-listens", "callee-hangs-up", "+4930231250", "+4420794602",
        Outcome.ANSWERED, released_by="callee", talk_ms=700, share_percent=15,
    ),
    Scenario(
        "early-media", "caller-hangs-up", "callee-answers", "+4930231255", "+4420794603",
        Outcome.ANSWERED, released_by="caller", talk_ms=500, ring_ms=300, ring_line="183 Session Progress",
    ),
    Scenario(
        "held", "caller-holds", "callee-answers", "10", "20",
        Outcome.ANSWERED, released_by="caller", talk_ms=900, reinvites=("recvonly", "sendrecv"),
    ),
    Scenario(
        "challenged", "caller-authenticates", "callee-answers", "11", "+4930231251",
        Outcome.ANSWERED, released_by="caller", talk_ms=400, challenged=True,
    ),
    Scenario(
        "busy", "caller-is-refused", "callee-refuses", "+120255501", "+4930231252",
        Outcome.BUSY, ring_ms=0, final_line="486 Busy Here",
    ),
    Scenario(
        "cancelled", "caller-cancels", "callee-is-cancelled", "+120255501", "+4420794604",
        Outcome.CANCELLED, released_by="caller", ring_ms=350, final_line="487 Request Terminated",
    ),
    Scenario(
        "unavailable", "caller-is-refused", "callee-refuses", "12", "+4930231253",
        Outcome.NO_ANSWER, ring_ms=400, final_line="480 Temporarily Unavailable", share_percent=5,
    ),
    Scenario(
        "timed-out", "caller-is-refused", "callee-refuses", "13", "+4930231254",
        Outcome.NO_ANSWER, ring_ms=500, final_line="408 Request Timeout", share_percent=5,
    ),
    Scenario(
        "declined", "caller-is-refused", "callee-refuses", "+120255501", "21",
        Outcome.REJECTED, ring_ms=150, final_line="603 Decline", share_percent=5,
    ),
)  # fmt: skip
"""The calls; their shares add up to 100 percent."""

OTHERS: Final = (
    Scenario("registration", "registers", "", "10", "", None),
    Scenario("options", "asks-options", "", "19", "", None),
)
"""What a SIP network carries beside calls."""


def calls_plan(total: int, calls: Sequence[Scenario] = CALLS) -> dict[Scenario, int]:
    """Share out `total` calls, at least 20, over all kinds; what the shares leave goes to the first."""
    plan = {scenario: total * scenario.share_percent // 100 for scenario in calls}
    plan[calls[0]] += total - sum(plan.values())
    return plan

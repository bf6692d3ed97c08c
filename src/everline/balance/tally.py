"""What a balancer counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """
    Datagrams, from the start of the process on.

    received = routed + rejected + flooded + no_member; with mirroring a routed one goes to two members, each of which
    has it in `sent`, or in `unsent` when the kernel did not take it.

    Attributes:
        received: All that came.
        rejected: Those that no ingest node could read, by reason.
        flooded: Those over the limit of one key.
        no_member: Those that came while nobody could take them.
        routed: Those that had an owner.
        without_key: Those of the routed that had no Call-ID, and follow their sender.
        wrapped: Those of the routed that were raw SIP.
        sent: By member.
        unsent: By member.
    """

    received: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    flooded: int = 0
    no_member: int = 0
    routed: int = 0
    without_key: int = 0
    wrapped: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)

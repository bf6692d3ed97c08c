"""The calls of a drill as tables: what is said, by whom, when, and how often each kind of call occurs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """
    One message of a flow.

    Attributes:
        at_s: After the first INVITE, before the pace of the call stretches it.
        what: A method for a request; a status for a response, with its method where that is not INVITE: "200 BYE".
        cseq: CSeq number.
        is_from_caller: Whether the caller sends it.
        has_sdp: Whether it carries a session description.
        is_in_dialog: Whether the To tag is there.
    """

    at_s: float
    what: str
    cseq: int = 1
    is_from_caller: bool = True
    has_sdp: bool = False
    is_in_dialog: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """
    One kind of call.

    Attributes:
        weight: How often it occurs, beside the others.
        is_relayed: Whether a proxy is between the two ends, and each message is captured on both of its sides.
    """

    name: str
    weight: int
    steps: tuple[Step, ...]
    is_relayed: bool = False


def _down(at_s: float, what: str, cseq: int = 1, *, sdp: bool = False, dialog: bool = True) -> Step:
    return Step(at_s, what, cseq, has_sdp=sdp, is_in_dialog=dialog)


def _up(at_s: float, what: str, cseq: int = 1, *, sdp: bool = False, dialog: bool = True) -> Step:
    return Step(at_s, what, cseq, is_from_caller=False, has_sdp=sdp, is_in_dialog=dialog)


def _attempt(at_s: float = 0.0, cseq: int = 1) -> tuple[Step, ...]:
    """What every call begins with."""
    return (_down(at_s, "INVITE", cseq, sdp=True, dialog=False), _up(at_s + 0.02, "100", cseq, dialog=False))


def _picked_up(at_s: float, cseq: int = 1) -> tuple[Step, ...]:
    return (_up(at_s, "180", cseq), _up(at_s + 1.5, "200", cseq, sdp=True), _down(at_s + 1.55, "ACK", cseq))


def _hung_up(at_s: float, cseq: int) -> tuple[Step, ...]:
    return (_down(at_s, "BYE", cseq), _up(at_s + 0.05, "200 BYE", cseq))


def _refused(at_s: float, status: str, cseq: int = 1) -> tuple[Step, ...]:
    return (_up(at_s, status, cseq), _down(at_s + 0.05, "ACK", cseq))


_ANSWERED: Final = (*_attempt(), *_picked_up(0.4), *_hung_up(6.0, 2))
_CANCELLED: Final = (
    *_attempt(),
    _up(0.4, "180"),
    _down(2.5, "CANCEL", dialog=False),
    _up(2.52, "200 CANCEL"),
    *_refused(2.55, "487"),
)
_REINVITED: Final = (
    *_attempt(),
    *_picked_up(0.4),
    _down(3.0, "INVITE", 2, sdp=True),
    _up(3.1, "200", 2, sdp=True),
    _down(3.15, "ACK", 2),
    *_hung_up(6.0, 3),
)
_CHALLENGED: Final = (*_attempt(), *_refused(0.05, "407"), *_attempt(0.15, 2), *_picked_up(0.6, 2), *_hung_up(5.0, 3))

FLOWS: Final = (
    Flow("answered", 30, _ANSWERED),
    Flow("relayed", 20, _ANSWERED, is_relayed=True),
    Flow("cancelled", 12, _CANCELLED),
    Flow("busy", 10, (*_attempt(), *_refused(0.3, "486"))),
    Flow("rejected", 5, (*_attempt(), _up(0.4, "180"), *_refused(1.8, "603"))),
    Flow("unanswered", 8, (*_attempt(), _up(0.4, "180"), *_refused(8.0, "480"))),
    Flow("reinvited", 8, _REINVITED),
    Flow("challenged", 7, _CHALLENGED),
)

REPEATED: Final = 0.03
"""So many messages are sent once more, as over UDP when an answer is late (RFC 3261 section 17)."""
REPEAT_AFTER_S: Final = 0.5
"""Timer T1 (RFC 3261 section 17.1.1.1)."""


def mean_messages() -> float:
    """Captured messages of a call, on average over the mix."""
    total = sum(flow.weight * len(flow.steps) * (2 if flow.is_relayed else 1) for flow in FLOWS)
    return total / sum(flow.weight for flow in FLOWS) * (1 + REPEATED)

"""
How a stream may have sounded: a mean opinion score by the E-model, from codec, loss and delay alone.

    R = 93.2 - Id - Ie,eff
    Id = 0.024 d + 0.11 (d - 177.3) H(d - 177.3)
    Ie,eff = Ie + (95 - Ie) P / (P + Bpl)
    MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6, from 1 at R <= 0 to 4.5 at R >= 100

d is the mouth-to-ear delay in ms, P the packet loss in per cent, taken as random (BurstR = 1), H the step function.

What it leaves out: echo, noise, levels and the bursts of a loss; each would make the score worse, so it is one for
planning and comparing, not what a listener said. It is for narrowband speech.

Sources: ITU-T G.107 (R of a connection with default values, Ie,eff, MOS of R, annex B); the shape of Id is the usual
piecewise-linear fit of that model (R. Cole and J. Rosenbluth, 2001); Ie and Bpl are from ITU-T G.113 appendix I.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

BEST_RATING: Final = 93.2
KNEE_MS: Final = 177.3
FIXED_DELAY_MS: Final = 30.0
"""A packet of 20 ms is filled before it is sent, and sound cards and codecs take some more."""
JITTER_BUFFER: Final = 2.0
"""A jitter buffer is taken to hold so many times the jitter."""


class Impairment(NamedTuple):
    """What a codec costs on the scale of R, and the loss in per cent that costs half of what is left of it."""

    ie: float
    bpl: float


IMPAIRMENTS: Final[Mapping[str, Impairment]] = {
    "PCMU/8000": Impairment(0.0, 25.1),
    "PCMA/8000": Impairment(0.0, 25.1),
    "G729/8000": Impairment(11.0, 19.0),
    "G723/8000": Impairment(15.0, 16.1),
    "GSM-EFR/8000": Impairment(5.0, 10.0),
}
"""
By name and clock rate, in capitals. G.711 with concealment of losses (appendix I of G.711), as phones have it;
G.729 as annex A and G.723.1 at 6.3 kbit/s, both with silence suppression. No other codec has values there: no score.
"""


class MosBand(StrEnum):
    """What callers think of such a score (ITU-T G.107 annex B), worst last; `UNKNOWN` without one."""

    SATISFIED = "satisfied"
    SOME_DISSATISFIED = "some_dissatisfied"
    MANY_DISSATISFIED = "many_dissatisfied"
    POOR = "poor"
    UNKNOWN = "unknown"


MOS_BANDS: Final = (
    (4.03, MosBand.SATISFIED), (3.60, MosBand.SOME_DISSATISFIED), (3.10, MosBand.MANY_DISSATISFIED),
)  # fmt: skip
"""The least score of each band but the last."""


def estimated_mos(
    codec: str | None, loss_ratio: float | None, *, round_trip_ms: float | None, jitter_ms: float | None
) -> float | None:
    """
    The score of one direction, 1..4.5.

    Args:
        codec: Name and clock rate, as in SDP.
        loss_ratio: Packets lost / expected, 0..1.
        round_trip_ms: Half of it is the way there; unknown counts as none, so the score is then the best possible.
        jitter_ms: The jitter buffer holds twice as much; likewise.

    Returns:
        None for a codec without values, or an unknown loss.
    """
    impairment = IMPAIRMENTS.get(codec.upper()) if codec else None
    if impairment is None or loss_ratio is None:
        return None
    delay_ms = FIXED_DELAY_MS + (round_trip_ms or 0.0) / 2 + JITTER_BUFFER * (jitter_ms or 0.0)
    return round(mos_of(rating(impairment, loss_ratio, delay_ms=delay_ms)), 2)


def rating(impairment: Impairment, loss_ratio: float, *, delay_ms: float) -> float:
    """R: 93.2 at best, and below 0 for what nobody would call speech."""
    loss_percent = min(max(loss_ratio, 0.0), 1.0) * 100
    of_loss = (95 - impairment.ie) * loss_percent / (loss_percent + impairment.bpl)
    of_delay = 0.024 * delay_ms + 0.11 * max(delay_ms - KNEE_MS, 0.0)
    return BEST_RATING - of_delay - impairment.ie - of_loss


def mos_of(r: float) -> float:
    """The score of a rating, 1..4.5 (ITU-T G.107 annex B)."""
    if r >= 100:
        return 4.5
    # Just above 0 the polynomial dips below the least score.
    return max(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, 1.0) if r > 0 else 1.0


def band_of(mos: float | None) -> MosBand:
    """Where a score belongs."""
    if mos is None:
        return MosBand.UNKNOWN
    return next((band for least, band in MOS_BANDS if mos >= least), MosBand.POOR)

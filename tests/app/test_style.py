"""The style sheet: enough contrast in light and dark (WCAG 2.2, 1.4.3), and one set of names for both."""

import itertools
import math
import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "src/everline/app/static/app.css").read_text()
BLOCKS = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r"\{([^{}]*--back:[^{}]*)\}", CSS)]
TEXT_ON_SURFACES = [
    (text, ground)
    for text in ("text", "quiet", "accent", "good", "degraded", "bad", "unknown")
    for ground in ("back", "surface")
]
ARROWS = [(f"d{number}", ground) for number in range(7) for ground in ("surface", "hold", "reinvite", "accent-soft")]
ON_COLOUR = [
    ("on-accent", "accent"), ("bad", "bad-soft"), ("degraded", "degraded-soft"), ("accent", "accent-soft"),
    ("text", "accent-soft"), ("quiet", "accent-soft"), ("quiet", "hold"), ("quiet", "reinvite"),
]  # fmt: skip


def test_dark_is_told_once_in_two_places() -> None:
    """Chosen, or by the reader's system: the same colours, and none is missing."""
    light, chosen, by_system = BLOCKS

    assert chosen == by_system
    assert set(light) == set(chosen)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [*TEXT_ON_SURFACES, *ARROWS, *ON_COLOUR])
def test_contrast(theme: int, text: str, ground: str) -> None:
    """At least 4.5 to 1 for all that is read."""
    colours = BLOCKS[theme]
    lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


OUTCOMES = ("answered", "cancelled", "redirected", "busy", "no-answer", "rejected", "failed", "timed-out", "open")
SIGHTS = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What is left of linear red, green and blue in full deficiency (Machado, Oliveira and Fernandes 2009)."""


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_drawn_stands_out(theme: int, outcome: str) -> None:
    """At least 3 to 1 on what it is drawn on (WCAG 2.2, 1.4.11)."""
    colours = BLOCKS[theme]
    lighter, darker = sorted((luminance(colours[f"o-{outcome}"]), luminance(colours["surface"])), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= 3


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_outcomes_can_be_told_apart_by_everyone(theme: int, sight: str) -> None:
    """Any two of them, whatever colours a reader does not see: 20 apart in CIELAB, where 2 can be noticed."""
    seen = [lab(linear(BLOCKS[theme][f"o-{one}"]), SIGHTS[sight]) for one in OUTCOMES]

    assert min(math.dist(one, other) for one, other in itertools.combinations(seen, 2)) >= 20


def lab(light: list[float], sight: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Linear red, green and blue, as they are seen, in CIELAB (D65)."""
    red, green, blue = (max(sum(part * one for part, one in zip(row, light, strict=True)), 0) for row in sight)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear(colour: str) -> list[float]:
    """Its red, green and blue as light, 0 to 1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]

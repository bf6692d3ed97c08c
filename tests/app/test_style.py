"""The style sheet: enough contrast in light and dark (WCAG 2.2, 1.4.3), and one set of names for both."""

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


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

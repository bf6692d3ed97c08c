"""
Take a picture of every page, light and dark, for docs/images/pages.

The application is the real one on the embedded store, served to Chromium; traffic and cluster are those of
`tests/app/site.py`, the pages those of `tests/app/places.py`. Time stands still, so that only what changed differs.
"""

import asyncio
import base64
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import NOW
from tests.app.places import CLUSTER, PLACES, Place, move_in, open_sites
from tests.app.site import traffic
from tests.peers.browser import chromium_driver

from everline.calls.event import EventBatch
from everline.store.embedded import EmbeddedStore

PICTURES: Final = Path(__file__).parents[1] / "docs/images/pages"
CALLS: Final = 900
WIDE: Final = 1280
NARROW: Final = 360
WALL: Final = 1920
MIN_HEIGHT: Final = 640
MAX_HEIGHT: Final = 1600
COLOURS: Final = 256
MAX_BYTES: Final = 150_000

_STAND_STILL: Final = f"""
    const now = Date.now, began = now();
    Date.now = () => now() - began + {NOW * 1e3};
"""
_HEIGHT: Final = "return document.body.scrollHeight"
_IS_READY: Final = """
    const stream = document.getElementById("stream");
    return document.readyState === "complete" && !/^(off|reconnecting)/.test(stream ? stream.textContent : "");
"""


def main() -> int:
    """Take them all; gives 1 if one became too large to keep."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        store = EmbeddedStore.open(Path(folder) / "data")
        asyncio.run(store.insert(EventBatch.of(list(traffic(CALLS)))))
        with open_sites(store) as sites, chromium_driver(f"{folder}/browser") as driver:
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _STAND_STILL})
            move_in(driver, sites[CLUSTER])
            taken = [one for place in PLACES for one in _take(driver, place, sites[place.site])]
        asyncio.run(store.close())
    for old in set(PICTURES.glob("*.png")) - set(taken):
        old.unlink()
    too_large = [one.name for one in taken if one.stat().st_size > MAX_BYTES]
    print(f"{len(taken)} pictures, {sum(one.stat().st_size for one in taken):,} bytes")
    print("\n".join(f"{name} has more than {MAX_BYTES:,} bytes" for name in too_large), file=sys.stderr)
    return 1 if too_large else 0


def _take(driver: webdriver.Chrome, place: Place, address: str) -> Iterator[Path]:
    """The pictures of one page."""
    shapes = {"": WIDE} | ({"-360": NARROW} if place.in_narrow else {}) | ({"-wall": WALL} if place.on_wall else {})
    for theme in ("light", "dark"):
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        )
        for suffix, width in shapes.items():
            path = PICTURES / f"{place.name}{suffix}-{theme}.png"
            _widen(driver, width, MIN_HEIGHT)
            driver.get(address + place.path)
            WebDriverWait(driver, 10).until(lambda one: one.execute_script(_IS_READY))
            _widen(driver, width, max(min(int(driver.execute_script(_HEIGHT)), MAX_HEIGHT), MIN_HEIGHT))
            _save(driver, path)
            yield path


def _widen(driver: webdriver.Chrome, width: int, height: int) -> None:
    shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)


def _save(driver: webdriver.Chrome, path: Path) -> None:
    """With 256 colours, for half of the bytes: the most frequent as they are, and such that rare ones are near one."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    found = Counter({colour: count for count, colour in picture.getcolors(picture.width * picture.height) or ()})
    rare = picture.quantize(COLOURS // 4, Image.Quantize.MAXCOVERAGE).getpalette() or []
    frequent = [part for colour, _ in found.most_common(COLOURS - len(rare) // 3) for part in colour]
    palette = Image.new("P", (1, 1))
    palette.putpalette(frequent + rare)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())

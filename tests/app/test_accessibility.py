"""Every page in a browser, light and dark, wide and narrow: WCAG 2.2 AA as axe checks it, and it fits into 360 px."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import url_to_be
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import ListStore
from tests.app.places import CLUSTER, PLACES, Place, move_in, open_sites
from tests.app.site import traffic
from tests.peers.browser import chromium_driver

ROOT: Final = Path(__file__).parents[2]
AXE: Final = ROOT / "node_modules/axe-core/axe.min.js"
CHARTS: Final = ROOT / "src/everline/app/static/vendor/chart.umd.min.js"
WIDE: Final = 1280
HALF: Final = 768
NARROW: Final = 360
THEMES: Final = ("light", "dark")
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
SERIOUS: Final = frozenset({"serious", "critical"})

_OPEN_ALL: Final = "for (const one of document.querySelectorAll('main details')) one.open = true;"
_RUN_AXE: Final = """
    const done = arguments[1];
    const wanted = {runOnly: arguments[0], resultTypes: ["violations"], rules: {"target-size": {enabled: true}}};
    axe.run(document, wanted).then(({violations}) => done(violations.map(
        ({id, impact, help, nodes}) => [impact, `${id}: ${help}: ` + nodes.map(({html}) => html).join(" | ")])));
"""
_TOO_WIDE: Final = """
    if (document.scrollingElement.scrollWidth <= innerWidth) return [];
    return [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth)
        .map((one) => one.outerHTML.slice(0, 120));
"""
_BARS: Final = "return Chart.getChart('course').data.datasets.map((one) => [one.backgroundColor, one.data.length]);"
_FOCUSED: Final = "const one = document.activeElement; return [one.tagName, one.textContent.trim(), one.href || ''];"

pytestmark = [pytest.mark.peers("chromium", "chromedriver")]


@dataclass(frozen=True, slots=True)
class Reader:
    """A browser, signed in at every site."""

    driver: webdriver.Chrome
    sites: dict[str, str]

    def open(self, path: str, *, site: str = CLUSTER) -> None:
        """Load a page."""
        self.driver.get(self.sites[site] + path)

    def run(self, script: str, *values: object) -> Any:  # whatever the script returns
        """Run a script in the page; its policy does not hold for the driver."""
        return self.driver.execute_script(script, *values)

    def widen(self, width: int) -> None:
        """Show the page so many pixels wide."""
        shape = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def prefer(self, theme: str) -> None:
        """Have the system be light or dark."""
        wish = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)

    def said(self) -> list[str]:
        """What the console holds since it was asked last: errors, and what the policy forbade."""
        return [line["message"] for line in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def press(self, *keys: str) -> None:
        """Type on the page, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One browser for all; it needs what `make test` fetches."""
    if missing := [str(one.relative_to(ROOT)) for one in (AXE, CHARTS) if not one.exists()]:
        said = f"not fetched: {', '.join(missing)}; run make charts"
        if os.environ.get("CI") == "true":
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    profile = str(tmp_path_factory.mktemp("browser"))
    with open_sites(ListStore(list(traffic(25)))) as sites, chromium_driver(profile) as driver:
        move_in(driver, sites[CLUSTER])
        yield Reader(driver, sites)


@pytest.mark.parametrize("place", [pytest.param(one, id=one.name) for one in PLACES])
def test_a_page_can_be_used_by_everyone(reader: Reader, place: Place) -> None:
    """Axe finds nothing serious, in any theme and width; nothing has to be scrolled sideways."""
    reader.open(place.path, site=place.site)
    assert reader.run("return location.pathname") == urlsplit(place.path).path
    reader.run(_OPEN_ALL)
    reader.run(AXE.read_text())
    found = {}
    for width in (WIDE, HALF, NARROW):
        reader.widen(width)
        for theme in THEMES:
            reader.run("document.documentElement.dataset.theme = arguments[0]", theme)
            violations = reader.driver.execute_async_script(_RUN_AXE, RULES)
            found[theme, width] = [said for impact, said in violations if impact in SERIOUS]
    too_wide = reader.run(_TOO_WIDE)

    assert {where: said for where, said in found.items() if said} == {}
    assert too_wide == []


def test_the_policy_lets_the_chart_be_drawn(reader: Reader) -> None:
    """Without an inline script or style, in the colours of the theme, also when that changes; the console is empty."""
    reader.said()  # Of pages before.
    reader.widen(WIDE)
    reader.prefer("light")
    reader.open("/")
    light = reader.run(_BARS)
    reader.prefer("dark")
    dark = WebDriverWait(reader.driver, 10).until(lambda _: bars if (bars := reader.run(_BARS)) != light else None)

    assert {steps for _, steps in light} == {60}
    assert {colour for colour, _ in light}.isdisjoint(colour for colour, _ in dark)
    assert reader.said() == []


def test_a_slice_leads_to_its_calls(reader: Reader) -> None:
    """A click on a part of a bar asks for the calls of its step that came to that."""
    reader.widen(WIDE)
    reader.open("/")
    x, y, link = reader.run("""
        const chart = Chart.getChart("course");
        chart.canvas.scrollIntoView({block: "center"});
        const box = chart.canvas.getBoundingClientRect();
        const part = chart.data.datasets.findIndex((one) => one.label.includes("busy"));
        const step = chart.data.datasets[part].data.findIndex((calls) => calls > 0);
        const bar = chart.getDatasetMeta(part).data[step];
        const cell = document.getElementById("course-table").tBodies[0].rows[step].cells[part + 1];
        return [box.x + bar.x, box.y + (bar.y + bar.base) / 2, cell.querySelector("a").href];
    """)
    for kind in ("mousePressed", "mouseReleased"):
        at = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        reader.driver.execute_cdp_cmd("Input.dispatchMouseEvent", at)

    assert "outcome=busy" in link
    WebDriverWait(reader.driver, 10).until(url_to_be(link))


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/calls?last=1h", "links"),
        ("/live", "links"),
        ("/", "links"),
        ("/failovers", "rows"),
        ("/nodes/e2-ingest", "rows"),
    ],
)
def test_j_and_k_go_through_rows(reader: Reader, path: str, rows: str) -> None:
    """To the next and back; a row that leads somewhere has its link focused, any other is focused itself."""
    reader.open(path)
    reader.press("j")
    first = reader.run(_FOCUSED)
    reader.press("j")
    second = reader.run(_FOCUSED)
    reader.press("k")

    assert {first[0], second[0]} == {"A" if rows == "links" else "TR"}
    assert first != second
    assert reader.run(_FOCUSED) == first


def test_keys_lead_to_the_search_and_to_help(reader: Reader) -> None:
    """`/` and `?`; the first Tab reaches a link past all that pages share, and it can be seen."""
    reader.open("/calls")
    reader.press(Keys.TAB)
    skip = reader.driver.switch_to.active_element
    assert (skip.text, skip.is_displayed(), skip.location["x"] >= 0) == ("Skip to the content", True, True)
    assert skip.value_of_css_property("outline-style") == "solid"
    reader.press("/")
    assert reader.driver.switch_to.active_element.get_attribute("id") == "q"
    reader.press(Keys.TAB)
    reader.press("?")
    assert reader.driver.find_element(By.ID, "keys").is_displayed()


def test_the_range_menu_opens_and_closes_by_keys(reader: Reader) -> None:
    """Enter opens it, Escape closes it and leaves the focus on it; a choice is in the address, and goes along."""
    reader.open("/")
    summary = reader.driver.find_element(By.CSS_SELECTOR, ".range summary")
    summary.send_keys(Keys.ENTER)
    assert reader.driver.find_element(By.ID, "range-since").is_displayed()
    reader.press(Keys.ESCAPE)
    assert not reader.driver.find_element(By.ID, "range-since").is_displayed()
    assert reader.driver.switch_to.active_element == summary
    summary.send_keys(Keys.ENTER)
    reader.driver.find_element(By.LINK_TEXT, "4 h").click()
    reader.driver.find_element(By.LINK_TEXT, "Calls").click()

    assert reader.driver.current_url.endswith("/calls?last=4h")

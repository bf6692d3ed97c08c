"""Cluster and failovers in a real browser: what would stop is shown in place, what is new is told by the stream."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import NOW, TOKEN
from tests.app.cluster_for_test import ListSight, clustered
from tests.app.served import served
from tests.peers.browser import chromium_driver

from everline.app.cluster_view import Glance
from everline.cluster.entry import Kind, make_entry

pytestmark = [pytest.mark.peers("chromium", "chromedriver")]


@pytest.fixture(name="sight")
def made() -> ListSight:
    """A cluster of three racks."""
    return ListSight()


@pytest.fixture(name="base")
def serving(sight: ListSight) -> Iterator[str]:
    """Address of an application in it."""
    with served(clustered(sight)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(name="tab")
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A low window, so that the map is higher than it."""
    with chromium_driver(str(tmp_path), "--window-size=900,500") as driver:
        yield driver


def until_title(tab: webdriver.Chrome, words: str) -> None:
    """Return once the page says so."""
    WebDriverWait(tab, 10).until(lambda _: words in tab.title)


def test_a_part_is_thought_away_in_place(base: str, tab: webdriver.Chrome) -> None:
    """Nothing moves, the focus stays, the address follows; Esc ends it, and Back has it again."""
    where = "return document.querySelector('[data-if=\"host:b3\"]').getBoundingClientRect().top"
    tab.get(f"{base}/login?next=/cluster#token={TOKEN}")
    until_title(tab, "Cluster")
    tab.execute_script("document.querySelector('[data-if=\"host:b3\"]').scrollIntoView()")
    before = tab.execute_script(where)

    tab.find_element(By.CSS_SELECTOR, '[data-if="host:b3"]').click()
    until_title(tab, "If host b3 dies, all goes on")

    assert tab.execute_script(where) == before
    assert tab.switch_to.active_element.get_attribute("data-if") == "host:b3"
    assert tab.current_url == f"{base}/cluster?if=host%3Ab3"
    assert "Shard 1 keeps one copy: writes go on." in tab.find_element(By.ID, "if").text

    tab.switch_to.active_element.send_keys(Keys.ESCAPE)
    until_title(tab, "Cluster ·")
    assert (tab.current_url, tab.find_element(By.ID, "if").text) == (f"{base}/cluster", "")

    tab.back()
    until_title(tab, "If host b3 dies")


def test_strip_and_news_come_by_the_stream(base: str, sight: ListSight, tab: webdriver.Chrome) -> None:
    """Without a question of the page: the strip turns colour, and a new entry of the log is offered, not forced."""
    tab.get(f"{base}/login?next=/failovers#token={TOKEN}")
    WebDriverWait(tab, 10).until(lambda _: "live from node-1" in tab.find_element(By.ID, "stream").text)

    sight.glances = [Glance("Ingest 2/3", "degraded")]
    sight.log.append(make_entry(Kind.NODE_DEAD, int(NOW * 1e6), node="c1-ingest", by="a1-app"))

    WebDriverWait(tab, 10).until(lambda _: "◐ Ingest 2/3" in tab.find_element(By.ID, "strip").text)
    WebDriverWait(tab, 10).until(lambda _: tab.find_element(By.ID, "news").is_displayed())
    link = tab.find_element(By.CSS_SELECTOR, "#news a")
    assert link.text == "New: node dead c1-ingest. Show it"
    assert "c1-ingest was dead" not in tab.page_source

    link.click()
    WebDriverWait(tab, 10).until(lambda _: "c1-ingest was dead" in tab.page_source)
    assert not tab.find_element(By.ID, "news").is_displayed()

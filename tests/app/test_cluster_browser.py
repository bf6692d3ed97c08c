"""The map of the cluster in a real browser: what would stop is shown in place, and ended by a key."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import TOKEN
from tests.app.cluster_for_test import ListSight, clustered

from everline.app.web import create_app

BROWSER = shutil.which("chromium") or "chromium"
pytestmark = [
    pytest.mark.peers("chromium"),
    pytest.mark.skipif(not Path(BROWSER).exists(), reason="needs Chromium"),
]


@pytest.fixture(name="base")
def serving() -> Iterator[str]:
    """Address of an application in a cluster of three racks."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        app = create_app(clustered(ListSight()))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(name="tab")
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A low window, so that the map is higher than it."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
                 "--window-size=900,500", f"--user-data-dir={tmp_path}"):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


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

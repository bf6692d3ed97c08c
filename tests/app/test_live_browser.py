"""The live table in a browser whose clock is wrong, of calls that say odd things."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Final

import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import START_US, TOKEN, answered_call, message, services_with
from tests.app.served import served
from tests.peers.browser import chromium_driver

from everline.bus.memory import MemoryBus
from everline.calls.event import EventBatch

pytestmark = [pytest.mark.peers("chromium", "chromedriver")]

AGO_S: Final = 90
SKEWED: Final = "const now = Date.now; Date.now = () => now() + {} * 1000;"
DURATION: Final = "return document.querySelector('[data-call=\"live@test\"]').cells[4].textContent;"


@pytest.fixture(name="bus")
def with_a_call() -> MemoryBus:
    """With a call that has lasted for a minute and a half."""
    bus = MemoryBus()
    start_ms = (time() - AGO_S) * 1000 - START_US / 1000
    asyncio.run(bus.insert(EventBatch.of(answered_call("live@test", start_ms=start_ms)[:5])))
    return bus


@pytest.fixture(name="base")
def serving(bus: MemoryBus) -> Iterator[str]:
    """Address of an application on the clock of this machine."""
    with served(replace(services_with(bus=bus), clock=time)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(name="tab")
def chromium(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser."""
    with chromium_driver(str(tmp_path)) as driver:
        yield driver


@pytest.mark.parametrize("ahead_s", [-86_400, -30, 3_600], ids=["a-day-behind", "a-little-behind", "an-hour-ahead"])
def test_durations_are_by_the_clock_of_the_server(base: str, tab: webdriver.Chrome, ahead_s: int) -> None:
    """Whatever that of the reader says: a minute and a half, and ticking."""
    tab.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SKEWED.format(ahead_s)})
    tab.get(f"{base}/login?next=/live#token={TOKEN}")
    WebDriverWait(tab, 10).until(lambda _: "live from node-1" in tab.page_source)
    first = tab.execute_script(DURATION)
    WebDriverWait(tab, 10).until(lambda _: tab.execute_script(DURATION) != first)

    assert str(tab.execute_script(DURATION)).startswith(("1 m ", "2 m "))


def test_a_call_that_comes_by_the_stream_shows_its_odd_text_with_signs(
    base: str, bus: MemoryBus, tab: webdriver.Chrome
) -> None:
    """As the page does that the server makes."""
    tab.get(f"{base}/login?next=/live#token={TOKEN}")
    WebDriverWait(tab, 10).until(lambda _: "live from node-1" in tab.page_source)
    start_ms = time() * 1000 - START_US / 1000
    odd = message("INVITE", start_ms, call_id="odd\u202e@x", caller="+49\u202e103\0", callee="<b>\x1b\U0001f4de")
    asyncio.run(bus.insert(EventBatch.of([odd])))

    WebDriverWait(tab, 10).until(lambda _: "+49[U+202E]103␀" in tab.page_source)
    assert "&lt;b&gt;␛\U0001f4de" in tab.page_source

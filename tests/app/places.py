"""
Every page that people look at: what the accessibility test opens, and what pictures are taken of.

A new page is a new line here.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from tests.app.calls_for_test import PASSWORD, gate_with, services_with, user_of
from tests.app.served import served
from tests.app.site import FORKED, SiteSight, live_calls

from everline.access.roles import Role
from everline.app.services import CallStore
from everline.bus.memory import MemoryBus
from everline.calls.event import EventBatch

CLUSTER: Final = "cluster"
ALONE: Final = "alone"
NEW: Final = "new"
FIRST: Final = "first"


@dataclass(frozen=True, slots=True)
class Place:
    """
    A page.

    Attributes:
        path: Its address; the sites are those of `open_sites`.
        in_narrow, on_wall: A picture is taken of it at 360 px, or on a wall screen, as well.
    """

    name: str
    path: str
    site: str = CLUSTER
    in_narrow: bool = False
    on_wall: bool = False


MADE: Final = {
    "/api/v1/users": {"name": "carla", "role": "operator", "password": PASSWORD},
    "/api/v1/tokens": {"name": "daily report", "role": "viewer", "areas": ["calls"], "days": 90},
}
_POST: Final = """
    const [path, wish, done] = arguments;
    fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(wish)})
        .then((answer) => done(answer.status), () => done(0));
"""

PLACES: Final = (
    Place("overview", "/", in_narrow=True, on_wall=True),
    Place("overview-alone", "/?last=4h", ALONE),
    Place("overview-new", "/", NEW),
    Place("live", "/live", in_narrow=True),
    Place("calls", "/calls?last=1h", in_narrow=True),
    Place("calls-none", "/calls?caller=nobody"),
    Place("calls-new", "/calls", NEW),
    Place("quality", "/quality", in_narrow=True),
    Place("quality-new", "/quality", NEW),
    Place("call", f"/calls/{FORKED}", in_narrow=True),
    Place("cluster", "/cluster", in_narrow=True),
    Place("cluster-if", "/cluster?if=host:e2"),
    Place("failovers", "/failovers"),
    Place("node", "/nodes/e2-ingest"),
    Place("problem-filter", "/calls?status=99"),
    Place("problem-call", "/calls/nobody@site"),
    Place("account", "/account"),
    Place("users", "/admin/users"),
    Place("user", "/admin/users/carla"),
    Place("tokens", "/admin/tokens"),
    Place("audit", "/admin/audit"),
    Place("setup", "/setup", FIRST),
    Place("login", "/login", in_narrow=True),
)


@contextmanager
def open_sites(store: CallStore) -> Iterator[dict[str, str]]:
    """
    Four sites, served: the address of each.

    Args:
        store: Of the cluster, and of the node that is alone; the new node has an empty one, the first no user either.
    """
    bus = MemoryBus()
    asyncio.run(bus.insert(EventBatch.of(list(live_calls()))))
    alone = replace(services_with(bus=bus, gate=gate_with(*map(user_of, Role))), store=store)
    cluster = replace(alone, node="e1-app", cluster=SiteSight.of_two_regions())
    with ExitStack() as stack:
        new = services_with(gate=gate_with(user_of(Role.ADMIN)))
        sites = {CLUSTER: cluster, ALONE: alone, NEW: new, FIRST: services_with()}
        yield {name: f"http://127.0.0.1:{stack.enter_context(served(one))}" for name, one in sites.items()}


def move_in(driver: webdriver.Chrome, address: str) -> None:
    """
    Sign in as an admin, who makes a user and a token: lists and the audit log hold something.

    Cookies are of a host, whatever its port: signed in at one, a browser is at all sites with the same key.
    """
    driver.get(f"{address}/login")
    driver.find_element(By.ID, "name").send_keys(Role.ADMIN)
    driver.find_element(By.ID, "password").send_keys(PASSWORD, Keys.ENTER)
    WebDriverWait(driver, 10).until(lambda one: "/login" not in one.current_url)
    for path, wish in MADE.items():
        assert driver.execute_async_script(_POST, path, wish) == 201

"""A lab for all tests of a module, and a table of what faults did to it."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console
from tests.conftest import require_programs
from tests.faults.site import WHOLE_AGAIN_S, Site, visited

from everline.drill.report import DrillResult, table_of
from everline.lab.down import take_down
from everline.lab.ip import namespaces
from everline.lab.lab import Lab
from everline.lab.names import clusters_in
from everline.lab.up import bring_up
from everline.topology.parse import parse_topology

EXAMPLES = Path(__file__).parents[2] / "examples"
CLUSTER = f"faults-{os.getpid()}"
LEFT = re.compile(r"faults-(?P<pid>\d+)")
FIRST_NETWORK, NETWORKS = 80, 40
ROOM_BYTES = 8 << 30


def cluster_text(name: str) -> str:
    """
    A shipped example with a name and addresses of its own: another lab may be up, and another run under way.

    In two regions agents send to the ingest nodes themselves: what balancers do is seen on the single site. What many
    hosts do shares the cores of one machine here, and most of it is the cost of an insert, however small: there are
    half as many.
    """
    example = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    if name == "two-regions-and-witness":
        example = re.sub(r"balancer: , |balancer: [0-9.]+, |^ +balancer:\n", "", example, flags=re.MULTILINE)
    network = f"10.{FIRST_NETWORK + os.getpid() % NETWORKS}."
    own = example.replace("cluster: everline", f"cluster: {CLUSTER}").replace("10.77.", network)
    return own.replace("\nstore:\n", "\nstore:\n  insert_every_ms: 800\n", 1)


@contextmanager
def directory() -> Iterator[Path]:
    """In memory where there is room: making files on a disk costs more than all that is told of them."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own in it
    in_memory = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    with TemporaryDirectory(prefix="faults-", dir=memory if in_memory else None) as made:
        yield Path(made)


def remove_those_left_behind() -> None:
    """Labs of runs that were killed before they could end theirs."""
    for name in clusters_in(namespaces()):
        if (left := LEFT.fullmatch(name)) and not Path("/proc", left["pid"]).exists():
            take_down(name)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The example that a module names, for all its tests; what its programs said is kept."""
    if os.geteuid() != 0:
        said = "a lab needs root: run the tests by sudo"
        if os.environ.get("CI") == "true":
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    require_programs("redis-server", "/usr/sbin/clickhouse-server", "java", "ip", "nginx", "keepalived")
    remove_those_left_behind()
    text = cluster_text(request.param)
    with directory() as place:
        made = Lab(place / CLUSTER, parse_topology(text, source="cluster.yaml"))
        try:
            asyncio.run(bring_up(made, text, tell=lambda line: print(line, file=sys.stderr)))
            yield made
        finally:
            take_down(CLUSTER)
            kept = tmp_path_factory.mktemp("logs")
            for log in made.layout.directory.glob("*/log/*.log"):
                shutil.copy(log, kept)


@pytest.fixture
async def site(lab: Lab) -> AsyncIterator[Site]:
    """The lab's cluster, whole; whatever the test before left broken is let go, healed and started."""
    async with visited(lab) as site:
        await site.restore(within_s=WHOLE_AGAIN_S)
        yield site


@pytest.fixture(scope="module")
def results() -> Iterator[list[DrillResult]]:
    """What each fault did; printed as a table when all are through."""
    found: list[DrillResult] = []
    yield found
    if found:
        Console(file=sys.stderr, width=160).print(table_of(found))

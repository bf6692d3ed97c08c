"""Drains in a real Keeper: nobody needs to lead for it."""

import asyncio
import os

import pytest
from tests.cluster.conftest import keeper_of
from tests.cluster.test_heart import until
from tests.rigs.zookeeper import Ensemble

from everline.cluster.drain import Drain, Drains, parse_drain
from everline.cluster.keeper import Keeper, KeeperRefusedError, KeeperUnavailableError


@pytest.fixture
def cluster() -> str:
    """A name of its own for each test."""
    return f"c{os.urandom(4).hex()}"


async def test_a_drain_is_there_until_it_is_taken_back(keeper: Keeper, cluster: str) -> None:
    """Whoever does it twice is told."""
    drains = Drains(keeper, cluster)

    assert await drains.read() == {}
    assert await drains.drain("e1-ingest", who="ann", at_us=5, reason="new disk")
    assert not await drains.drain("e1-ingest", who="bob", at_us=6)
    assert await drains.read() == {"e1-ingest": Drain("e1-ingest", "ann", 5, "new disk")}
    assert await drains.undrain("e1-ingest")
    assert not await drains.undrain("e1-ingest")
    assert await drains.read() == {}


async def test_nodes_hear_of_it_at_once(ensemble: Ensemble, keeper: Keeper, cluster: str) -> None:
    """Also of the second and the third change: a watch is set anew each time."""
    told: list[list[str]] = []
    async with keeper_of(ensemble) as other:
        node = Drains(other, cluster, told=lambda drains: told.append(sorted(drains)))
        task = asyncio.create_task(node.run())
        operator = Drains(keeper, cluster)
        await operator.drain("a", who="ann", at_us=1)
        await until(lambda: told == [["a"]], within_s=3)
        await operator.drain("b", who="ann", at_us=1)
        await until(lambda: told == [["a"], ["a", "b"]], within_s=3)
        await operator.undrain("a")
        await until(lambda: told == [["a"], ["a", "b"], ["b"]], within_s=3)
        task.cancel()
        await asyncio.wait([task])


async def test_without_a_majority_the_operator_is_told_clearly(ensemble: Ensemble, cluster: str) -> None:
    """And the drains that were known hold on."""
    async with keeper_of(ensemble) as keeper:
        drains = Drains(keeper, cluster)
        await drains.drain("a", who="ann", at_us=1)
        task = asyncio.create_task(drains.run())
        await until(lambda: "a" in drains.present)
        try:
            for one in ensemble.servers[:2]:
                one.kill()
            with pytest.raises(KeeperUnavailableError, match="majority of the hosts with the role keeper"):
                await drains.drain("b", who="ann", at_us=1)
            assert set(drains.present) == {"a"}
        finally:
            task.cancel()
            await asyncio.wait([task])
            await asyncio.to_thread(ensemble.revive)


async def test_a_keeper_that_is_not_there_is_said_within_the_deadline(cluster: str) -> None:
    """Port 1 answers nobody."""
    keeper = Keeper(["127.0.0.1:1"], session_ms=2_000)
    keeper.start()
    try:
        with pytest.raises(KeeperUnavailableError, match=r"127\.0\.0\.1:1"):
            await keeper.connected(within_s=0.3)
        with pytest.raises(KeeperUnavailableError):
            await Drains(keeper, cluster).read()
    finally:
        await keeper.close()


async def test_only_those_with_the_secret_can_read_or_change(ensemble: Ensemble, cluster: str) -> None:
    """Keeper is often shared with ClickHouse; the error does not tell the secret."""
    async with keeper_of(ensemble, secret="ours-alone") as ours, keeper_of(ensemble, secret="another") as theirs:
        # Below a root of its own: /everline itself is open in this ensemble, other tests made it.
        assert await ours.create(f"/{cluster}/drain", b"x")
        # The change first: after it their server knows of the znode too, and does not merely miss it.
        with pytest.raises(KeeperRefusedError):
            await theirs.set(f"/{cluster}/drain", b"y")
        with pytest.raises(KeeperRefusedError, match="secrets") as refused:
            await theirs.get(f"/{cluster}/drain")

    assert "another" not in str(refused.value).replace("another secret", "")


def test_a_znode_with_anything_in_it_is_a_drain() -> None:
    """Somebody may have made it by hand."""
    assert parse_drain("a", b"\xff") == Drain("a", "", 0)

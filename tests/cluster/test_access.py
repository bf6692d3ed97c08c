"""Users and tries where a cluster keeps them: a real Keeper, a real Redis, several nodes at once."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.app.calls_for_test import gate_with
from tests.cluster.conftest import found_primary, keeper_of
from tests.rigs.redis import RedisRig
from tests.rigs.zookeeper import Ensemble

from everline.access.account import User
from everline.access.audit import Act
from everline.access.book import PENDING, Change
from everline.access.desk import Caller, Desk, UserWish
from everline.access.errors import BookConflictError, BookUnavailableError
from everline.access.file_audit import FileAudit
from everline.access.keeper_book import KeeperBook
from everline.access.roles import Actor, Role
from everline.access.throttle import Limit, RedisThrottle
from everline.access.trail import Repeat, Trail
from everline.bus.errors import BusError
from everline.cluster.keeper import Keeper

BOB = User("bob", Role.VIEWER)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> str:
    """A name of its own, so a book of its own, for each test."""
    return f"access-{abs(hash(request.node.name))}"


@asynccontextmanager
async def book_of(ensemble: Ensemble, cluster: str) -> AsyncIterator[KeeperBook]:
    """The book as one more node has it, with a session of its own."""
    async with keeper_of(ensemble) as keeper:
        book = KeeperBook(keeper, cluster)
        running = asyncio.create_task(book.run())
        try:
            await until(lambda: book.contents is not None)
            yield book
        finally:
            running.cancel()
            await asyncio.wait([running])


async def until(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another program
            await asyncio.sleep(0.005)


def known(book: KeeperBook) -> set[str]:
    """Names of the users that a node knows."""
    return set(book.contents.users) if book.contents else set()


async def test_what_one_node_changes_the_others_know_without_asking(
    ensemble: Ensemble, cluster: str, tmp_path: Path
) -> None:
    """The one that changed it at once, the others a moment later; removals too."""
    async with book_of(ensemble, cluster) as one, book_of(ensemble, cluster) as two:
        trail = Trail(one, FileAudit(tmp_path / "audit"), node="one")
        await trail.perform(Act("root", "user.added", "bob"), [Change("users/bob", BOB.encode())])
        assert known(one) == {"bob"}
        await until(lambda: known(two) == {"bob"})

        version = two.contents.versions["users/bob"] if two.contents else -1
        theirs = Trail(two, FileAudit(tmp_path / "audit"), node="two")
        await theirs.perform(Act("root", "user.removed", "bob"), [Change("users/bob", None, version)])
        await until(lambda: known(one) == set())


async def test_of_two_who_change_the_same_in_one_moment_one_is_told(
    ensemble: Ensemble, cluster: str, tmp_path: Path
) -> None:
    """And nothing is written down of what was not done."""
    async with book_of(ensemble, cluster) as one, book_of(ensemble, cluster) as two:
        trails = [Trail(book, FileAudit(tmp_path / "audit"), node="n") for book in (one, two)]
        act, change = Act("root", "user.added", "bob"), Change("users/bob", BOB.encode())
        results = await asyncio.gather(*(one.perform(act, [change]) for one in trails), return_exceptions=True)

        assert [type(one) for one in results if isinstance(one, Exception)] == [BookConflictError]
        assert [one.seq for one in await trails[0].entries()] == [1]


async def test_of_two_admins_who_demote_each_other_in_one_moment_one_stays(ensemble: Ensemble, cluster: str) -> None:
    """Through different nodes, each of which still sees the other one as an admin."""
    async with book_of(ensemble, cluster) as one, book_of(ensemble, cluster) as two:
        gates = [gate_with(book=book) for book in (one, two)]
        admins = [User(name, Role.ADMIN) for name in ("ann", "bea")]
        for admin in admins:
            change = Change(f"users/{admin.name}", admin.encode())
            await gates[0].trail.perform(Act("root", "user.added", admin.name), [change])
        await until(lambda: known(two) == {"ann", "bea"})
        acts = [
            Desk(gate).change_user(Caller(Actor(who.name, who.role)), whom.name, UserWish(role=Role.VIEWER))
            for gate, who, whom in zip(gates, admins, reversed(admins), strict=True)
        ]
        results = await asyncio.gather(*acts, return_exceptions=True)

        assert sorted(isinstance(one, BookConflictError) for one in results) == [False, True]
        left = await one.folder("users")
        assert sorted(User.parse(leaf.text).role for leaf in left.values()) == [Role.ADMIN, Role.VIEWER]


async def test_nodes_that_act_at_once_write_one_chain(ensemble: Ensemble, cluster: str, tmp_path: Path) -> None:
    """Forty acts of two nodes, and both bring entries into the log: each is there once, and each follows the other."""
    async with book_of(ensemble, cluster) as one, book_of(ensemble, cluster) as two:
        trails = [Trail(book, FileAudit(tmp_path / "audit"), node=f"n{at}") for at, book in enumerate((one, two))]
        flushing = [asyncio.create_task(trail.run()) for trail in trails]
        for start in range(0, 20, 5):
            acts = [Act("root", "token.made", str(start + at)) for at in range(5)]
            await asyncio.gather(*(trail.perform(act) for act in acts for trail in trails))
        async with asyncio.timeout(10):
            while await one.folder(PENDING):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
        for task in flushing:
            task.cancel()
        await asyncio.wait(flushing)

        verdict = await trails[0].check()
        assert (verdict.entries, verdict.fault) == (40, "")


async def test_a_request_that_comes_to_two_nodes_is_done_once(ensemble: Ensemble, cluster: str, tmp_path: Path) -> None:
    """As when the first node died before it could answer."""
    async with book_of(ensemble, cluster) as one, book_of(ensemble, cluster) as two:
        trails = [Trail(book, FileAudit(tmp_path / "audit"), node="n") for book in (one, two)]
        repeat, act = Repeat.of("root", "key", "make"), Act("root", "token.made", "t")
        told = [await trail.perform(act, repeat=repeat, answer=f"by {at}") for at, trail in enumerate(trails)]

        assert told == ["by 0", "by 0"]
        assert len(await trails[1].entries()) == 1


async def test_while_keeper_is_away_what_was_known_counts_and_nothing_changes(
    ensemble: Ensemble, cluster: str, tmp_path: Path
) -> None:
    """Sessions go on to read; an act is refused, and can be tried again."""
    async with book_of(ensemble, cluster) as book:
        trail = Trail(book, FileAudit(tmp_path / "audit"), node="n")
        await trail.perform(Act("root", "user.added", "bob"), [Change("users/bob", BOB.encode())])
        for server in ensemble.servers:
            server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(BookUnavailableError, match="Keeper"):
                await trail.perform(Act("root", "user.added", "eve"), [Change("users/eve", BOB.encode())])
            assert known(book) == {"bob"}
        finally:
            for server in ensemble.servers:
                server.signal(signal.SIGCONT)
        ensemble.until_serving()
        async with asyncio.timeout(20):
            while True:
                try:
                    await trail.perform(Act("root", "user.added", "eve"), [Change("users/eve", BOB.encode())])
                except BookUnavailableError:
                    await asyncio.sleep(0.1)
                except BookConflictError:
                    break  # The one whose answer was lost was made after all.
                else:
                    break
        await until(lambda: known(book) == {"bob", "eve"})


async def test_what_is_no_user_lets_nobody_in(ensemble: Ensemble, cluster: str, keeper: Keeper) -> None:
    """Garbage in Keeper is passed over, and the others are known."""
    for name, text in (("bob", BOB.encode()), ("eve", "garbage"), ("mal", json.dumps({"name": "mal", "role": "king"}))):
        await keeper.create(f"/everline/{cluster}/access/users/{name}", text.encode())
    async with book_of(ensemble, cluster) as book:
        assert known(book) == {"bob"}


async def test_tries_are_counted_for_all_nodes_and_end(redis_servers: RedisRig) -> None:
    """Two nodes share the count; its end is set in the same moment."""
    async with found_primary(redis_servers) as one, found_primary(redis_servers) as two:
        nodes = [RedisThrottle(one), RedisThrottle(two)]
        waits = [await nodes[at % 2].wait_s("client 192.0.2.1", Limit(3, 60)) for at in range(5)]
        assert waits[:3] == [0, 0, 0]
        assert all(1 <= wait <= 60 for wait in waits[3:])
        assert await nodes[0].wait_s("client 192.0.2.2", Limit(3, 60)) == 0

        await nodes[1].forgive("client 192.0.2.1")
        assert await nodes[0].wait_s("client 192.0.2.1", Limit(3, 60)) == 0


async def test_while_redis_is_away_nobody_may_try(redis_servers: RedisRig) -> None:
    """Rather than everybody as often as they like."""
    async with found_primary(redis_servers) as primary:
        redis_servers.kill_all()
        with pytest.raises(BusError):
            await RedisThrottle(primary).wait_s("client 192.0.2.1", Limit(3, 60))

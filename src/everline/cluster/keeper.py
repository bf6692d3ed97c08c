"""
Keeper (ZooKeeper's protocol) for the event loop: kazoo in threads of its own, every question with a deadline.

Nothing is asked while the connection is away: kazoo would keep the question and put it after the reconnection, when
nobody waits for the answer any more.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.security import make_digest_acl

from everline.errors import EverlineError

log = logging.getLogger(__name__)

USER: Final = "everline"
AT_ONCE: Final = 50
"""Znodes of one parent that are read, or removed, at the same time."""
_GONE: Final = (ConnectionLoss, ConnectionClosedError, OperationTimeoutError, SessionExpiredError)
_REFUSED: Final = (NoAuthError, AuthFailedError, InvalidACLError)
_OTHERWISE: Final = (NoNodeError, NodeExistsError, BadVersionError)
_ROLLED_BACK: Final = (RolledBackError, RuntimeInconsistency)


class Link(StrEnum):
    """How the connection to Keeper is. SUSPENDED: away, and whether the session outlives it is not known yet."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    LOST = "lost"


class KeeperError(EverlineError):
    """Keeper refused what was asked."""


class KeeperUnavailableError(KeeperError):
    """No majority of Keeper answered in time. Whether the act was done is not known."""

    def __init__(self, servers: Sequence[str], deadline_s: float) -> None:
        super().__init__(
            f"Keeper did not answer within {deadline_s:g} s ({len(servers)} asked: {', '.join(servers)}): see that a "
            "majority of the hosts with the role keeper runs and can be reached; `everline cluster status` shows them"
        )


class KeeperRefusedError(KeeperError):
    """The znodes belong to somebody with another secret."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"Keeper refuses {path} to this node: its znodes were made with another secret; "
            "give every node the same secrets (cluster.yaml: secrets)"
        )


@dataclass(frozen=True, slots=True)
class Znode:
    """
    One znode as it was read.

    Args:
        czxid: Number of the transaction that made it: it grows with every change anywhere in Keeper and is never used
            twice, hence a fencing token.
        owner: Session that an ephemeral znode belongs to, 0 for a lasting one.
        version: How often its data was changed.
    """

    path: str
    data: bytes
    czxid: int
    owner: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class ZnodeChange:
    """
    One of the changes that are made together.

    Args:
        data: What it becomes; None removes it.
        version: What it must be now; None if the znode must not be there.
    """

    path: str
    data: bytes | None
    version: int | None


class Keeper:
    """
    One session with Keeper; it reconnects for ever by itself, with a new session when the old one has expired.

    Args:
        servers: `host:port` of each.
        session_ms: After so long without contact Keeper gives the session, and what it holds, up.
        secret: Shared by all nodes of the cluster: only they can read and change the znodes. Empty: everybody can.
    """

    def __init__(self, servers: Sequence[str], *, session_ms: int, secret: str = "") -> None:
        self._servers = tuple(servers)
        self.session_s = session_ms / 1000
        self._deadline_s = self.session_s / 2
        self._listeners: list[Callable[[Link], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connected = asyncio.Event()
        # kazoo narrates every attempt, and its requests (the secret among them) below INFO; ours say each change once.
        quiet = logging.getLogger("everline.cluster.kazoo")
        quiet.setLevel(logging.CRITICAL)
        login = f"{USER}:{hashlib.sha256(secret.encode()).hexdigest()}"
        self._client = KazooClient(
            hosts=",".join(servers),
            timeout=self.session_s,
            handler=_QuickHandler(self.session_s / 4),
            auth_data=[("digest", login)] if secret else None,
            default_acl=[make_digest_acl(USER, login.partition(":")[2], all=True)] if secret else None,
            connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3},
            logger=quiet,
        )

    @property
    def link(self) -> Link:
        """The connection at this moment, whether or not the loop has heard of it yet."""
        return Link(self._client.state.lower())

    @property
    def session_id(self) -> int:
        """The session of the present connection; 0 when there is none."""
        known = self._client.client_id
        return int(known[0]) if known else 0

    def listen(self, listener: Callable[[Link], None]) -> None:
        """Call this in the loop at every change of the connection."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to connect, without waiting for it."""
        self._loop = asyncio.get_running_loop()
        self._client.add_listener(self._changed)
        self._client.start_async()

    async def connected(self, *, within_s: float) -> None:
        """
        Wait for a connection.

        Raises:
            KeeperUnavailableError: There was none in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._connected.wait()
        except TimeoutError:
            raise KeeperUnavailableError(self._servers, within_s) from None

    async def close(self) -> None:
        """End the session: what it holds is given up at once."""
        await asyncio.to_thread(self._client.stop)
        await asyncio.to_thread(self._client.close)

    async def get(self, path: str, *, watch: Callable[[], None] | None = None) -> Znode | None:
        """A znode, None if there is none; `watch` is called in the loop, once, when that changes."""
        watcher = self._watcher(watch)
        try:
            data, stat = await self._ask(path, lambda: self._client.get_async(path, watch=watcher))
        except NoNodeError:
            if watcher is None:
                return None
            # Only `exists` leaves a watch where nothing is. Made in between: the caller looks again.
            made = await self._ask(path, lambda: self._client.exists_async(path, watch=watcher))
            return await self.get(path) if made else None
        return Znode(path, data, int(stat.czxid), int(stat.ephemeralOwner), int(stat.version))

    async def children(self, path: str, *, watch: Callable[[], None] | None = None) -> list[str]:
        """Names of the znodes below one, sorted; none if it is not there."""
        watcher = self._watcher(watch)
        try:
            return sorted(await self._ask(path, lambda: self._client.get_children_async(path, watch=watcher)))
        except NoNodeError:
            return []

    async def below(self, path: str, *, watch: Callable[[], None] | None = None) -> list[Znode]:
        """The znodes below one, in the order of their names."""
        names = await self.children(path, watch=watch)
        found: list[Znode] = []
        for start in range(0, len(names), AT_ONCE):
            some = await asyncio.gather(*(self.get(f"{path}/{name}") for name in names[start : start + AT_ONCE]))
            found += [one for one in some if one]
        return found

    async def create(self, path: str, data: bytes = b"", *, ephemeral: bool = False) -> bool:
        """Make a znode, and those above it; False if it is there already."""
        try:
            await self._ask(path, lambda: self._client.create_async(path, data, ephemeral=ephemeral, makepath=True))
        except NodeExistsError:
            return False
        return True

    async def set(self, path: str, data: bytes) -> bool:
        """Change the data of a znode; False if it is not there."""
        try:
            await self._ask(path, lambda: self._client.set_async(path, data))
        except NoNodeError:
            return False
        return True

    async def delete(self, path: str) -> bool:
        """Remove a znode; False if it is not there."""
        try:
            await self._ask(path, lambda: self._client.delete_async(path))
        except NoNodeError:
            return False
        return True

    async def delete_tree(self, path: str) -> None:
        """Remove a znode and all below it; what is not there is gone already."""
        await self.delete_below(path)
        await self.delete(path)

    async def delete_below(self, path: str) -> None:
        """Remove all below a znode."""
        names = await self.children(path)
        for start in range(0, len(names), AT_ONCE):
            await asyncio.gather(*(self.delete_tree(f"{path}/{name}") for name in names[start : start + AT_ONCE]))

    async def take(self, seat: str, data: bytes, *, note: tuple[str, bytes]) -> bool:
        """Make an ephemeral znode and note it in another, both or neither; False if it is taken."""
        act = self._client.transaction()
        act.create(seat, data, ephemeral=True)
        act.set_data(*note)
        return await self._commit(act, seat)

    async def leave(self, seat: str, *, note: tuple[str, bytes]) -> bool:
        """Remove a znode and note it in another, both or neither; False if it is gone."""
        act = self._client.transaction()
        act.delete(seat)
        act.set_data(*note)
        return await self._commit(act, seat)

    async def commit(self, changes: Sequence[ZnodeChange]) -> int | None:
        """Make all changes or none; None when they are made, else which of them found another version."""
        act = self._client.transaction()
        for one in changes:
            if one.data is None:
                act.delete(one.path, version=one.version)
            elif one.version is None:
                act.create(one.path, one.data)
            else:
                act.set_data(one.path, one.data, version=one.version)
        results = await self._results(act, changes[0].path)
        stopped = [number for number, one in enumerate(results) if isinstance(one, _OTHERWISE)]
        return stopped[0] if stopped else None

    async def _commit(self, act: Any, path: str) -> bool:  # kazoo has no types
        return not any(isinstance(one, Exception) for one in await self._results(act, path))

    async def _results(self, act: Any, path: str) -> list[Any]:  # kazoo has no types
        results: list[Any] = await self._ask(path, act.commit_async)
        for refusal in (one for one in results if isinstance(one, Exception)):
            if not isinstance(refusal, (*_ROLLED_BACK, *_OTHERWISE)):
                raise KeeperError(f"Keeper refused {path}: {refusal!r}") from refusal
        return results

    async def _ask(self, path: str, start: Callable[[], Any]) -> Any:  # kazoo has no types
        """
        What kazoo's asynchronous call gives.

        Raises:
            KeeperUnavailableError: No answer in time.
            KeeperRefusedError: Another secret is needed.
            NoNodeError, NodeExistsError: As kazoo says it; translated by the callers above.
        """
        if self.link is not Link.CONNECTED:
            raise KeeperUnavailableError(self._servers, self._deadline_s)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            start().rawlink(lambda result: self._in_loop(lambda: _settle(answer, result)))
            async with asyncio.timeout(self._deadline_s):
                return await answer
        except (NoNodeError, NodeExistsError):
            raise
        except (*_GONE, TimeoutError) as fault:
            raise KeeperUnavailableError(self._servers, self._deadline_s) from fault
        except _REFUSED as fault:
            raise KeeperRefusedError(path) from fault
        except KazooException as fault:
            raise KeeperError(f"Keeper refused {path}: {fault!r}") from fault

    def _watcher(self, watch: Callable[[], None] | None) -> "_Watcher | None":
        return _Watcher(self, watch) if watch else None

    def _changed(self, state: str) -> None:
        """A thread of kazoo: the connection has changed."""
        self._in_loop(lambda: self._tell(Link(state.lower())))

    def _tell(self, link: Link) -> None:
        if self.link is Link.CONNECTED:
            self._connected.set()
        else:
            self._connected.clear()
        for listener in self._listeners:
            listener(link)

    def _in_loop(self, call: Callable[[], None]) -> None:
        """From a thread of kazoo; a loop that has ended needs no more news."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call)


@dataclass(frozen=True)
class _Watcher:
    """Equal to itself however often it is made: kazoo keeps a set, which must not grow with every look."""

    keeper: Keeper
    watch: Callable[[], None]

    def __call__(self, _event: object) -> None:
        """A thread of kazoo: what was looked at has changed."""
        self.keeper._in_loop(self.watch)  # noqa: SLF001 - half of the same thing


class _QuickHandler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """A server that is cut off costs a part of the session, not all of it (kazoo waits a whole session for each)."""

    def __init__(self, connect_s: float) -> None:
        super().__init__()
        self._connect_s = connect_s

    def create_connection(self, *args: Any, timeout: float, **kwargs: Any) -> Any:  # kazoo has no types
        """A connection to one server."""
        return super().create_connection(*args, timeout=min(timeout, self._connect_s), **kwargs)


def _settle(answer: "asyncio.Future[Any]", result: Any) -> None:  # kazoo has no types
    """Hand the result of kazoo to the one who waits, if he still does."""
    if answer.done():
        return
    if result.successful():
        answer.set_result(result.value)
    else:
        answer.set_exception(result.exception)

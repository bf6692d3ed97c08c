"""One ClickHouse server of the cluster: batches in, questions out, every wait with a deadline, its errors as ours."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from clickhouse_driver.errors import ServerException

from everline.calls.event import Event, EventBatch
from everline.store.answer import AS_BYTES, Answer, plain
from everline.store.errors import StoreClosedError, StoreError
from everline.store.schema import DATABASE

# The driver writes a stack trace for every connection that fails; we raise, and whoever handles it writes a line.
logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)

T = TypeVar("T")

NETWORK: Final = 210
TIMED_OUT: Final = 209
AUTHENTICATION: Final = frozenset({192, 193, 194, 516})
"""Unknown user, wrong password, password required, authentication failed."""

_SETTINGS: Final[Mapping[str, Any]] = {
    # Idempotence comes from the data. A block that is taken for a repeated one would not reach the views.
    "insert_deduplicate": 0,
    # Sub-queries over other Distributed tables are asked once, for all servers.
    "distributed_product_mode": "global",
    "load_balancing": "in_order",
    # A page names many calls.
    "max_query_size": 16 << 20,
    "max_ast_elements": 1_000_000,
    "max_expanded_ast_elements": 1_000_000,
    # What one question may take before it goes on with the help of the disk, and before it ends.
    "max_bytes_before_external_group_by": 256 << 20,
    "max_memory_usage": 1 << 30,
}
_GRACE_S: Final = 0.5
_INSERT: Final = f"INSERT INTO {DATABASE}.messages_local ({', '.join(Event._fields)}) VALUES"


class ServerError(StoreError):
    """A server refused a statement. `code` is ClickHouse's."""

    def __init__(self, server: str, why: str, *, code: int) -> None:
        super().__init__(f"ClickHouse {server}: {why}", code=code)
        self.server = server


class ServerLostError(ServerError):
    """A server can't be reached, has hung up, or has not answered in time; what it was told may have happened."""


class ServerLoginError(ServerError):
    """A server does not know the user or the password."""

    def __init__(self, server: str, *, code: int) -> None:
        super().__init__(server, "refuses user or password: check secrets.clickhouse on this host", code=code)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """
    Where a server is.

    Attributes:
        name: What logs and errors call it.
        shard: The shard that it is a replica of; its number among those is `replica`.
    """

    name: str
    host: str
    port: int
    shard: int
    replica: int


@dataclass(frozen=True, slots=True)
class Login:
    """How to sign in, and how long to wait for a connection."""

    user: str
    password: str
    connect_s: float = 1.0

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, password=***)"


class Server:
    """
    One server, over a few connections, each made when it is needed: for inserts, for questions, for pings.

    Each connection does one thing at a time, in order. All statements raise ServerError or one of its kinds.
    After a deadline the connection is cut, so that the next statement does not wait for an answer to this one.

    Args:
        asking: How many questions the server may be asked at a time.
    """

    def __init__(self, address: ServerAddress, login: Login, *, asking: int = 1) -> None:
        self.address = address
        self._inserting = _Line(address, login, "insert", _SETTINGS)
        # A payload may be anything: texts come as bytes, and `plain` reads those that are texts.
        settings = {**_SETTINGS, "strings_as_bytes": True}
        self._asking = [_Line(address, login, f"ask{number}", settings) for number in range(asking)]
        self._pinging = _Line(address, login, "ping", {})

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.address.name

    async def insert(self, batch: EventBatch, *, deadline_s: float) -> None:
        """Keep a batch on this server. When this returns its views have seen it; giving it again changes nothing."""
        if len(batch):
            await self._inserting.run(
                lambda client: client.execute(_INSERT, batch.columns, columnar=True), deadline_s=deadline_s
            )

    async def insert_columns(self, table: str, columns: Mapping[str, Sequence[Any]], *, deadline_s: float) -> None:
        """Keep rows of another table, given as columns by name."""
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
        values = list(columns.values())
        await self._inserting.run(lambda client: client.execute(sql, values, columnar=True), deadline_s=deadline_s)

    async def select(self, sql: str, *, limit_s: float, settings: Mapping[str, Any] | None = None) -> Answer:
        """The answer to a question, asked on this server. It ends the work itself at its limit, a moment before us."""
        limits = {**(settings or {}), "max_execution_time": max(1, round(limit_s))}
        columns, kinds = await self._line().run(
            lambda client: client.execute(sql, columnar=True, with_column_types=True, settings=limits),
            deadline_s=limit_s + _GRACE_S,
        )
        values = columns or [()] * len(kinds)
        return Answer({
            name: _values(name, kind, column) for (name, kind), column in zip(kinds, values, strict=True)
        })  # fmt: skip

    async def execute(self, sql: str, *, limit_s: float, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that gives nothing back."""
        await self._line().run(lambda client: client.execute(sql, settings=dict(settings or {})), deadline_s=limit_s)

    async def execute_everywhere(self, sql: str, *, wait_s: int, limit_s: float) -> None:
        """
        Run a statement ON CLUSTER.

        Raises:
            ServerError: With code 159 when some servers have not run it after `wait_s`; it stays in their queue.
        """

        def work(client: Any) -> None:  # The driver has no types.
            # As text: the driver writes this signed number as an unsigned one, and 1 would be read as -1, for ever.
            client.execute(f"SET distributed_ddl_task_timeout = {wait_s}")
            client.execute(sql)

        await self._line().run(work, deadline_s=limit_s)

    async def ping(self, *, deadline_s: float) -> None:
        """See whether it is there, whatever else it is doing."""
        await self._pinging.run(lambda client: client.execute("SELECT 1"), deadline_s=deadline_s)

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(line.close() for line in (self._inserting, *self._asking, self._pinging)))

    def _line(self) -> "_Line":
        return min(self._asking, key=lambda line: line.waiting)


def by_shard(servers: Iterable[Server]) -> dict[int, tuple[Server, ...]]:
    """The servers of each shard, in the order given."""
    known = tuple(servers)
    numbers = sorted({server.address.shard for server in known})
    return {number: tuple(server for server in known if server.address.shard == number) for number in numbers}


class _Line:
    """One connection and the thread that owns it."""

    def __init__(self, address: ServerAddress, login: Login, purpose: str, settings: Mapping[str, Any]) -> None:
        self._address = address
        self._login = login
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{address.name}-{purpose}")
        self._client: Any = None  # The driver has no types.
        self._turn = asyncio.Lock()
        self._closed = False
        self.waiting = 0

    async def run(self, work: Callable[[Any], T], *, deadline_s: float) -> T:
        if self._closed:
            raise StoreClosedError
        self.waiting += 1
        try:
            async with asyncio.timeout(deadline_s), self._turn:
                task = asyncio.get_running_loop().run_in_executor(self._thread, partial(self._work, work, deadline_s))
                try:
                    return await asyncio.shield(task)
                except asyncio.CancelledError:
                    self._cut()
                    task.add_done_callback(_forget)
                    raise
        except TimeoutError as error:
            raise ServerLostError(self._address.name, f"no answer within {deadline_s:g} s", code=TIMED_OUT) from error
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._cut()
            await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _work(self, work: Callable[[Any], T], deadline_s: float) -> T:
        if self._client is None:
            self._client = self._connected()
        try:
            # The driver waits as long as it was told when it connected, by itself.
            self._client.connection.send_receive_timeout = deadline_s
            if self._client.connection.socket is not None:
                self._client.connection.socket.settimeout(deadline_s)
            return work(self._client)
        except (DriverError, OSError, EOFError) as error:
            self._cut()
            self._client = None
            raise self._translated(error) from error
        except BaseException:
            self._cut()
            self._client = None
            raise

    def _connected(self) -> Any:
        return Client(
            self._address.host,
            port=self._address.port,
            user=self._login.user,
            password=self._login.password,
            connect_timeout=self._login.connect_s,
            sync_request_timeout=1,
            client_name="everline",
            settings=dict(self._settings),
        )

    def _cut(self) -> None:
        """Wake the thread out of whatever it waits for on the socket; it makes a new connection the next time."""
        client = self._client
        if client is not None:
            with suppress(Exception):  # Whatever state the other thread left it in: it is thrown away.
                client.disconnect()

    def _translated(self, error: Exception) -> ServerError:
        name = self._address.name
        code = getattr(error, "code", NETWORK) or NETWORK
        if code in AUTHENTICATION:
            return ServerLoginError(name, code=code)
        if not isinstance(error, ServerException):
            why = f"{self._address.host}:{self._address.port} gives no answer ({_reason(error)})"
            return ServerLostError(name, why, code=code)
        return ServerError(name, _reason(error), code=code)


def _values(name: str, kind: str, column: Any) -> Any:  # a column as the driver gives it
    plain_already = name in AS_BYTES or kind.startswith(("UInt", "Int", "Float"))
    return column if plain_already else [plain(value) for value in column]


def _reason(error: Exception) -> str:
    """The first line, without the engine's stack trace."""
    text = str(error).strip() or type(error).__name__
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Code:")]
    return (lines[0] if lines else text)[:500].removeprefix("DB::Exception: ").removesuffix("Stack trace:").rstrip()


def _forget(task: "asyncio.Future[Any]") -> None:
    """Its error was told by the deadline."""
    if not task.cancelled():
        task.exception()

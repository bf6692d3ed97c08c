"""
Run as a program: a leader that is stopped between its last check and its write, and does not know it.

Usage: python -m tests.cluster.late_leader NAME JSON. Writes a row with its token into `everline.acts` of the first
ClickHouse server, and its token into Redis, all the time. `pause` on stdin: at the next turn it stops itself after the
check; whoever lets it go on sees what becomes of the late writes.
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import redis
from clickhouse_driver import Client
from tests.cluster.elector import say

from everline.bus.discovery import RedisPrimary
from everline.bus.settings import Address, RedisSettings
from everline.cluster.candidacy import Candidate
from everline.cluster.election import Election
from everline.cluster.fences import _GUARDED, REDIS_FENCE, ClickHouseFence, RedisFence, not_fenced
from everline.cluster.keeper import Keeper
from everline.cluster.leader import Duty, LeaderDuties, Mandate
from everline.store.servers import Login, Server, ServerAddress


class LateLeader:
    """The node. It writes without awaiting anything, so that nothing but the engine can refuse a late write."""

    def __init__(self, name: str, where: dict[str, Any]) -> None:  # JSON
        self.name = name
        self.is_to_pause = False
        login = Login(where["user"], where["password"])
        self.keeper = Keeper(where["keepers"], session_ms=2_000)
        sentinels = tuple(Address("127.0.0.1", port) for port in where["sentinels"])
        self.primary = RedisPrimary(RedisSettings(where["service"], sentinels, where["redis_password"], 0.3, 0.5, 0.3))
        servers = [
            Server(ServerAddress(f"s{n}", "127.0.0.1", port, n, 1), login) for n, port in enumerate(where["ports"])
        ]
        self.client = Client(
            "127.0.0.1", port=where["ports"][0], user=login.user, password=login.password,
            settings={"insert_deduplicate": 0},
        )  # fmt: skip
        self.redis = redis.Redis(port=where["redis"], password=where["redis_password"])
        self.election = Election(
            self.keeper, where["cluster"], Candidate(name, "app", "north"), told=lambda one: say(leads=one.is_leader)
        )
        self.duties = LeaderDuties(
            self.election,
            [Duty("write", 0.05, 5, self.write)],
            fences=[ClickHouseFence(servers, node=name), RedisFence(self.primary)],
            acting=lambda term, _: say(acting=term.token),
        )

    async def write(self, mandate: Mandate) -> None:
        """One turn."""
        token = mandate.token
        is_late = self.is_to_pause
        if is_late:
            self.is_to_pause = False
            say(pausing=token)
            os.kill(os.getpid(), signal.SIGSTOP)
        values = f"toUInt64({token}) AS token, '{self.name}' AS node, toUInt8({is_late:d}) AS late"
        self.client.execute(f"INSERT INTO everline.acts SELECT {values} WHERE {not_fenced(token)}")
        try:
            self.redis.eval(_GUARDED, 1, REDIS_FENCE, str(token), "SET", "acted", f"{token} {self.name}")
            refused = ""
        except redis.exceptions.ResponseError as fault:
            refused = str(fault)
        if is_late:
            say(late=token, redis=refused, still_valid=self.election.still_valid())

    async def obey(self) -> None:
        """`pause`, or the end of stdin."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while (await reader.readline()).strip() == b"pause":
            self.is_to_pause = True

    async def main(self) -> None:
        """Until stdin ends."""
        self.keeper.start()
        await self.keeper.connected(within_s=10)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in (self.primary.run(), self.election.run(), self.duties.run())]
            say(up=self.name)
            await self.obey()
            for task in running:
                task.cancel()
        await self.keeper.close()


if __name__ == "__main__":
    asyncio.run(LateLeader(sys.argv[1], json.loads(sys.argv[2])).main())

"""Run as a program: a writer whose servers are all gone, to be killed while it spools."""

import asyncio
import sys
from pathlib import Path

from tests.store.writing import calls

from everline.calls.event import EventBatch
from everline.store.routing import Target
from everline.store.servers import Login, Server, ServerAddress
from everline.store.spool import Spool
from everline.store.writer import ClusterWriter


async def main() -> None:
    """`SPOOL START_US`: says the name of each batch that was taken."""
    spool, start_us = sys.argv[1:]
    nobody = [
        ServerAddress(f"s{shard}r{replica}", "127.0.0.1", 1, shard, replica) for shard in (1, 2) for replica in (1, 2)
    ]
    servers = [
        (Target(one.name, one.shard, one.replica, one.replica), Server(one, Login("everline", "no"))) for one in nobody
    ]
    writer = ClusterWriter(servers, Spool.open(Path(spool), max_bytes=64 << 20))
    for number in range(sys.maxsize):
        name = f"orphan-{number}"
        await writer.insert(EventBatch.of(calls(name, int(start_us), 10)))
        print(name, flush=True)


if __name__ == "__main__":
    asyncio.run(main())

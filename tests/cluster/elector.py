"""
Run as a program: one node of an election, whose only duty is to write its token into a file that all share.

Usage: python -m tests.cluster.elector NAME PRIORITY SERVERS CLUSTER ACTS
Says each change as a JSON line. `unhealthy`, `healthy`, `drain`, `undrain`, `stop` on stdin.
The acts file gets a line for each act: token, name, time of the boot clock in microseconds.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict

from everline.cluster.candidacy import Candidate, Term
from everline.cluster.election import Change, Election, boot_clock_s
from everline.cluster.keeper import Keeper
from everline.cluster.leader import Duty, LeaderDuties, Mandate

SESSION_MS = 2_000


def say(**fields: object) -> None:
    """One line for the test."""
    print(json.dumps({"boot_us": int(boot_clock_s() * 1e6)} | fields), flush=True)


class Elector:
    """The node."""

    def __init__(self, name: str, priority: int, servers: str, cluster: str, acts: str) -> None:
        self.name = name
        self.faults: set[str] = set()
        self.keeper = Keeper(servers.split(","), session_ms=SESSION_MS)
        self.file = os.open(acts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        role = "witness" if priority else "app"
        self.election = Election(
            self.keeper,
            cluster,
            Candidate(name, role, "north", priority),
            health=lambda: "sick" if "unhealthy" in self.faults else "",
            is_drained=lambda: "drain" in self.faults,
            told=self.told,
            hold_down_s=2,
            settled_s=1,
        )
        self.duties = LeaderDuties(self.election, [Duty("act", 0.01, 1, self.act)], acting=self.acting)

    async def act(self, mandate: Mandate) -> None:
        """Write the token, at the time of the check."""
        token = mandate.token
        os.write(self.file, f"{token} {self.name} {int(boot_clock_s() * 1e6)}\n".encode())

    def told(self, change: Change) -> None:
        """The election has news."""
        unsure_us = change.detected_us - change.at_us
        say(
            leads=change.is_leader, reason=change.reason, token=change.term.token, why=change.term.reason,
            unsure_us=unsure_us,
        )  # fmt: skip

    def acting(self, term: Term, _at_us: int) -> None:
        """The duties begin."""
        say(acting=term.token, term=asdict(term))

    async def obey(self) -> None:
        """Do what the test says, until it says `stop`."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        opposites = {"healthy": "unhealthy", "undrain": "drain"}
        while (word := (await reader.readline()).decode().strip()) not in {"stop", ""}:
            if word in opposites:
                self.faults.discard(opposites[word])
            else:
                self.faults.add(word)
            self.election.poke()

    async def main(self) -> None:
        """Until told to stop."""
        self.keeper.start()
        await self.keeper.connected(within_s=10)
        tasks = [asyncio.create_task(self.election.run()), asyncio.create_task(self.duties.run())]
        say(up=self.name)
        await self.obey()
        for task in tasks:  # The election first: it waits for the duties to be quiet.
            task.cancel()
            await asyncio.wait([task])
        await self.keeper.close()


if __name__ == "__main__":
    asyncio.run(Elector(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]).main())

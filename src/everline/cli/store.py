"""`everline store`: bring a cluster's store back into order."""

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Annotated, Final

import typer

from everline.cli.in_cluster import DEFAULT, FOUND_S, ClusterFile, visit
from everline.cluster.keeper import Keeper, KeeperUnavailableError
from everline.cluster.visit import Visit
from everline.errors import EverlineError
from everline.store.servers import ServerLostError, by_shard
from everline.store.upkeep.caretaker import Caretaker, Round
from everline.store.upkeep.rejoin import rejoin, until_caught_up
from everline.topology.model import Role

app = typer.Typer(help="Bring a cluster's store back into order.", no_args_is_help=True)

CATCH_UP_S: Final = 3600.0
FORGET_S: Final = 60.0
"""Keeper may be busy while a server comes back: removing again what is removed does no harm."""


class RepairError(EverlineError):
    """Something could not be repaired."""


@app.callback()
def group() -> None:
    """Bring a cluster's store back into order."""


@app.command()
def repair(
    node: Annotated[
        str | None, typer.Argument(metavar="[NODE]", help="A ClickHouse server that lost its disk.")
    ] = None,
    cluster: ClusterFile = DEFAULT,
) -> None:
    """
    Compare all copies of all shards and give each what it lacks; may be run at any time.

    With a server's name, first make the tables that it lost anew: Keeper forgets the old ones.
    """
    for line in visit(cluster, lambda ways: _repair(ways, node)):
        print(line)


async def _repair(ways: Visit, name: str | None) -> list[str]:
    said = await _bring_back(ways, name) if name else []
    found = await Caretaker(by_shard(ways.servers)).everything()
    if found.unasked:
        why = "; ".join(f"{server}: {fault}" for server, fault in sorted(found.unasked.items()))
        raise RepairError(f"not every copy could be compared ({why}): start those, and run this again")
    return [*said, *_words(found)]


async def _bring_back(ways: Visit, name: str) -> list[str]:
    node = ways.topology.node(name)
    if node.role is not Role.CLICKHOUSE:
        raise RepairError(f"{name} is {node.role}, no ClickHouse server: see `everline cluster status` for their names")
    [server] = [one for one in ways.servers if one.name == name]
    partners = [one for one in ways.servers if one.address.shard == server.address.shard and one is not server]
    await ways.keeper.connected(within_s=FOUND_S)
    try:
        made = await rejoin(server, partners, ways.topology.cluster, forget=partial(_forget, ways.keeper))
    except ServerLostError as fault:
        raise RepairError(f"{fault}: start {name}, and run this again") from fault
    if not made:
        return [f"{name} has all its tables"]
    if not await until_caught_up(server, within_s=CATCH_UP_S):
        raise RepairError(f"{name} has its tables and fetches rows still: see `everline cluster status`")
    return [f"{name}: {len(made)} tables made anew ({', '.join(made)}), rows fetched from its partner"]


async def _forget(keeper: Keeper, path: str) -> None:
    deadline = monotonic() + FORGET_S
    while True:
        try:
            return await keeper.delete_tree(path)
        except KeeperUnavailableError:
            if monotonic() > deadline:
                raise
            await keeper.connected(within_s=FOUND_S)


def _words(found: Round) -> Sequence[str]:
    if not found.gaps:
        return ["all copies are equal"]
    lacked: dict[str, set[str]] = {}
    for gap in found.gaps:
        lacked.setdefault(gap.server, set()).add(str(gap.lack))
    return [
        f"{server} lacked {', '.join(sorted(what))}: {found.given.get(server, 0)} messages given, views made again"
        + (" (it is still catching up by itself: run this again later)" if server in found.waiting else "")
        for server, what in sorted(lacked.items())
    ]

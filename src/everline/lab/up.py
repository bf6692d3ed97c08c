"""The start of a lab: look, write files, build the network, start programs in waves, wait until each serves."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

from everline.cluster.member import MEMBER_ROLES
from everline.cluster.probe import NodeReport, Standing, probe
from everline.cluster_file import Secrets
from everline.lab.down import end_recorded, take_down
from everline.lab.errors import NotReadyError, UnfitError
from everline.lab.fabric import look_for_room
from everline.lab.lab import Lab
from everline.lab.processes import ProcessState
from everline.lab.surroundings import look_at_machine
from everline.store.cluster_schema import REPLICATED
from everline.topology.model import Node, Role

ENGINE_WAVES: Final = ((Role.KEEPER, Role.REDIS), (Role.CLICKHOUSE, Role.SENTINEL))
DOOR_WAVE: Final = (Role.HAPROXY, Role.NGINX, Role.KEEPALIVED)
WAVES: Final = (*ENGINE_WAVES, (*MEMBER_ROLES, *DOOR_WAVE))
DEADLINE_S: Final = 90.0
_ASK_S: Final = 2.0
_PAUSE_S: Final = 0.3
_MOST_TAILS: Final = 3
_MOST_NAMED: Final = 3

Tell = Callable[[str], None]
"""Takes a line about how far it is."""


async def bring_up(
    lab: Lab, text: str, *, tell: Tell, waves: Sequence[Sequence[Role]] = WAVES, deadline_s: float = DEADLINE_S
) -> list[NodeReport]:
    """
    Start a lab. Whatever goes wrong, and when it is cancelled, all that was started is removed; files stay.

    `text` is that of cluster.yaml, which `lab.topology` was read from. Each of `waves` waits for the one before. What
    each node that was started answers is given back.

    Raises:
        UnfitError: It can't start here; nothing was touched.
        NotReadyError: It did not come up; with what is missing and the end of its log.
        LabError: The kernel refused something.
        TopologyError: A secret can't be used.
    """
    nodes = [node for node in lab.topology.nodes if any(node.role in wave for wave in waves)]
    look_at_machine(lab.layout, nodes)
    with _alone(lab.layout.directory, lab.topology.cluster):
        look_for_room(lab.topology)
        secrets = lab.layout.take_over(text)
        lab.layout.write_configuration(secrets)
        try:
            end_recorded(lab.layout.directory)
            lab.fabric.build()
            tell(f"network: {len(lab.topology.hosts)} hosts, {len(lab.topology.regions)} regions")
            return await _start_waves(lab, secrets, waves, deadline_s=deadline_s, tell=tell)
        except BaseException:
            with _undisturbed():
                tell("taking everything down again")
                end_recorded(lab.layout.directory)
                take_down(lab.topology.cluster)
            raise


async def _start_waves(
    lab: Lab, secrets: Secrets, waves: Sequence[Sequence[Role]], *, deadline_s: float, tell: Tell
) -> list[NodeReport]:
    deadline = monotonic() + deadline_s
    started: list[Node] = []
    for wave in waves:
        nodes = lab.start(node for role in wave for node in lab.topology.nodes_of(role))
        if nodes:
            await until_ready(lab, secrets, nodes, deadline=deadline, tell=tell)
        started += nodes
    has_leader = any(node.role in {Role.APP, Role.WITNESS} for node in started)
    is_ready = _is_in_use if has_leader else _is_ready
    return await until_ready(lab, secrets, started, deadline=deadline, tell=tell, is_ready=is_ready)


def _is_ready(report: NodeReport) -> bool:
    return report.standing is Standing.READY


def _is_in_use(report: NodeReport) -> bool:
    """Ready, and a leader has made the last of the tables."""
    return _is_ready(report) and (report.tables is None or report.tables == len(REPLICATED))


async def until_ready(
    lab: Lab,
    secrets: Secrets,
    nodes: Sequence[Node],
    *,
    deadline: float,
    tell: Tell,
    is_ready: Callable[[NodeReport], bool] = _is_ready,
) -> list[NodeReport]:
    """
    Wait until nodes serve, as they say themselves; `deadline` is on the monotonic clock.

    Raises:
        NotReadyError: One has ended, or is not ready in time.
    """
    names = list(dict.fromkeys(str(node.role) for node in nodes))
    roles = ", ".join(names) if len(names) <= _MOST_NAMED else "everything"
    while True:
        reports = await probe(lab.topology, secrets, deadline_s=_ASK_S, nodes=nodes)
        missing = [report for report in reports if not is_ready(report)]
        tell(f"{roles}: {len(nodes) - len(missing)} of {len(nodes)} ready{_waiting_for(missing)}")
        if not missing:
            return reports
        ended = [node for node in nodes if lab.state(node) is ProcessState.ENDED]
        if ended:
            raise NotReadyError(f"{_names(ended)} ended by itself", details=_words(lab, ended))
        if monotonic() > deadline:
            late = [lab.topology.node(report.node) for report in missing]
            told = [f"{one.node}: {'; '.join(one.faults) or one.said}" for one in missing]
            raise NotReadyError(f"not ready in time: {_names(late)}", details=(*told, *_words(lab, late)))
        await asyncio.sleep(_PAUSE_S)


def _waiting_for(missing: Sequence[NodeReport]) -> str:
    return f"; waiting for {', '.join(report.node for report in missing)}" if missing else ""


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _words(lab: Lab, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The ends of some logs, and where all of them are."""
    shown = nodes[:_MOST_TAILS]
    tails = [line for node in shown for line in (f"--- {lab.layout.log(node)}", *lab.last_words(node))]
    more = [f"--- and {len(nodes) - len(shown)} more in {lab.layout.directory}"] if len(nodes) > len(shown) else []
    return (*tails, *more)


@contextmanager
def _alone(directory: Path, cluster: str) -> Iterator[None]:
    """Nobody else starts this lab meanwhile. The lock goes with the process, however that ends."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnfitError(f"another `everline lab up` is starting lab {cluster!r}: wait for it") from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not leave half of a lab behind."""
    before = {}
    with suppress(ValueError):  # Not in the main thread: signals are not ours.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

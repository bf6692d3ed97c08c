"""The end of a lab: found by the names of its parts alone, so it works whatever became of whoever made it."""

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from everline.lab.errors import LabError
from everline.lab.ip import ip_batch, ip_json, namespaces, processes_in
from everline.lab.names import front_link, namespaces_of, root_link
from everline.lab.processes import end_and_forget, until

_END_S = 10.0


@dataclass(frozen=True, slots=True)
class Removed:
    """What a lab's end found: how many processes and namespaces, and whether data was removed."""

    processes: int
    namespaces: int
    wiped: bool = False


def take_down(cluster: str) -> Removed:
    """
    Kill every process in a lab's namespaces, remove these and the link to them. Nothing there is no error.

    Raises:
        LabError: A process can't be killed, or the kernel refuses.
    """
    names = namespaces_of(cluster, namespaces())
    killed: set[int] = set()

    def all_gone() -> bool:
        pids = processes_in(names)
        killed.update(pids)
        _kill(pids)
        return not pids

    if not until(all_gone, within_s=_END_S):
        raise LabError(f"lab {cluster!r}: processes {_some(processes_in(names))} can't be killed; look at them with ps")
    for link in (root_link(cluster), front_link(cluster)):
        _remove_link(link)
    ip_batch(f"netns delete {name}" for name in names)
    return Removed(len(killed), len(names))


def wipe(directory: Path) -> bool:
    """Remove all files of a lab; whether there were any."""
    if not directory.exists():
        return False
    shutil.rmtree(directory)
    return True


def end_recorded(directory: Path) -> None:
    """
    Kill what was started for a lab, as far as its records tell, and remove these.

    `take_down` finds what is in the lab's namespaces; a program that is on its way into one is found only here.
    """
    for record in directory.glob("*/run/*.json"):
        end_and_forget(record)


def _remove_link(link: str) -> None:
    """With it go the routes over it."""
    if any(one["ifname"] == link for one in ip_json("link", "show")):
        ip_batch([f"link delete {link}"])


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _some(pids: Sequence[int]) -> str:
    return ", ".join(map(str, pids[:5]))

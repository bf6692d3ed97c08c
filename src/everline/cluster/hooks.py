"""
The operator's hooks: a command or a webhook that the leader calls for entries of the failover log.

A hook is called once for an entry and a token. After a change of leader the next one calls those of which it can't see
that they were called: at least once, then, and who must not act twice goes by the entry's id.
"""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import time_ns
from typing import Final
from urllib.parse import urlsplit

import httpx2

from everline.cluster.entry import Entry, Kind, make_entry
from everline.topology.settings import Hook, HookEvent

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
MAX_OUTPUT: Final = 2_048
MAX_WAITING: Final = 200
_PAUSE_S: Final = 1.0
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TZ")
"""Of our environment: secrets may be in the rest."""
_DONE: Final = frozenset({Kind.HOOK_DONE, Kind.HOOK_FAILED})


@dataclass(frozen=True, slots=True)
class Call:
    """One hook to be called for one entry."""

    hook: Hook
    entry: Entry

    @property
    def name(self) -> str:
        """What the log calls the hook: of a URL only the host, its path may be a secret."""
        if self.hook.command:
            return self.hook.command[0]
        return urlsplit(self.hook.webhook or "").hostname or "webhook"

    @property
    def key(self) -> str:
        """Of this hook for this entry."""
        return f"{self.entry.entry_id} {self.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: `fault` is empty if well. `is_final`: trying again would change nothing."""

    fault: str = ""
    output: str = ""
    is_final: bool = False


def calls_for(hooks: Iterable[Hook], entry: Entry) -> list[Call]:
    """The hooks that want to hear of an entry."""
    return [Call(hook, entry) for hook in hooks if str(entry.kind) in {str(event) for event in hook.on}]


def missed_calls(hooks: Sequence[Hook], entries: Iterable[Entry]) -> list[Call]:
    """Calls that the log, oldest first, does not say to have been made."""
    made: set[str] = set()
    wanted: list[Call] = []
    for entry in entries:
        if entry.kind in _DONE:
            made.add(_call_told_of(entry))
        else:
            wanted += calls_for(hooks, entry)
    return [call for call in wanted if call.key not in made]


def _call_told_of(entry: Entry) -> str:
    """The key of the call that an entry tells of."""
    try:
        details = json.loads(entry.details)
        return f"{details['entry_id']} {details['hook']}"
    except (ValueError, KeyError, TypeError):
        return ""


def said_to_hook(call: Call, cluster: str, token: int) -> dict[str, str | int]:
    """What a hook gets."""
    about = {name: value for name, value in call.entry.as_json().items() if name != "kind"}
    return {"event": str(call.entry.kind), "cluster": cluster, **about, "token": token, "entry_id": call.entry.entry_id}


class Hooks:
    """
    Calls them one after the other, for entries offered while this node leads.

    Args:
        token: The token to act with; 0 when this node does not lead (any more): then nothing is called.
        note: Takes the entries that say how it went.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        *,
        cluster: str,
        node: str,
        token: Callable[[], int],
        note: Callable[[Entry], None],
    ) -> None:
        self._hooks = tuple(hooks)
        self._cluster, self._node = cluster, node
        self._token, self._note = token, note
        self._waiting: asyncio.Queue[Call] = asyncio.Queue(MAX_WAITING)
        self._called: dict[tuple[str, int], None] = {}

    def offer(self, entry: Entry) -> None:
        """Call the hooks that want to hear of it."""
        for call in calls_for(self._hooks, entry):
            self._put(call)

    def catch_up(self, entries: Iterable[Entry]) -> None:
        """A new leader: call what the former one did not come to."""
        for call in missed_calls(self._hooks, entries):
            self._put(call)

    def _put(self, call: Call) -> None:
        try:
            self._waiting.put_nowait(call)
        except asyncio.QueueFull:
            self._tell(call, Outcome(f"more than {MAX_WAITING} calls wait"), 0, 0)

    async def run(self) -> None:
        """For ever."""
        while True:
            call = await self._waiting.get()
            token = self._token()
            key = (call.key, token)
            if not token or key in self._called:
                continue
            self._called[key] = None
            while len(self._called) > 10 * MAX_WAITING:
                self._called.pop(next(iter(self._called)))
            await self._call(call, token)

    async def _call(self, call: Call, token: int) -> None:
        outcome = Outcome()
        for attempt in range(1, ATTEMPTS + 1):
            if self._token() != token:
                return  # The next leader sees that it was not done.
            outcome = await self._attempt(call, token)
            if not outcome.fault or outcome.is_final or attempt == ATTEMPTS:
                self._tell(call, outcome, attempt, token)
                return
            await asyncio.sleep(_PAUSE_S * attempt)

    async def _attempt(self, call: Call, token: int) -> Outcome:
        said = said_to_hook(call, self._cluster, token)
        try:
            async with asyncio.timeout(call.hook.deadline_s):
                if call.hook.command:
                    return await run_command(call.hook.command, said)
                return await post(str(call.hook.webhook), said, deadline_s=call.hook.deadline_s)
        except TimeoutError:
            return Outcome(f"not done within {call.hook.deadline_s:g} s (hooks.deadline_s)")

    def _tell(self, call: Call, outcome: Outcome, attempts: int, token: int) -> None:
        if outcome.fault:
            log.warning("hook.failed", extra={"hook": call.name, "why": outcome.fault, "attempts": attempts})
        self._note(
            make_entry(
                Kind.HOOK_FAILED if outcome.fault else Kind.HOOK_DONE,
                time_ns() // 1000,
                node=call.entry.node,
                region=call.entry.region,
                by=self._node,
                reason=outcome.fault,
                token=token,
                details={"hook": call.name, "entry_id": call.entry.entry_id, "attempts": attempts,
                         "event": call.entry.kind, "output": outcome.output},
            )
        )  # fmt: skip


async def run_command(command: Sequence[str], said: dict[str, str | int]) -> Outcome:
    """Run a program without a shell: JSON on stdin, the same as EVERLINE_*. Cancelled, all that it started is ended."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {f"EVERLINE_{name.upper()}": str(value) for name, value in said.items()}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as fault:
        return Outcome(f"cannot run it: {fault.strerror}", is_final=True)
    is_done = False
    try:
        output = await _talk(process, json.dumps(said).encode() + b"\n")
        code = await process.wait()
        is_done = True
    finally:
        if not is_done:  # It, or a child that still has its output: the number of the group is not free yet.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return Outcome(f"exit code {code}" if code else "", output.decode(errors="replace"))


async def _talk(process: asyncio.subprocess.Process, said: bytes) -> bytes:
    """Say it, and the beginning of the answer; the rest is read and forgotten, so that the program does not block."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with suppress(BrokenPipeError, ConnectionResetError):  # It need not read.
        process.stdin.write(said)
        await process.stdin.drain()
    process.stdin.close()
    kept = b""
    while part := await process.stdout.read(65_536):
        kept += part[: MAX_OUTPUT - len(kept)]
    return kept


async def post(url: str, said: dict[str, str | int], *, deadline_s: float) -> Outcome:
    """POST it as JSON; an answer of 4xx (other than 408 and 429) would be the same again."""
    try:
        async with httpx2.AsyncClient(timeout=deadline_s) as client, client.stream("POST", url, json=said) as answer:
            output = b""
            async for part in answer.aiter_bytes():
                output += part[: MAX_OUTPUT - len(output)]
                if len(output) >= MAX_OUTPUT:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as fault:
        return Outcome(f"no answer ({type(fault).__name__})")  # Its text may hold the URL.
    if answer.is_success:
        return Outcome("", output.decode(errors="replace"))
    is_final = answer.is_client_error and answer.status_code not in {408, 429}
    return Outcome(f"answered {answer.status_code}", output.decode(errors="replace"), is_final=is_final)


assert {str(event) for event in HookEvent} <= {str(kind) for kind in Kind}  # noqa: S101 - the same words

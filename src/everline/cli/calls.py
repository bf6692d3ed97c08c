"""`everline calls`, `everline call`, `everline status`: ask a running node."""

import csv
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from everline.cli import show
from everline.cli.text import moment
from everline.errors import EverlineError

DataDir = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data directory of the node.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
Filter = Annotated[str | None, typer.Option()]


class OptionError(EverlineError):
    """Options that do not go together, or a value that is none."""

    exit_code = 2


class WriteError(EverlineError):
    """A file cannot be written."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(calls)
    app.command()(call)
    app.command()(status)


def calls(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="1h, 7d, ISO 8601 or epoch seconds.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="The same.")] = None,
    number: Annotated[str | None, typer.Option(help="Caller or callee.")] = None,
    caller: Filter = None,
    callee: Filter = None,
    call_id: Filter = None,
    state: Annotated[str | None, typer.Option(help="trying, ringing, answered or ended.")] = None,
    outcome: Annotated[str | None, typer.Option(help="answered, busy, cancelled, no_answer, failed …")] = None,
    status: Annotated[str | None, typer.Option(help="Final SIP status.")] = None,
    ip: Annotated[str | None, typer.Option(help="Address of either side.")] = None,
    user_agent: Filter = None,
    limit: Annotated[str, typer.Option(help="Most calls; 0 or `all` for every one.")] = "50",
    *,
    data: DataDir = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, nothing else.")] = False,
) -> None:
    """List calls, newest first."""
    if as_json and as_csv:
        raise OptionError("--json and --csv exclude each other: leave one out")
    now = time.time()
    given = {
        "since": moment("--since", since, now) if since else None,
        "until": moment("--until", until, now) if until else None,
        "number": number, "caller": caller, "callee": callee, "call_id": call_id, "state": state,
        "outcome": outcome, "status": status, "ip": ip, "user_agent": user_agent,
    }  # fmt: skip
    filters = {name: value for name, value in given.items() if value}
    most = _limit(limit)
    if as_csv:
        _print_csv(data, filters, most)
    else:
        _print_calls(data, filters, most, as_json=as_json)


def call(
    call_id: Annotated[str, typer.Argument(help="Call-ID, case-sensitive.")],
    *,
    data: DataDir = None,
    as_json: AsJson = False,
    pcap: Annotated[Path | None, typer.Option(metavar="FILE", help="Write its messages as a capture file.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Plain text without colours, 100 columns wide.")] = False,
) -> None:
    """Show one call: its record and its ladder."""
    from everline.client import ApiClient, locate  # noqa: PLC0415 - only who asks a node loads an HTTP client

    if as_json + (pcap is not None) + text > 1:
        raise OptionError("--json, --pcap and --text exclude each other: choose one")
    with ApiClient(locate(data, os.environ)) as client:
        if pcap is not None:
            _write(pcap, client.pcap(call_id))
            return
        found = client.call(call_id)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show.call(found, plain=text)


def status(*, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show what the node received, stored, rejected and dropped, and whether it is ready."""
    from everline.client import ApiClient, locate  # noqa: PLC0415 - see call

    with ApiClient(locate(data, os.environ)) as client:
        found = client.node()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show.status(found)


def _print_calls(data: Path | None, filters: dict[str, str], limit: int | None, *, as_json: bool) -> None:
    from everline.client import ApiClient, locate  # noqa: PLC0415 - see call

    with ApiClient(locate(data, os.environ)) as client:
        found = client.calls(filters, limit)
        # The first answer before the first byte: a fault leaves stdout empty.
        first = list(itertools.islice(found, 1))
        every = itertools.chain(first, found)
        if as_json:
            _print_array(every)
        else:
            show.calls(every)


def _print_array(objects: Iterator[show.Object]) -> None:
    """One JSON array, an object a line, however many there are."""
    sys.stdout.write("[")
    for index, one in enumerate(objects):
        sys.stdout.write((",\n " if index else "\n ") + json.dumps(one))
    sys.stdout.write("\n]\n")


def _print_csv(data: Path | None, filters: dict[str, str], limit: int | None) -> None:
    from everline.client import ApiClient, locate  # noqa: PLC0415 - see call

    writer = csv.writer(sys.stdout, lineterminator="\n")
    with ApiClient(locate(data, os.environ)) as client:
        rows = csv.reader(client.calls_csv(filters))
        writer.writerows(itertools.islice(rows, None if limit is None else limit + 1))


def _limit(text: str) -> int | None:
    if text.strip() in {"0", "all"}:
        return None
    if not (text.isascii() and text.isdigit()):
        raise OptionError(f"--limit {text!r} is no number: give one, or `all`")
    return int(text)


def _write(file: Path, content: bytes) -> None:
    if str(file) == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise WriteError(f"{file} cannot be written: {error.strerror}") from error
    print(f"{len(content)} bytes written to {file}")

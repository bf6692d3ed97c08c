"""`everline balance`: spread datagrams over ingest nodes, without a cluster file."""

import re
from collections.abc import Sequence
from typing import Annotated, Final, cast

import typer

from everline.balance.ring import Member
from everline.config import Endpoint, parse_endpoint
from everline.config_sections import KEY_RATE_PER_S
from everline.errors import EverlineError
from everline.log import configure_logging

_PLACE: Final = re.compile(r"(?P<address>[^@]+)(?:@(?P<rack>[^/@\s]+)(?:/(?P<region>[^/@\s]+))?)?")


class TargetError(EverlineError):
    """What is given on the command line is no ingest node, or no address."""

    exit_code = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(balance)


def balance(
    *,
    to: Annotated[
        list[str],
        typer.Option(metavar="HOST:PORT[@RACK[/REGION]]", help="An ingest node; repeat it, or give several by comma."),
    ],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Take HEP and SIP over UDP here.")
    ] = "127.0.0.1:9060",
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="Health and metrics.")] = "127.0.0.1:9081",
    mirror: Annotated[int, typer.Option(min=1, max=2, help="To how many nodes each datagram goes.")] = 1,
    key_rate: Annotated[int, typer.Option(min=1, help="Most datagrams of one call in a second.")] = KEY_RATE_PER_S,
) -> None:
    """Send each call to the ingest node that owns it, by its Call-ID. Ctrl-C stops it in order."""
    targets = parse_targets(to)
    configure_logging(log_format="text", level="info")
    from everline.node.balancer import run  # noqa: PLC0415 - other commands need none of it

    run(_endpoint(listen, "--listen"), targets, http=_endpoint(http, "--http"), mirror=mirror, key_rate_per_s=key_rate)


def parse_targets(words: Sequence[str]) -> dict[Member, tuple[str, int]]:
    """
    Ingest nodes as they are given: an address each, with a rack and a region if they have any.

    Raises:
        TargetError: One is none, or is there twice.
    """
    targets: dict[Member, tuple[str, int]] = {}
    for word in (one.strip() for text in words for one in text.split(",")):
        found = _PLACE.fullmatch(word)
        if found is None:
            raise TargetError(f"--to {word!r}: need HOST:PORT, HOST:PORT@RACK or HOST:PORT@RACK/REGION")
        address = _endpoint(found["address"], "--to")
        member = Member(str(address), found["rack"] or str(address), found["region"] or "")
        if any(one.name == member.name for one in targets):
            raise TargetError(f"--to {member.name}: it is there twice")
        targets[member] = address
    return targets


def _endpoint(text: str, option: str) -> Endpoint:
    try:
        return cast("Endpoint", parse_endpoint(text))
    except ValueError as fault:
        raise TargetError(f"{option} {text!r}: {fault}") from fault

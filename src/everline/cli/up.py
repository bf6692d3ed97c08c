"""`everline up`: run a whole node in this process."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from everline.cli.config import ConfigFile
from everline.config_load import load_config
from everline.log import configure_logging

DEMO_DIR: Final = "var/demo"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    config: ConfigFile = None,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Directory of all it keeps.")] = None,
    hep: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Listen for HEP, UDP and TCP.")] = None,
    http: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Serve pages and API.")] = None,
    tls: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Listen for HEP over TLS.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate and chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM private key.")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="text|json", help="How log lines look.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make demo calls; kept in var/demo unless --data is given.")
    ] = False,
) -> None:
    """Run a node: take packets in, keep calls, serve pages. Ctrl-C stops it in order."""
    flags = {
        "data_dir": data,
        "ingest.hep": hep,
        "http.listen": http,
        "ingest.tls": tls,
        "ingest.tls_certificate": tls_certificate,
        "ingest.tls_key": tls_key,
        "log.format": log_format,
    }
    defaults = {"data_dir": DEMO_DIR} if demo else None
    node_config = load_config(config, environ=os.environ, flags=flags, defaults=defaults).config
    configure_logging(log_format=node_config.log.format, level=node_config.log.level)
    from everline.node.embedded import run  # noqa: PLC0415 - the engine takes a second to load; other commands need none of it

    run(node_config, demo=demo)

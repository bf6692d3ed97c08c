"""`everline lab`: a whole cluster on this machine, and its faults by hand."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated, Final, NoReturn

import typer

from everline.cli.table import print_table
from everline.cluster.probe import NodeReport, Standing
from everline.cluster_file import load_topology
from everline.lab.down import end_recorded, take_down, wipe
from everline.lab.errors import LabError, NotReadyError
from everline.lab.fabric import OneWay
from everline.lab.ip import namespaces
from everline.lab.lab import Lab
from everline.lab.names import clusters_in
from everline.lab.status import NodeView, view
from everline.lab.up import DEADLINE_S, ENGINE_WAVES, WAVES, bring_up
from everline.log import configure_logging
from everline.topology.errors import TopologyError
from everline.topology.model import AppOptions, IngestOptions, Node, Role
from everline.topology.render.launch import CLUSTER_FILE

app = typer.Typer(help="A whole cluster on this machine: as root, on Linux.", no_args_is_help=True)

EXAMPLE: Final = Path("examples/two-regions-and-witness.yaml")
LABS: Final = Path("var/lab")

Dir = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where labs keep their files: DIR/<cluster>/.")]
Cluster = Annotated[str | None, typer.Option("--cluster", metavar="NAME", help="Which lab, if there are several.")]
Nodes = Annotated[list[str], typer.Argument(metavar="NODE...", help="Such as ea4-redis; `lab status` lists them.")]
Links = Annotated[list[str], typer.Argument(metavar="NAME...", help="Hosts, racks or regions.")]


@app.callback()
def group() -> None:
    """A whole cluster on this machine: a network namespace for each host, real engines, links that can be cut."""


@app.command()
def up(
    file: Annotated[Path, typer.Argument(metavar="[CLUSTER.YAML]", help="What to build.")] = EXAMPLE,
    *,
    labs: Dir = LABS,
    engines: Annotated[bool, typer.Option("--engines", help="Start the engines only, not Everline.")] = False,
    deadline: Annotated[
        float, typer.Option(min=5, max=3600, metavar="S", help="Give up after so many seconds.")
    ] = DEADLINE_S,
) -> None:
    """Build it, start it, and wait until everything serves; what fails, and Ctrl-C, takes everything down again."""
    configure_logging(log_format="text", level="error")
    try:
        topology = load_topology(file)
        lab = Lab(labs / topology.cluster, topology)
        progress = Progress()
        starting = bring_up(
            lab, file.read_text(encoding="utf-8"), tell=progress, deadline_s=deadline,
            waves=ENGINE_WAVES if engines else WAVES,
        )  # fmt: skip
        asyncio.run(_until_sigterm(starting))
    except TopologyError as error:
        for fault in error.faults:
            print(f"everline: {error.source}: {fault}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except NotReadyError as error:
        print("\n".join(error.details), file=sys.stderr)
        raise
    except asyncio.CancelledError as error:
        raise typer.Exit(128 + signal.SIGTERM) from error
    progress(f"lab {topology.cluster} is up")
    print("\n".join(where_to_look(lab)))


async def _until_sigterm(starting: Coroutine[None, None, object]) -> None:
    """SIGTERM ends it as Ctrl-C does: with everything taken down."""
    task = asyncio.ensure_future(starting)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


class Progress:
    """Lines that say how far it is, each once: on a terminal the last one changes, elsewhere each new one is added."""

    def __init__(self) -> None:
        self._begun = monotonic()
        self._last = ""

    def __call__(self, line: str) -> None:
        """Say it, unless nothing has changed."""
        said = f"{monotonic() - self._begun:5.1f} s  {line}"
        if sys.stdout.isatty():
            ends = "" if "; waiting for" in line else "\n"
            print(f"\r\x1b[K{_cut_to_terminal(said)}", end=ends, flush=True)
        elif line != self._last:
            print(said, flush=True)
        self._last = line


def _cut_to_terminal(text: str) -> str:
    width = os.get_terminal_size().columns - 1
    return text if len(text) <= width else text[: width - 1] + "…"


def where_to_look(lab: Lab) -> list[str]:
    """What one can do with a lab that is up."""
    directory = _shown(lab.layout.directory)
    apps = [f"http://{one.address}:{one.options_as(AppOptions).http_port}" for one in lab.topology.nodes_of(Role.APP)]
    ports = [f"{one.address}:{one.options_as(IngestOptions).hep_port}" for one in lab.topology.nodes_of(Role.INGEST)]
    vips = [f"{vip.role} {vip.address} ({vip.region})" for vip in lab.topology.vips]
    name = lab.topology.cluster
    return [
        f"  pages    {'  '.join(apps)}", f"  HEP      {'  '.join(ports)}",
        *([f"  VIPs     {'  '.join(vips)}"] if vips else []),
        f"  logs     {directory}/<host>/log/<node>.log", f"  secrets  {directory}/secrets/",
        f"  look     everline lab status; everline cluster status --cluster {directory}/{CLUSTER_FILE}",
        "  break    everline lab kill|pause NODE, cut HOST|RACK|REGION; mend: start|resume NODE, heal",
        f"  stop     everline lab down --cluster {name}",
    ]  # fmt: skip


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@app.command()
def status(
    *,
    labs: Dir = LABS,
    cluster: Cluster = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Every node: its process, its link, what it answers; exit code 1 unless all is ready."""
    configure_logging(log_format="text", level="error")
    lab = _lab(labs, cluster, needs_up=False)
    rows = asyncio.run(view(lab)) if lab.is_up else []
    if as_json:
        told = [row.as_json() for row in rows]
        print(json.dumps({"cluster": lab.topology.cluster, "up": lab.is_up, "directory": str(lab.layout.directory),
                          "cut": lab.fabric.cuts() if lab.is_up else [], "nodes": told}))  # fmt: skip
    elif rows:
        print_table(("NODE", "HOST", "PROCESS", "PID", "LINK", "STANDING", "SAYS"), [_row(row) for row in rows])
    else:
        print(f"lab {lab.topology.cluster} is down; `everline lab up` starts it")
    if not rows or any(row.report.standing is not Standing.READY for row in rows):
        raise typer.Exit(1)


def _row(row: NodeView) -> tuple[str, ...]:
    report = row.report
    return (report.node, report.host, str(row.process), str(row.pid or ""), row.link, report.standing, _says(report))


def _says(report: NodeReport) -> str:
    return "; ".join(filter(None, (report.said, *report.faults)))


@app.command()
def down(
    *,
    labs: Dir = LABS,
    cluster: Cluster = None,
    data: Annotated[bool, typer.Option("--wipe", help="Remove its data, logs and secrets as well.")] = False,
) -> None:
    """End it: kill its processes, remove its network. Files stay unless --wipe. Running it twice is no error."""
    if os.geteuid() != 0:
        raise LabError("a lab belongs to root: run `sudo everline lab down`")
    known = _known(labs) if cluster is None else [cluster]
    if not known:
        print("no lab is here")
        return
    name = _only(known)
    removed = take_down(name)
    end_recorded(labs / name)
    wiped = data and wipe(labs / name)
    files = "files removed" if wiped else f"files are in {labs / name}" if (labs / name).exists() else "no files"
    print(f"lab {name} is down: {removed.processes} processes and {removed.namespaces} namespaces removed; {files}")


@app.command(name="exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def execute(
    host: Annotated[str, typer.Argument(metavar="HOST", help="On which host.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="Program and arguments.")],
    *,
    labs: Dir = LABS,
    cluster: Cluster = None,
) -> NoReturn:
    """Run a command in the network of a host; its exit code is that of the command."""
    lab = _lab(labs, cluster)
    namespace = lab.fabric.host_namespace(lab.topology.host(host).name)
    command = command[1:] if command[0] == "--" else command
    os.execvp("ip", ["ip", "netns", "exec", namespace, *command])  # noqa: S606, S607 - what the user asks for


@app.command()
def cut(
    names: Links,
    *,
    one_way: Annotated[
        OneWay | None, typer.Option("--one-way", help="Hosts only: they hear nobody, or nobody hears them.")
    ] = None,
    labs: Dir = LABS,
    cluster: Cluster = None,
) -> None:
    """Cut hosts, racks or regions from the rest: silence, nothing is refused. This machine still reaches them."""
    lab = _lab(labs, cluster)
    if one_way:
        lab.cut_one_way(names, one_way)
    else:
        lab.cut(names)


@app.command()
def heal(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All that is cut, if none.")] = None,
    *,
    labs: Dir = LABS,
    cluster: Cluster = None,
) -> None:
    """Let hosts, racks or regions be heard again."""
    _lab(labs, cluster).heal(names or ())


@app.command()
def kill(nodes: Nodes, *, labs: Dir = LABS, cluster: Cluster = None) -> None:
    """End programs by SIGKILL."""
    _act(labs, cluster, nodes, Lab.kill)


@app.command()
def pause(nodes: Nodes, *, labs: Dir = LABS, cluster: Cluster = None) -> None:
    """Hang programs by SIGSTOP: their connections stay open, and nothing answers."""
    _act(labs, cluster, nodes, Lab.pause)


@app.command()
def resume(nodes: Nodes, *, labs: Dir = LABS, cluster: Cluster = None) -> None:
    """Let hung programs go on."""
    _act(labs, cluster, nodes, Lab.resume)


@app.command()
def start(nodes: Nodes, *, labs: Dir = LABS, cluster: Cluster = None) -> None:
    """Start programs that have ended, without waiting until they serve."""
    _act(labs, cluster, nodes, Lab.start)


@app.command()
def stop(nodes: Nodes, *, labs: Dir = LABS, cluster: Cluster = None) -> None:
    """End programs in order, by SIGTERM."""
    _act(labs, cluster, nodes, Lab.stop)


def _act(labs: Path, cluster: str | None, names: Sequence[str], act: Callable[[Lab, list[Node]], object]) -> None:
    lab = _lab(labs, cluster)
    act(lab, [lab.topology.node(name) for name in names])


def _lab(labs: Path, cluster: str | None, *, needs_up: bool = True) -> Lab:
    if os.geteuid() != 0:
        raise LabError("a lab belongs to root: run it by sudo")
    known = _known(labs) if cluster is None else [cluster]
    if not known:
        raise LabError(f"no lab in {labs}: run `everline lab up`, or name the place by --dir")
    lab = Lab.open(labs / _only(known))
    if needs_up and not lab.is_up:
        raise LabError(f"lab {lab.topology.cluster} is down: run `everline lab up`")
    return lab


def _known(labs: Path) -> list[str]:
    """Labs that have files here, and if none has, those that have a network."""
    return sorted(file.parent.name for file in labs.glob(f"*/{CLUSTER_FILE}")) or clusters_in(namespaces())


def _only(known: list[str]) -> str:
    if len(known) > 1:
        raise LabError(f"there are several labs: name one by --cluster {'|'.join(known)}")
    return known[0]

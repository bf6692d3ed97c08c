"""How fast one process of NGINX balances by what `everline render` writes for it: it passes on what waits for it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from everline.bench.machine import BenchError
from everline.topology.model import Node, Role, Topology
from everline.topology.render import Places
from everline.topology.render.launch import nginx_stream
from everline.topology.render.nginx import render_nginx_stream

START_S: Final = 10.0
SILENT_S: Final = 1.0
"""Once nothing has come for so long, the rest is lost."""
_HOST: Final = "127.0.0.1"
_MODULE: Final = "ngx_stream_js_module.so"
_RMEM_MAX: Final = Path("/proc/sys/net/core/rmem_max")


def is_installed() -> bool:
    """Whether this machine has NGINX with the modules that it takes."""
    programs = Places().programs
    return Path(programs.nginx).exists() and (Path(programs.nginx_modules) / _MODULE).exists()


def room(cost_bytes: int) -> int:
    """Datagrams that surely fit into a socket of NGINX, which gets no more than the kernel gives everybody."""
    return 2 * int(_RMEM_MAX.read_text(encoding="ascii")) // cost_bytes


class StockBalancer:
    """One process of NGINX, and the socket through which it is given datagrams."""

    def __init__(self, process: "subprocess.Popen[bytes]", sender: socket.socket) -> None:
        self._process = process
        self._sender = sender

    def passes_on(self, traffic: Sequence[bytes], arrived: Callable[[], int]) -> float:
        """
        Datagrams a second, from the moment it may run until all have come.

        Args:
            traffic: What waits in its socket when it begins.
            arrived: How many have come to the members since the last time.

        Raises:
            BenchError: Some never came.
        """
        self._process.send_signal(signal.SIGSTOP)
        for data in traffic:
            self._sender.send(data)
        arrived()
        count, began = 0, time.perf_counter()
        last = began
        self._process.send_signal(signal.SIGCONT)
        while count < len(traffic):
            if came := arrived():
                count, last = count + came, time.perf_counter()
            elif time.perf_counter() - last > SILENT_S:
                raise BenchError(f"NGINX passed on {count} of {len(traffic)} datagrams: raise net.core.rmem_max")
        return count / (last - began)


@contextmanager
def stock_balancer(members: Sequence[int]) -> Iterator[StockBalancer]:
    """
    NGINX in front of ports of this machine, until the block ends.

    Raises:
        BenchError: It does not start.
    """
    topology = _topology(members)
    [node] = topology.nodes_of(Role.BALANCER)
    with TemporaryDirectory() as root, socket.socket(type=socket.SOCK_DGRAM) as sender:
        places = Places(config_root=root, run_root=root, user="root" if os.geteuid() == 0 else "nobody")
        directory = Path(places.config_dir(node))
        directory.mkdir()
        for name, file in render_nginx_stream(topology, node, places).items():
            one_process = file.text.replace("daemon off;", "daemon off;\nmaster_process off;")
            (directory / name).write_text(one_process, encoding="utf-8")
        process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
            nginx_stream(node, places).command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            _until_it_answers(process, node)
            sender.connect((_HOST, _port(node, "hep_port")))
            yield StockBalancer(process, sender)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


def _topology(members: Sequence[int]) -> Topology:
    hep, http = _free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)
    roles: list[dict[str, object]] = [{"balancer": {"hep_port": hep, "http_port": http}}]
    roles += [{"ingest": {"hep_port": port}} for port in members]
    hosts = [{"name": f"h{number}", "address": _HOST, "roles": its} for number, its in enumerate(roles)]
    return Topology.model_validate(
        {"cluster": "bench", "regions": [{"name": "here", "racks": [{"name": "one", "hosts": hosts}]}]}
    )


def _until_it_answers(process: "subprocess.Popen[bytes]", node: Node) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((_HOST, _port(node, "http_port")), timeout=1).close()
        except OSError as fault:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = process.communicate()[1].decode(errors="replace").strip()
                raise BenchError(f"NGINX does not start: {said[-300:] or fault}") from fault
            time.sleep(0.02)
        else:
            return


def _port(node: Node, key: str) -> int:
    return int(getattr(node.options, key))


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(type=kind) as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])

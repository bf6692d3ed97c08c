"""
Where the files of a lab are: `var/lab/<cluster>/`, with `cluster.yaml` and `secrets/`, and for each host

    <host>/etc/<node>/…         what `everline render` writes
    <host>/data/<node>/…        what the programs keep
    <host>/log/<node>.log       what they say; ClickHouse writes `<host>/log/<node>/…` besides
    <host>/run/<node>.json      which process it is; `<host>/run/<node>/` what it needs while it runs
"""

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from everline.cluster.member import MEMBER_ROLES
from everline.cluster_file import Secrets, load_topology, make_secret_files, resolve_secrets
from everline.lab.errors import UnfitError
from everline.lab.ip import PATH
from everline.lab.names import DATA, namespace_of, root_address
from everline.lab.processes import Spawn
from everline.topology.model import Node, Topology
from everline.topology.render import Places, Programs, RenderedFile, launch_of, render_host
from everline.topology.render.launch import CLUSTER_FILE, Launch

JVM_FLAGS: Final = ("-Xms64m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k")
"""Three ZooKeepers on one small machine: 70 MB each."""
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._/-]+")
_SYSTEMD: Final = "systemd/"


def lab_programs() -> Programs:
    """Debian's, and the Everline that runs now."""
    return replace(Programs(), everline=str(Path(sys.executable).with_name("everline")))


class Layout:
    """
    The files of one lab.

    Args:
        directory: `var/lab/<cluster>`.

    Raises:
        UnfitError: The path has characters that break configuration files.
    """

    def __init__(self, directory: Path, topology: Topology, *, programs: Programs | None = None) -> None:
        self.directory = directory.absolute()
        self.topology = topology
        self.programs = programs or lab_programs()
        if not _PLAIN_PATH.fullmatch(str(self.directory)):
            raise UnfitError(f"--dir: {self.directory} may have only letters, digits and . _ - in it")

    @property
    def cluster_file(self) -> Path:
        """The copy that everything in the lab reads; secrets with relative paths are beside it."""
        return self.directory / CLUSTER_FILE

    def host_dir(self, host: str) -> Path:
        """All of one host."""
        return self.directory / host

    def places(self, host: str) -> Places:
        """For `render` and `launch_of`."""
        base = self.host_dir(host)
        return Places(
            config_root=f"{base}/etc", data_root=f"{base}/data", log_root=f"{base}/log", run_root=f"{base}/run",
            interface=DATA, user="root", programs=self.programs, jvm_flags=JVM_FLAGS, power_safe=False,
            trusted_networks=(root_address(self.topology.cluster),),
        )  # fmt: skip

    def log(self, node: Node) -> Path:
        """What the program of a node says."""
        return self.host_dir(node.host) / "log" / f"{node.name}.log"

    def record(self, node: Node) -> Path:
        """Which process it is."""
        return self.host_dir(node.host) / "run" / f"{node.name}.json"

    def data(self, node: Node) -> Path:
        """What it keeps."""
        return self.host_dir(node.host) / "data" / node.name

    # --- write ---

    def take_over(self, text: str) -> Secrets:
        """
        Put cluster.yaml here, make the secrets that are missing, and read all of them.

        Raises:
            TopologyError: A secret can't be made or used.
            UnfitError: A missing secret would be made outside of the lab, or old data is of other hosts.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._look_at_old()
        for name, reference in self.topology.secrets:
            path = self.directory / reference.file if reference and reference.file else None
            if path and not path.exists() and not path.resolve().is_relative_to(self.directory.resolve()):
                raise UnfitError(f"secrets.{name}: {path} is not there, and a lab makes secrets only below its own "
                                 "directory; make the file, or refer to secrets/NAME")  # fmt: skip
        _write(self.cluster_file, RenderedFile(text))
        make_secret_files(self.topology, self.directory)
        return resolve_secrets(self.topology, self.directory, os.environ)

    def _look_at_old(self) -> None:
        if self.cluster_file.exists() and any(self.directory.glob("*/data/*")):
            before = load_topology(self.cluster_file)
            if before.regions != self.topology.regions:
                raise UnfitError(
                    f"{self.directory} has data of a cluster with other hosts or roles: remove it with "
                    f"`everline lab down --cluster {self.topology.cluster} --wipe`, or give cluster: another name"
                )

    def write_configuration(self, secrets: Secrets) -> None:
        """Every file that the programs of every host read; what an earlier lab had there is gone."""
        for host in self.topology.hosts:
            etc = self.host_dir(host.name) / "etc"
            shutil.rmtree(etc, ignore_errors=True)
            for path, file in render_host(self.topology, host, secrets, self.places(host.name)).items():
                if not path.startswith(_SYSTEMD):
                    _write(etc / path, file)

    def prepare(self, node: Node, launch: Launch) -> None:
        """
        What a program wants to find: directories, and the files that it writes anew itself.

        What the last one needed while it ran is gone, as systemd removes it: process ids of the dead keep some from
        starting.
        """
        shutil.rmtree(self.places(node.host).run_dir(node), ignore_errors=True)
        for directory in launch.directories:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        for copy in launch.copies:
            target = Path(copy.target)
            if not (copy.once and target.exists()):
                _write(target, RenderedFile(Path(copy.source).read_text(encoding="utf-8"), 0o600))
        self.log(node).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- start ---

    def launch(self, node: Node) -> Launch:
        """How the program of a node is started."""
        places = self.places(node.host)
        launch = launch_of(node, places)
        instead = {f"{places.config_root}/{CLUSTER_FILE}": str(self.cluster_file)}
        return replace(launch, command=tuple(instead.get(word, word) for word in launch.command))

    def spawn(self, node: Node, launch: Launch) -> Spawn:
        """The program of a node as a process in the namespace of its host."""
        return Spawn(
            namespace_of(self.topology.cluster, node.host), launch.command, self.data(node), self._environment(node),
            self.record(node), self.log(node),
        )  # fmt: skip

    def _environment(self, node: Node) -> dict[str, str]:
        """As little as systemd gives; secrets only to Everline, and only those that cluster.yaml reads from there."""
        found = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": str(self.data(node)), "USER": "root"}
        if node.role in MEMBER_ROLES:
            references = (reference for _, reference in self.topology.secrets if reference and reference.env)
            found |= {one.env: os.environ[one.env] for one in references if one.env in os.environ}
            found["PYTHONUNBUFFERED"] = "1"
        return found


def _write(path: Path, file: RenderedFile) -> None:
    """The old text or the new one, never half of it, and at no moment open to others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as writing:
        writing.write(file.text)
    new.replace(path)

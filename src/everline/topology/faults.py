"""
What is wrong with a cluster as a whole, though each of its keys is right.

`faults_of` is refused, `warnings_of` is shown; `check` raises the first kind.
"""

from collections.abc import Iterator

from everline.config_sections import oidc_faults
from everline.topology.collisions import collisions, grouped
from everline.topology.errors import TopologyError, TopologyFault
from everline.topology.model import IngestOptions, NginxOptions, SecretRef, SecretRefs, Topology
from everline.topology.placement import gaps, risks
from everline.topology.settings import OPTIONAL_SECRETS
from everline.topology.timing import contradictions
from everline.topology.vips import lonely_vips, unfit_vips


def faults_of(topology: Topology) -> tuple[TopologyFault, ...]:
    """Everything for which the cluster is refused."""
    return (
        *_missing_secrets(topology.secrets),
        *contradictions(topology.timers),
        *collisions(topology),
        *gaps(topology),
        *unfit_vips(topology),
        *_half_of_tls(topology),
        *_faults_of_sign_in(topology),
    )


def warnings_of(topology: Topology) -> tuple[TopologyFault, ...]:
    """Everything that works, until it meets a certain loss."""
    return (*_shared_secrets(topology.secrets), *risks(topology), *lonely_vips(topology))


def check(topology: Topology, *, source: str = "cluster.yaml") -> None:
    """
    Refuse a cluster that can't work.

    Raises:
        TopologyError: With every fault that was found.
    """
    faults = faults_of(topology)
    if faults:
        raise TopologyError(faults, source=source)


def _references(secrets: SecretRefs) -> dict[str, SecretRef | None]:
    return {name: getattr(secrets, name) for name in SecretRefs.model_fields}


def _missing_secrets(secrets: SecretRefs) -> Iterator[TopologyFault]:
    for name, reference in _references(secrets).items():
        if reference is None and name not in OPTIONAL_SECRETS:
            meaning = SecretRefs.model_fields[name].description
            yield TopologyFault(f"secrets.{name}", f"is missing: give file: PATH or env: NAME. {meaning}")


def _shared_secrets(secrets: SecretRefs) -> Iterator[TopologyFault]:
    places = grouped(((one.file, one.env), name) for name, one in _references(secrets).items() if one is not None)
    for names in places.values():
        for name in names[1:]:
            yield TopologyFault(f"secrets.{name}", f"is the same as secrets.{names[0]}: who learns one has both")


def _half_of_tls(topology: Topology) -> Iterator[TopologyFault]:
    for node in topology.nodes:
        options = node.options
        if not isinstance(options, IngestOptions | NginxOptions):
            continue
        if (options.tls_certificate is None) != (options.tls_key is None):
            lack = "tls_certificate" if options.tls_certificate is None else "tls_key"
            yield TopologyFault(f"{node.path}.{lack}", "is missing: a certificate and its key need each other")


def _faults_of_sign_in(topology: Topology) -> Iterator[TopologyFault]:
    yield from (TopologyFault(f"oidc.{key}", problem) for key, problem in oidc_faults(topology.oidc))
    if topology.secrets.oidc_client_secret is not None and topology.oidc.issuer is None:
        yield TopologyFault("secrets.oidc_client_secret", "needs oidc.issuer: set it, or leave this out")
    if topology.oidc.ca_file is not None and not topology.oidc.ca_file.startswith("/"):
        yield TopologyFault("oidc.ca_file", "must be an absolute path: of a file that every app node has")

"""The section `oidc`: the same in a node's file, in the environment and in cluster.yaml."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from tests.topology.clusters import one_site, topology, values

from everline.access.oidc_settings import OidcSettings, oidc_settings
from everline.cluster_file import make_secret_files, resolve_secrets
from everline.config import effective_values
from everline.config_load import ConfigError, load_config
from everline.config_sections import OIDC_SCOPES, OidcConfig
from everline.topology.faults import faults_of
from everline.topology.model import Topology

DOCS: Final = Path(__file__).parents[2] / "docs"
ISSUER: Final = "https://id.example.com/realms/voice"
EVERY_KEY: Final[dict[str, Any]] = {
    "issuer": ISSUER, "client_id": "everline", "name": "Voice ID", "scopes": ["openid", "groups"],
    "name_claim": "upn", "groups_claim": "realm_access.roles", "roles": {"noc": "operator", "cn=it,dc=x": "admin"},
    "default_role": "viewer", "ca_file": "/etc/ssl/certs/ca-certificates.crt",
}  # fmt: skip
EXPECTED: Final = OidcSettings(
    issuer=ISSUER,
    client_id="everline",
    client_secret="provider's secret",
    name="Voice ID",
    scopes=("openid", "groups"),
    name_claim="upn",
    groups_claim="realm_access.roles",
    roles={"noc": "operator", "cn=it,dc=x": "admin"},
    default_role="viewer",
    ca_file=Path("/etc/ssl/certs/ca-certificates.crt"),
)


def test_a_node_and_a_cluster_say_the_same_in_the_same_words(tmp_path: Path) -> None:
    """But for the secret, which cluster.yaml names in `secrets:` with the others."""
    secret = tmp_path / "secret"
    secret.write_text("provider's secret\n", "utf-8")
    secret.chmod(0o600)
    file = tmp_path / "everline.toml"
    roles = "[oidc.roles]\nnoc = 'operator'\n'cn=it,dc=x' = 'admin'\n"
    plain = "".join(f"{key} = {value!r}\n" for key, value in EVERY_KEY.items() if key != "roles")
    file.write_text(f"[oidc]\nclient_secret_file = '{secret}'\n{plain}{roles}", "utf-8")
    node = load_config(file, environ={}, flags={}).config.oidc
    whole = values(one_site(), oidc=EVERY_KEY)
    whole["secrets"]["oidc_client_secret"] = {"file": str(secret)}
    cluster = Topology.model_validate(whole)
    environ = {name.upper(): "0123456789abcdef" for name in whole["secrets"]}

    assert node.client_secret is not None
    assert oidc_settings(node, client_secret=node.client_secret.get_secret_value()) == EXPECTED
    assert faults_of(cluster) == ()
    secrets = resolve_secrets(cluster, tmp_path, environ)
    assert oidc_settings(cluster.oidc, client_secret=secrets.oidc_client_secret) == EXPECTED


def test_the_environment_says_it_too() -> None:
    """Lists and tables as text; `config show` gives them back so, and never the secret."""
    environ = {
        "EVERLINE_OIDC_ISSUER": ISSUER,
        "EVERLINE_OIDC_CLIENT_ID": "everline",
        "EVERLINE_OIDC_CLIENT_SECRET": "s3cret",
        "EVERLINE_OIDC_SCOPES": "openid groups",
        "EVERLINE_OIDC_ROLES": "voice=noc=operator, it = admin",
    }

    config = load_config(None, environ=environ, flags={}).config

    assert config.oidc.roles == {"voice=noc": "operator", "it": "admin"}
    assert config.oidc.scopes == ("openid", "groups")
    shown = effective_values(config)
    assert (shown["oidc.roles"], shown["oidc.scopes"]) == ("voice=noc=operator, it=admin", "openid groups")
    assert shown["oidc.client_secret"] == "***"
    assert "s3cret" not in f"{config!r}"


def test_without_the_section_nobody_is_sent_anywhere() -> None:
    """And what is not said has its default."""
    assert oidc_settings(OidcConfig(), client_secret=None) is None
    assert oidc_settings(OidcConfig(issuer=ISSUER, client_id="c"), client_secret=None) == OidcSettings(
        issuer=ISSUER, client_id="c", scopes=OIDC_SCOPES
    )


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        pytest.param({"issuer": "http://id.example.com"}, "oidc.issuer", "need an https URL", id="plain-http"),
        pytest.param({"issuer": "https://id.example.com/?a=b"}, "oidc.issuer", "need an https URL", id="query"),
        pytest.param({"issuer": 7}, "oidc.issuer", "need an https URL", id="number"),
        pytest.param({"client_id": ""}, "oidc.client_id", "should match", id="empty-client"),
        pytest.param({"roles": {"noc": "boss"}}, "oidc.roles", "'viewer', 'operator' or 'admin'", id="unknown-role"),
        pytest.param({"roles": "operator"}, "oidc.roles", "need GROUP=ROLE", id="roles-without-groups"),
        pytest.param({"default_role": "none"}, "oidc.default_role", "'viewer', 'operator' or 'admin'", id="default"),
        pytest.param({"scopes": ["a b"]}, "oidc.scopes", "need a list of scopes", id="scope-with-a-space"),
        pytest.param({"scopes": 1}, "oidc.scopes", "need a list of scopes", id="no-scopes"),
        pytest.param({"client_id": None}, "oidc.client_id", "must be set too", id="no-client"),
        pytest.param({"roles": None, "default_role": None}, "oidc.roles", "nobody could come in", id="no-role"),
        pytest.param({"issuer": None}, "oidc.issuer", "since oidc.ca_file is", id="no-issuer"),
        pytest.param({"ca_file": "/does/not/exist"}, "oidc.ca_file", "cannot be read", id="no-such-file"),
        pytest.param({"client_secret_file": "/dev/null"}, "oidc.client_secret_file", "is empty", id="empty-secret"),
        pytest.param(
            {"client_secret": "a", "client_secret_file": "/dev/null"},
            "oidc.client_secret", "is set beside oidc.client_secret_file", id="two-secrets",
        ),
    ],
)  # fmt: skip
def test_a_fault_names_its_key(changes: dict[str, Any], key: str, said: str) -> None:
    """None: the key is left out."""
    merged = EVERY_KEY | changes
    flags = {f"oidc.{name}": value for name, value in merged.items()}

    with pytest.raises(ConfigError) as caught:
        load_config(None, environ={}, flags=flags)

    fault = caught.value.faults[0]
    assert (fault.key, said in fault.problem) == (key, True), fault


def test_what_a_cluster_can_get_wrong_besides_is_told() -> None:
    """A secret for no provider, and a file that each node would look for somewhere else."""
    secret = {"oidc_client_secret": {"env": "X"}}
    lonely = topology(one_site(), secrets={**values(one_site())["secrets"], **secret})
    relative = topology(one_site(), oidc={**EVERY_KEY, "ca_file": "ca.pem"})
    half = topology(one_site(), oidc={"issuer": ISSUER})

    assert [str(one) for one in faults_of(lonely)] == [
        "secrets.oidc_client_secret: needs oidc.issuer: set it, or leave this out"
    ]
    assert [one.path for one in faults_of(relative)] == ["oidc.ca_file"]
    assert [one.path for one in faults_of(half)] == ["oidc.client_id", "oidc.roles"]


def test_a_secret_that_the_provider_gave_is_taken_as_it_is_and_never_made(tmp_path: Path) -> None:
    """It may be short, and have any characters: no engine's file holds it."""
    whole = values(one_site(), oidc=EVERY_KEY)
    whole["secrets"] |= {"oidc_client_secret": {"file": "given"}}
    cluster = Topology.model_validate(whole)
    environ = {name.upper(): "0123456789abcdef" for name in whole["secrets"]}

    assert make_secret_files(cluster, tmp_path) == ()
    (tmp_path / "given").write_text("p&<'\"\n", "utf-8")
    (tmp_path / "given").chmod(0o600)
    assert resolve_secrets(cluster, tmp_path, environ).oidc_client_secret == "p&<'\""


def test_every_key_is_in_the_docs() -> None:
    """docs/oidc.md has the list for both files."""
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "oidc.md").read_text("utf-8"), re.MULTILINE)

    assert set(listed) == set(OidcConfig.model_fields)
    assert "oidc_client_secret" in (DOCS / "cluster.md").read_text("utf-8")

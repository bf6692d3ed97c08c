"""What holds for all nodes of a cluster: timers, store, secrets, hooks."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, model_validator

from everline.config_sections import Section, StoreConfig

_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
_URL: Final = re.compile(r"https?://[^\s/?#]+[^\s]*")

Milliseconds = Annotated[int, Field(strict=True, ge=50, le=600_000)]

DownAfter = Annotated[int, Field(strict=True, ge=600, le=600_000)]
"""Longer than two looks of a Sentinel that was told to look four times a second."""


class Timers(Section):
    """When silence becomes suspicion, and how long each wait may last; milliseconds."""

    heartbeat_ms: Milliseconds = Field(default=300, description="Between two heartbeats of a node.")
    suspect_ms: Milliseconds = Field(default=1_000, description="Silence after which a node is suspected.")
    dead_ms: Milliseconds = Field(default=3_000, description="Silence after which a node counts as dead.")
    keeper_session_ms: Milliseconds = Field(default=2_000, description="Session of Everline's nodes at Keeper.")
    redis_down_after_ms: DownAfter = Field(default=700, description="Silence after which a Sentinel doubts Redis.")
    redis_failover_ms: Milliseconds = Field(default=10_000, description="Sentinel's failover-timeout.")
    clickhouse_session_ms: Milliseconds = Field(default=4_000, description="Session of ClickHouse servers at Keeper.")
    connect_ms: Milliseconds = Field(default=1_000, description="Longest wait for a connection.")
    insert_ms: Milliseconds = Field(default=5_000, description="Longest wait for one server to store a batch.")
    hedge_ms: Milliseconds = Field(default=500, description="Silence after which another server is asked to store too.")
    query_ms: Milliseconds = Field(default=10_000, description="Longest wait for an answer to a question.")


class StoreSettings(StoreConfig):
    """How long things are kept, and what an ingest node may keep while the store can't."""

    spool_bytes: int = Field(
        default=4 << 30, ge=1 << 20, le=1 << 44, description="Most bytes that the spool of one ingest node may take."
    )
    insert_every_ms: int = Field(
        default=400, ge=0, le=10_000,
        description="Least time between two inserts of one ingest node: many small ones cost ClickHouse and Keeper "
        "more than few large ones, and what waits is lost with a node that is killed.",
    )  # fmt: skip
    spool_alarm_s: int = Field(
        default=60, ge=1, le=86_400, description="Age of the oldest spooled batch at which the node raises an alarm."
    )


class SecretRef(Section):
    """Where a secret is to be read: the first line of a file, or an environment variable. Never the secret itself."""

    file: str | None = Field(
        default=None, pattern=r"^[^\x00-\x1f\x7f]+$", description="Path; a relative one starts at cluster.yaml."
    )
    env: str | None = Field(default=None, pattern=_VARIABLE, description="Name of an environment variable.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "SecretRef":
        if (self.file is None) == (self.env is None):
            raise ValueError("need either file: PATH or env: NAME, one of the two")
        return self


class SecretRefs(Section):
    """Where each secret of the cluster is to be read; the same on every node."""

    clickhouse: SecretRef | None = Field(default=None, description="Password of the ClickHouse user everline.")
    redis: SecretRef | None = Field(default=None, description="Password of Redis and of Sentinel.")
    interserver: SecretRef | None = Field(default=None, description="Password between ClickHouse replicas.")
    session_key: SecretRef | None = Field(default=None, description="Signs the cookies of those who are signed in.")
    admin_token: SecretRef | None = Field(default=None, description="Token of the administrator.")
    hep_key: SecretRef | None = Field(
        default=None, description="Optional: take only HEP packets with this key in chunk 0x0e."
    )
    oidc_client_secret: SecretRef | None = Field(
        default=None, description="Optional: what shows the identity provider of `oidc` that it is Everline."
    )


OPTIONAL_SECRETS: Final = frozenset({"hep_key", "oidc_client_secret"})
"""Secrets that a cluster can do without."""

GIVEN_SECRETS: Final = frozenset({"oidc_client_secret"})
"""Secrets that others give us, in whatever form: none can be made here, and no engine's file has them."""


class HookEvent(StrEnum):
    """What a hook can be called for."""

    LEADER_ELECTED = "leader_elected"
    LEADER_RESIGNED = "leader_resigned"
    LEADER_LOST = "leader_lost"
    NODE_DEAD = "node_dead"
    NODE_BACK = "node_back"
    NODE_DRAINED = "node_drained"
    NODE_UNDRAINED = "node_undrained"
    REDIS_FAILOVER = "redis_failover"
    STORE_REPLICA_LOST = "store_replica_lost"
    STORE_REPLICA_BACK = "store_replica_back"
    STORE_REPAIRED = "store_repaired"
    SPOOL_STARTED = "spool_started"
    SPOOL_DRAINED = "spool_drained"
    REGION_LOST = "region_lost"
    REGION_BACK = "region_back"


def _all_or_listed(value: object) -> object:
    return list(HookEvent) if value == "all" else value


class Hook(Section):
    """Whom the leader tells of a failover: a command (no shell) or a webhook."""

    on: Annotated[tuple[HookEvent, ...], BeforeValidator(_all_or_listed), Field(min_length=1)] = Field(
        description="A list of events, or all."
    )
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Program and arguments; it reads the event as JSON on its stdin."
    )
    webhook: str | None = Field(default=None, description="URL that gets the event as JSON by POST.")
    deadline_s: float = Field(default=10, gt=0, le=300, description="Longest time it may take.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Hook":
        if (self.command is None) == (self.webhook is None):
            raise ValueError("need either command: [PROGRAM, …] or webhook: URL, one of the two")
        if self.command is not None and not self.command[0].startswith("/"):
            raise ValueError("command: need the absolute path of a program")
        if self.webhook is not None and not _URL.fullmatch(self.webhook):
            raise ValueError("webhook: need a URL that starts with http:// or https://")
        return self

"""The secrets that the engines' files need; `everline.cluster_file.Secrets` has them."""

from typing import Protocol


class EngineSecrets(Protocol):
    """Passwords between Everline and its engines: one line of printable ASCII without quotes, spaces and < > &."""

    @property
    def clickhouse(self) -> str:
        """Of the ClickHouse user."""

    @property
    def redis(self) -> str:
        """Of Redis and of Sentinel."""

    @property
    def interserver(self) -> str:
        """Between ClickHouse replicas."""

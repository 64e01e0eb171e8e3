"""Every setting of the platform, in one typed place.

Each may be set in the environment as MARQUEE_<NAME>. Engines are chosen by URL; a path in an embedded engine's URL is
taken below the state folder, so that one folder holds everything.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.errors import FixRequest


class Settings(BaseSettings):
    """The settings; the defaults run the platform on one machine with embedded engines."""

    model_config = SettingsConfigDict(env_prefix="MARQUEE_", extra="ignore", frozen=True)

    state: Path = Path(".marquee")
    """The one folder of everything that embedded engines keep."""

    log_url: str = "embedded:log"
    """Or `kafka://host:9092,host:9092/prefix`; the prefix, if any, goes before every topic and group."""
    hot_url: str = "embedded:hot"
    """Or `redis://host:6379/0`, `rediss://` with TLS, `redis+cluster://host:7000,host:7001`; `?prefix=` before keys."""
    durable_url: str = "sqlite:durable.db"
    """Or `cassandra://host:9042,host/keyspace`."""
    sql_url: str = "sqlite:marquee.db"
    """Catalogue, registry, runs: everything relational. Or `postgresql://user@host:5432/database`."""
    warehouse_url: str = "file:warehouse"
    blobs_url: str = "file:blobs"
    """Content-addressed artifacts (models, snapshots)."""

    partitions: int = Field(default=4, ge=1, le=1024)
    log_max_bytes: int = Field(default=8 << 30, ge=1 << 20)
    """A topic's log never grows over this; appends are refused with SlowDown before it does."""
    log_retention_ms: int = Field(default=90 * 86_400_000, ge=0)
    log_sync: bool = True
    """Whether an append reaches the disk before it returns (survives power loss, not only kill -9). Stores need no such
    thing: what they lose with the power is folded again from the log."""
    hot_max_bytes: int = Field(default=8 << 30, ge=1 << 20)
    session_timeout_ms: int = Field(default=6_000, ge=500)
    """A consumer that does not poll for this long loses its partitions."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_replication: int = Field(default=1, ge=1, le=16)
    """Copies of each partition of the topics that are created; 3 on a cluster that may lose a broker."""
    kafka_request_timeout_ms: int = Field(default=5_000, ge=100)
    kafka_buffer_bytes: int = Field(default=32 << 20, ge=1 << 20)
    """What appends may hold in memory while brokers are slow; over it they are refused with SlowDown."""

    redis_timeout_s: float = Field(default=0.1, gt=0)
    """Of one command, connecting included: a page waits for it at worst."""
    redis_write_timeout_s: float = Field(default=2.0, gt=0)
    """Of one command of a worker, reads included: its batches are large, and nobody waits for it."""
    redis_password: SecretStr = SecretStr("")
    redis_connections: int = Field(default=16, ge=1)
    """To a server, of one process's workers. Pages read over one connection, however many are read at once."""

    cassandra_username: str = ""
    cassandra_password: SecretStr = SecretStr("")
    cassandra_ca_file: Path | None = None
    cassandra_datacenter: str = "datacenter1"
    cassandra_replication: int = Field(default=1, ge=1, le=16)
    cassandra_read_consistency: Literal["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "ALL"] = "LOCAL_QUORUM"
    cassandra_write_consistency: Literal["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "ALL"] = "LOCAL_QUORUM"
    cassandra_timeout_s: float = Field(default=2.0, gt=0)
    history_ttl_s: int = Field(default=0, ge=0, le=630_720_000)
    """How long the durable store keeps a history row; 0 for ever. Cassandra only: SQLite keeps all."""

    sql_pool: int = Field(default=5, ge=1)
    """Connections to a PostgreSQL server, of one process."""
    sql_password: SecretStr = SecretStr("")
    sql_timeout_s: float = Field(default=5.0, gt=0)
    """On PostgreSQL: of connecting, of one statement, and of waiting for a free connection."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    open_reads: bool | None = None
    """Whether experiments and their results can be read without a key; by default where `host` is this machine's own
    address, which nobody else reaches. Changing anything wants a key always."""
    page_ttl_s: float = Field(default=900.0, gt=0)
    page_ttl_jitter: float = Field(default=0.1, ge=0, lt=1)
    page_cache_entries: int = Field(default=20_000, ge=1)
    page_deadline_s: float = Field(default=0.25, gt=0)
    """How long a page may take before the ladder answers instead."""
    stale_max_s: float = Field(default=6 * 3600.0, ge=0)
    """How old a cached page the ladder may still serve when a fresh one cannot be made."""
    ingest_queue: int = Field(default=10_000, ge=1)
    ingest_batch_max: int = Field(default=500, ge=1)
    impression_queue: int = Field(default=10_000, ge=1)
    title_refresh_s: float = Field(default=1.0, gt=0)
    """How often serving reads the live title states anew."""
    model_refresh_s: float = Field(default=1.0, gt=0)
    """How often serving looks for a new champion."""
    experiment_refresh_s: float = Field(default=1.0, gt=0)
    """How often serving reads which experiments run."""
    experiment_watch_s: float = Field(default=3.0, gt=0)
    """How often the watcher sees to running experiments: ramps, looks, guardrails that stop."""

    agents: str = "features"
    """What `faust -A streams.app worker` runs: features, sink, or both with a comma between."""

    warehouse_flush_records: int = Field(default=20_000, ge=1)
    warehouse_flush_s: float = Field(default=10.0, gt=0)

    @property
    def reads_are_open(self) -> bool:
        """Whether experiments and their results can be read without a key."""
        return self.host in ("127.0.0.1", "::1", "localhost") if self.open_reads is None else self.open_reads

    def path_of(self, url: str) -> Path:
        """Return the local path in an embedded engine's URL, below the state folder unless absolute."""
        return self.state / urlsplit(url).path

    def scheme_of(self, url: str) -> str:
        """Return the scheme that picks the engine."""
        return urlsplit(url).scheme


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Return the process's settings, read from the environment once. Raises FixRequest for one that cannot be."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"MARQUEE_{str(first['loc'][0]).upper()}"
        raise FixRequest(name, f"{first['input']!r} cannot be: {first['msg']}") from None

"""What the settings say of Kafka: where it is, how to get in, and how its topics are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urlsplit

from aiokafka.helpers import create_ssl_context

from streams.errors import FixRequest
from streams.settings import Settings
from streams.topics import DEAD_LETTERS

DEFAULT_PORT: Final = 9092

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Key and value of one message, as in the embedded log."""

MAX_BATCH_BYTES: Final = 2 << 20
"""What a topic takes as one record batch: the largest message and its frame fit in."""

DEAD_LETTER_DAYS: Final = 30
DEAD_LETTER_BYTES: Final = 1 << 30
"""Dead letters are looked at by people, soon or never: they are kept no longer, and take up no more, than this."""

DAY_MS: Final = 86_400_000

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
MAX_NAME: Final = 200
"""Kafka allows a topic 249 characters; some are the prefix's."""


@dataclass(frozen=True)
class KafkaConfig:
    """One Kafka cluster and how this platform uses it; nothing secret shows in its repr.

    bootstrap: `host:port,...`; prefix: before every topic and group; buffer_bytes: what appends may hold in memory."""

    bootstrap: str
    prefix: str = ""
    client: dict[str, Any] = field(default_factory=dict, repr=False)
    request_timeout_ms: int = 5_000
    session_timeout_ms: int = 6_000
    buffer_bytes: int = 32 << 20
    replication: int = 1
    retention_ms: int = 90 * DAY_MS
    max_bytes: int = 8 << 30

    @property
    def min_insync(self) -> int:
        """Return how many copies must have an append: a majority, so that one broker of three may be away."""
        return self.replication // 2 + 1

    def client_arguments(self) -> dict[str, Any]:
        """Return what every aiokafka client of this cluster is made with."""
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "client_id": "marquee",
            "request_timeout_ms": self.request_timeout_ms,
            **self.client,
        }

    def topic_configs(self, topic: str, partitions: int) -> dict[str, str]:
        """Return the configuration of a platform's topic.

        None is compacted: events, impressions, exposures and dead letters are histories, and every record counts. What
        has a newest value per key are states, and they are in stores. Kafka bounds the bytes of each partition."""
        days_ms, size = self.retention_ms, self.max_bytes
        if topic == DEAD_LETTERS:
            days_ms, size = min(days_ms, DEAD_LETTER_DAYS * DAY_MS), min(size, DEAD_LETTER_BYTES)
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(days_ms),
            "retention.bytes": str(max(size // partitions, 1)),
            **self._common(),
        }

    def epoch_topic_configs(self) -> dict[str, str]:
        """Return the configuration of the topic of epochs: nothing of it may ever go, or epochs would begin anew."""
        return {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", **self._common()}

    def _common(self) -> dict[str, str]:
        return {
            "max.message.bytes": str(MAX_BATCH_BYTES),
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(self.min_insync),
        }


def config_of(settings: Settings) -> KafkaConfig:
    """Return what the settings say. Raises FixRequest for a URL or credentials that cannot be."""
    parts = urlsplit(settings.log_url)
    prefix = parts.path.lstrip("/")
    if parts.username or parts.password:
        raise FixRequest("MARQUEE_LOG_URL", "put the user and password into MARQUEE_KAFKA_USERNAME and _PASSWORD")
    if not parts.netloc:
        raise FixRequest("MARQUEE_LOG_URL", "name a broker: kafka://host:9092")
    if prefix and not _NAME.fullmatch(prefix):
        raise FixRequest("MARQUEE_LOG_URL", "the prefix after the host has A-Z a-z 0-9 . _ -")
    hosts = [host if ":" in host else f"{host}:{DEFAULT_PORT}" for host in parts.netloc.split(",")]
    return KafkaConfig(
        bootstrap=",".join(hosts),
        prefix=prefix,
        client=security_arguments(settings),
        request_timeout_ms=settings.kafka_request_timeout_ms,
        session_timeout_ms=settings.session_timeout_ms,
        buffer_bytes=settings.kafka_buffer_bytes,
        replication=settings.kafka_replication,
        retention_ms=settings.log_retention_ms,
        max_bytes=settings.log_max_bytes,
    )


def security_arguments(settings: Settings) -> dict[str, Any]:
    """Return the aiokafka arguments for TLS and SASL. Raises FixRequest for files or credentials that are missing."""
    protocol = settings.kafka_security_protocol
    arguments: dict[str, Any] = {"security_protocol": protocol}
    if protocol in ("SSL", "SASL_SSL"):
        arguments["ssl_context"] = _ssl_context(settings)
    if protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        if not settings.kafka_username or not settings.kafka_password.get_secret_value():
            raise FixRequest("MARQUEE_KAFKA_USERNAME", f"{protocol} needs a user and MARQUEE_KAFKA_PASSWORD")
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = settings.kafka_username
        arguments["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return arguments


def check_topic_name(topic: str) -> None:
    """Raise FixRequest for a name that no topic may have."""
    if not _NAME.fullmatch(topic) or len(topic) > MAX_NAME:
        raise FixRequest("topic", f"a name has 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -, the first not a dot")


def _ssl_context(settings: Settings) -> SSLContext:
    files = (settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    try:
        context: SSLContext = create_ssl_context(
            **{
                name: str(file)
                for name, file in zip(("cafile", "certfile", "keyfile"), files, strict=True)
                if file is not None
            }
        )
    except OSError as error:
        raise FixRequest("MARQUEE_KAFKA_CA_FILE", f"the TLS files cannot be used: {error}") from None
    return context

"""What the settings make of Kafka's clients and topics."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from streams.errors import FixRequest
from streams.event_log.kafka.config import KafkaConfig, config_of
from streams.event_log.open import open_event_log
from streams.settings import Settings
from streams.topics import DEAD_LETTERS, MEMBER_EVENTS

DAY_MS = 86_400_000


def config(**changes: object) -> KafkaConfig:
    return config_of(Settings.model_validate({"log_url": "kafka://a:1,b/marquee.", **changes}))


def test_a_url_names_brokers_and_a_prefix() -> None:
    assert config().client_arguments()["bootstrap_servers"] == ["a:1", "b:9092"]
    assert config().prefix == "marquee."
    assert config(log_url="kafka://a").prefix == ""


@pytest.mark.parametrize("url", ["kafka:", "kafka://a/b/c", "kafka://a/b c", "kafka://me:secret@a"])
def test_a_url_that_cannot_be_is_refused_and_not_repeated_with_its_password(url: str) -> None:
    with pytest.raises(FixRequest) as refusal:
        config(log_url=url)
    assert refusal.value.field == "MARQUEE_LOG_URL"
    assert "secret" not in str(refusal.value)


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="embedded or kafka"):
        open_event_log(Settings(log_url="pulsar://a", state=tmp_path))


def test_without_a_word_on_security_there_is_none() -> None:
    assert config().client == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_credentials_are_handed_on_and_never_shown(mechanism: str) -> None:
    made = config(
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism=mechanism,
        kafka_username="marquee",
        kafka_password=SecretStr("hush-hush"),
    )
    arguments = made.client_arguments()
    assert arguments["sasl_mechanism"] == mechanism
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("marquee", "hush-hush")
    assert "hush" not in repr(made)


def test_credentials_that_are_missing_are_named() -> None:
    with pytest.raises(FixRequest, match="MARQUEE_KAFKA_USERNAME"):
        config(kafka_security_protocol="SASL_SSL")


def test_tls_checks_the_brokers_certificate_and_name() -> None:
    context = config(kafka_security_protocol="SSL").client_arguments()["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_tls_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="MARQUEE_KAFKA_CA_FILE"):
        config(kafka_security_protocol="SSL", kafka_ca_file=tmp_path / "none.pem")


def test_retention_bounds_a_topic_and_dead_letters_more_tightly() -> None:
    made = config(log_max_bytes=8 << 30, log_retention_ms=90 * DAY_MS)
    events, dead = made.topic_configs(MEMBER_EVENTS, 4), made.topic_configs(DEAD_LETTERS, 4)
    assert (events["retention.ms"], events["retention.bytes"]) == (str(90 * DAY_MS), str(2 << 30))
    assert (dead["retention.ms"], dead["retention.bytes"]) == (str(30 * DAY_MS), str(256 << 20))
    assert made.epoch_topic_configs()["retention.ms"] == "-1"


@pytest.mark.parametrize(("copies", "needed"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_an_append_is_on_most_of_the_copies(copies: int, needed: int) -> None:
    assert config(kafka_replication=copies).topic_configs(MEMBER_EVENTS, 1)["min.insync.replicas"] == str(needed)

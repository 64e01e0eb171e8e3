"""deploy/: what its files name is there, and they agree with one another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from marquee.engines.compose import COMPOSE, environment
from marquee.engines.jars import DEPLOY, version
from marquee.engines.local import DEFAULT_PORT, PLATFORM
from streams.settings import Settings
from tests.containers import CONTAINERS, image

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OWN = [name for name, service in SERVICES.items() if "build" in service]
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
ROOT = DEPLOY.parent


def test_engines_have_the_same_versions_by_docker_and_by_maven() -> None:
    assert image("kafka").endswith(f":{version('kafka')}")
    assert image("cassandra").endswith(f":{version('cassandra')}")
    assert image("postgres").startswith("postgres:15.")
    assert set(CONTAINERS) == set(PLATFORM)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_every_service_is_bounded_watched_and_pinned(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    assert "healthcheck" in service or "build" in service
    if "image" in service:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", str(service["image"]))
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_what_is_mounted_and_built_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_prometheus_asks_services_that_there_are() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    found = {
        (name, search["port"])
        for job in config["scrape_configs"]
        for search in job["dns_sd_configs"]
        for name in search["names"]
    }
    assert found == {("serving", 8000), ("features", 8100), ("sink", 8100), ("experiments", 8100), ("watcher", 8100)}
    for file in config["rule_files"]:
        assert (DEPLOY / "prometheus" / file).is_file()
    for name in ("features", "sink", "experiments"):
        assert SERVICES[name]["command"] == ["agents", name, "--metrics-port", "8100"]


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in provisioned["datasources"]}
    dashboard = json.loads((DEPLOY / "grafana/dashboards/marquee.json").read_text())
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert asked <= uids


def test_containers_of_marquee_get_settings_that_there_are() -> None:
    for name in OWN:
        for variable in SERVICES[name]["environment"]:
            assert variable.removeprefix("MARQUEE_").lower() in Settings.model_fields


def test_docker_publishes_engines_where_they_listen_without_it() -> None:
    text = COMPOSE.read_text()
    for variable, port in environment(DEFAULT_PORT).items():
        assert f"127.0.0.1:${{{variable}:-{port}}}:" in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_images_are_small_unprivileged_and_made_of_what_is_there(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    assert text.count("\nFROM python:3.11.") == 2
    assert "\nUSER marquee\n" in text
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source

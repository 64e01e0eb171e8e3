"""Alerts, dashboard and documents of the operators name what the code has, and what is named can be found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from serving.pages.page import Step
from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.feature_agent import FeatureAgent
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import WarehouseSink
from tests.operations.metric_names import documented_names, grouped_labels, matched, named_metrics, registered

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/marquee.json").read_text())
GROUPS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
RUNBOOK = (ROOT / "docs/operations/runbook.md").read_text()
REGISTERED = registered()

VALUES = {
    "agent": {FeatureAgent.name, ShownAgent.name, WarehouseSink.name, ExperimentAgent.name},
    "step": set(get_args(Step)),
    "cache": {"hit", "miss", "bypass"},
    "alias": {"champion"},
    "result": {"done", "nothing"},
    "job": {"marquee-.*"},
}
"""What a label of an expression may be held against."""


def expressions() -> Iterator[Any]:
    for rule in ALERTS:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_names_what_the_code_has(expression: str) -> None:
    names = named_metrics(expression)
    assert names
    assert names <= REGISTERED.keys()
    labels = {label for name in names for label in REGISTERED[name]}
    assert grouped_labels(expression) <= labels
    for metric, label, value in matched(expression):
        assert label in REGISTERED[metric]
        assert value in VALUES[label]


def test_a_metric_that_is_not_there_would_be_seen() -> None:
    named = named_metrics('sum by (a) (rate(x_total{a="b"}[5m])) / on () group_left () y > 0.5 and z offset 5m')
    assert named == {"x_total", "y", "z"}
    assert not named & REGISTERED.keys()


def test_alerts_have_different_names_and_severities_that_are_known() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names)) >= 20
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"critical", "warning"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_and_leads_to_a_section_of_the_runbook(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"]
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"\n## {rule['alert']}\n" in (ROOT / file).read_text()
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert any(label in REGISTERED[name] for name in named_metrics(rule["expr"]))


def test_every_section_of_the_runbook_is_of_an_alert() -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE))
    assert sections == {rule["alert"] for rule in ALERTS}


def test_every_metric_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/operations/metrics.md").read_text()
    listed = set(re.findall(r"^\| `(marquee_\w+)", text, re.MULTILINE))
    assert documented_names() - listed == set(), "add a row to docs/operations/metrics.md"
    assert listed - documented_names() == set(), "docs/operations/metrics.md has a row of a metric that is not there"


def test_the_dashboard_reads_the_datasource_that_is_provisioned() -> None:
    path = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
    uids = {source["uid"] for source in yaml.safe_load(path.read_text())["datasources"]}
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == uids
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_shows_all_that_is_measured_of_experiments() -> None:
    targets = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    shown = {name for target in targets for name in named_metrics(target["expr"])}
    of_experiments = (
        "marquee_experiment",
        "marquee_exposures",
        "marquee_watcher",
        "marquee_flags",
        "marquee_allocations",
    )
    assert {name for name in documented_names() if name.startswith(of_experiments)} <= shown


def test_panels_of_the_dashboard_fill_their_rows_and_overlap_nowhere() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    height = 1 + max(y for _, y in taken)
    assert set(taken) == {(x, y) for x in range(24) for y in range(height)}


def test_prometheus_looks_for_what_compose_runs_and_compose_mounts_what_there_is() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    places = {(name, sd["port"]) for job in jobs for sd in job["dns_sd_configs"] for name in sd["names"]}
    assert places == {("serving", 8000), ("features", 8100), ("sink", 8100), ("experiments", 8100), ("watcher", 8100)}
    assert {name for name, _ in places} <= services.keys()
    assert all(str(port) in services[name]["command"] for name, port in places if name != "serving")
    for service in ("prometheus", "grafana"):
        mounted = [volume.split(":")[0] for volume in services[service]["volumes"] if volume.startswith("./")]
        assert mounted
        assert all((ROOT / "deploy" / path).exists() for path in mounted)


def test_promtool_accepts_configuration_and_rules_and_the_cases_come_out() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (package prometheus) is not there")
    for arguments in (
        ("check", "config", "deploy/prometheus/prometheus.yml"),
        ("test", "rules", "tests/operations/alert_cases.yml"),
    ):
        done = subprocess.run((promtool, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

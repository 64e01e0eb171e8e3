"""The metrics that the code registers, and those that a PromQL expression names."""

from __future__ import annotations

import re
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

import serving.metrics
import streams.metrics
from serving.homepage.page_counts import PageCounts

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}

SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""

FROM_ELSEWHERE = {
    "up": SCRAPED,
    "process_start_time_seconds": SCRAPED,
    "process_resident_memory_bytes": SCRAPED,
    "process_cpu_seconds_total": SCRAPED,
}
"""Of Prometheus itself and of its Python client."""

_NOT_METRICS = re.compile(r'"[^"]*"|\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^]]*\]|\$\w+')
_GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")
_SELECTED = re.compile(r"([a-z_][a-z0-9_]*)\{([^}]*)\}")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_WORDS = {
    *("sum", "max", "min", "rate", "increase", "changes", "absent", "time", "vector", "histogram_quantile"),
    *("and", "or", "unless", "offset", "e", "bool"),
}


class Matched(NamedTuple):
    """A label of a metric held against a value."""

    metric: str
    label: str
    value: str


def registered() -> dict[str, set[str]]:
    """Return the labels of every sample that the code can show, by its name."""
    found = {name: set(labels) for name, labels in FROM_ELSEWHERE.items()}
    for name, kind, labels in _families():
        for suffix in SUFFIXES[kind]:
            found[name + suffix] = {*labels, *SCRAPED, *({"le"} if suffix == "_bucket" else ())}
    return found


def documented_names() -> set[str]:
    """Return the names of our metrics as documentation has them: counters with their `_total`."""
    return {name + ("_total" if kind == "counter" else "") for name, kind, _ in _families()}


def _families() -> list[tuple[str, str, tuple[str, ...]]]:
    wrapped = [
        value
        for module in (streams.metrics, serving.metrics)
        for value in vars(module).values()
        if isinstance(value, MetricWrapperBase)
    ]
    collected: list[MetricWrapperBase | Metric] = [*wrapped, *PageCounts().collect()]
    families = []
    for metric in collected:
        described = metric.describe()[0] if isinstance(metric, MetricWrapperBase) else metric
        families.append((described.name, described.type, tuple(metric._labelnames)))
    return families


def named_metrics(expression: str) -> set[str]:
    """Return the names of the metrics in a PromQL expression."""
    bare = _NOT_METRICS.sub(" ", _SELECTED.sub(r" \1 ", expression))
    words = re.findall(r"(?<![0-9.a-z_])[a-z_][a-z0-9_]*", bare)
    return set(words) - _WORDS


def matched(expression: str) -> list[Matched]:
    """Return what the selectors of an expression hold labels against, each of a pattern's alternatives apart."""
    return [
        Matched(metric, label, value)
        for metric, selector in _SELECTED.findall(expression)
        for label, _, values in _MATCHER.findall(selector)
        for value in values.split("|")
    ]


def grouped_labels(expression: str) -> set[str]:
    """Return the labels that an expression groups by."""
    return {label for group in _GROUPED.findall(expression) for label in _NAME.findall(group)}

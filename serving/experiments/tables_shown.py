"""Experiments as tables on a terminal, out of what the API answers. Text that people wrote is never read as markup."""

from __future__ import annotations

import time
from typing import Any

from rich.table import Table
from rich.text import Text


def experiments_table(experiments: list[dict[str, Any]]) -> Table | str:
    """Return a line for each experiment."""
    if not experiments:
        return "no experiments; `marquee experiments create FILE` drafts one"
    table = _table("id", "status", "traffic", "layer", "started (UTC)", "verdict")
    table.add_column("hypothesis")
    for each in experiments:
        table.add_row(
            each["id"],
            each["status"],
            _share(each["traffic"]),
            each["layer"],
            _date(each["started_at_ms"]),
            each["verdict"] or "",
            Text(_short(each["definition"]["hypothesis"])),
        )
    return table


def experiment_table(experiment: dict[str, Any]) -> Table:
    """Return one experiment: what it is about, what is compared, what is measured, and how it stands."""
    definition, plan = experiment["definition"], experiment["definition"]["plan"]
    rows = [
        ("id", f"{experiment['id']}, revision {experiment['revision']}"),
        ("hypothesis", definition["hypothesis"]),
        ("owner", definition["owner"]),
        ("status", _status(experiment)),
        ("members", _members(experiment)),
        *((f"variant {v['key']}", _variant(v, experiment["shipped"])) for v in definition["variants"]),
        *((f"model {alias}", f"{version[:12]}, as at the start") for alias, version in experiment["models"].items()),
        ("primary metric", f"{definition['primary']}, worth finding: {definition['mde']:+.2%}"),
        ("secondary", ", ".join(definition["secondary"])),
        ("guardrails", ", ".join(f"{g['metric']} (harm to {g['max_harm']:.1%})" for g in definition["guardrails"])),
        ("plan", f"{plan['method']}, alpha {plan['alpha']:g}, {plan['min_days']:g} to {plan['max_days']:g} days"),
        ("verdict", experiment["verdict"] or ""),
        *(("", reason) for reason in experiment["reasons"]),
    ]
    table = Table(show_header=False, box=None)
    for name, value in rows:
        if value:
            table.add_row(name, Text(value))
    return table


def audit_table(entries: list[dict[str, Any]]) -> Table:
    """Return an audit trail, oldest first."""
    table = _table("when (UTC)", "who", "role", "what", "revision")
    table.add_column("why")
    for entry in entries:
        table.add_row(
            _date(entry["at_ms"]),
            Text(entry["actor"]),
            entry["role"],
            entry["action"],
            str(entry["revision"]),
            Text(_why(entry)),
        )
    return table


def said(experiment: dict[str, Any]) -> str:
    """Return in a line what an experiment is now."""
    parts = [f"{experiment['id']} is {experiment['status']}, revision {experiment['revision']}"]
    if experiment["status"] == "running":
        parts.append(f"{_share(experiment['traffic'])} of layer {experiment['layer']} take part")
    if experiment["status"] == "decided":
        parts.append(f"verdict {experiment['verdict']}")
    if experiment["shipped"]:
        parts.append(f"{experiment['shipped']} is the default")
    return "; ".join(parts)


def _table(*columns: str) -> Table:
    """Return a table whose columns are never broken; what is added behind them takes what is left of the line."""
    table = Table(box=None)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _status(experiment: dict[str, Any]) -> str:
    times = [
        f"{word} {_date(experiment[field])}"
        for word, field in (("since", "started_at_ms"), ("stopped", "stopped_at_ms"), ("decided", "decided_at_ms"))
        if experiment[field] is not None
    ]
    return ", ".join([experiment["status"], *times])


def _members(experiment: dict[str, Any]) -> str:
    definition = experiment["definition"]
    held = f", {_share(definition['holdout'])} held out" if definition["holdout"] else ""
    return f"{_share(experiment['traffic'])} of layer {experiment['layer']} (of {_share(definition['traffic'])}){held}"


def _variant(variant: dict[str, Any], shipped: str | None) -> str:
    patch = ", ".join(f"{name} {value}" for name, value in variant["patch"].items() if value is not None)
    return f"{_share(variant['weight'])}  {patch or 'as it is'}{'  (shipped)' if variant['key'] == shipped else ''}"


def _why(entry: dict[str, Any]) -> str:
    """Return the words of an entry: the reason that was given, or what was changed."""
    detail = entry["detail"]
    if reason := detail.get("reason") or "; ".join(detail.get("reasons", ())):
        overridden = "".join(f" (overrides: {what})" for what in detail.get("override", ()))
        return f"{detail['variant']}{overridden}: {reason}" if "variant" in detail else str(reason)
    if traffic := detail.get("traffic"):
        return f"traffic {_share(traffic['before'])} to {_share(traffic['after'])}"
    return f"changed {', '.join(detail['changed'])}" if entry["action"] == "edit" else ""


def _share(share: float) -> str:
    return f"{round(share * 100, 4):g} %"


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _date(time_ms: int | None) -> str:
    return "" if time_ms is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_ms / 1_000))

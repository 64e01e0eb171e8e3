"""Results on a terminal, out of what the API answers: what to know first, the verdict, then sentence by sentence."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from serving.experiments.explanation import number, percent

SHOWN_POINTS: Final = 15
BAR: Final = 30
"""Characters of a bar of power 1."""

_COLOURS: Final = {
    "ship": "green",
    "do_not_ship": "red",
    "better": "green",
    "worse": "red",
    "harmed": "red",
    "safe": "green",
}


def results_shown(found: dict[str, Any]) -> Group:
    """Return a report with the decision about it."""
    report, decision = found["report"], found["decision"]
    parts: list[Any] = [Text(sentence, "yellow") for sentence in report["warnings"]]
    parts.append(Text(report["srm"]["sentence"], "bold red" if report["srm"]["found"] else ""))
    verdict = Text("By the rules: ", "bold") + Text(decision["verdict"].replace("_", " "), _colour(decision["verdict"]))
    parts += [verdict + Text(f" ({decision['variant']})" if decision["variant"] else "")]
    parts += [Text(f"  {reason}") for reason in decision["reasons"]]
    parts.append(_effects(report))
    parts += [Text(each["sentence"], _colour(each["harm"])) for each in report["guardrails"]]
    parts += [Text(each["sentence"]) for each in report["futility"]]
    return Group(*parts)


def design_shown(design: dict[str, Any]) -> Group:
    """Return what an effect takes, and the power by days."""
    baseline = design["baseline"]
    known = (
        f"Of the primary metric: {number(baseline['mean'])} a member, standard deviation "
        f"{number(baseline['variance'] ** 0.5)}; {number(baseline['members_a_day'])} new members a day; what they did "
        f"before takes {percent(design['variance_reduction'])} off the variance."
    )
    table = Table(box=None)
    for name in ("days", "members", "power", "smallest effect", ""):
        table.add_column(name, no_wrap=True)
    points = design["curve"]
    for point in points[:: max(1, len(points) // SHOWN_POINTS)]:
        bar = "█" * round(point["power"] * BAR)
        mde = "" if point["mde"] is None else percent(point["mde"])
        table.add_row(f"{point['days']:g}", f"{point['members']:,}", percent(round(point["power"], 3)), mde, bar)
    return Group(Text(design["sentence"], "bold"), Text(known), table)


def _effects(report: dict[str, Any]) -> Table:
    several = len({each["variant"] for metric in report["metrics"] for each in metric["effects"]}) > 1
    table = Table(box=None)
    table.add_column("metric", overflow="fold")
    for name in ("role", "change", "interval", "p", "members"):
        table.add_column(name, no_wrap=True)
    for metric in report["metrics"]:
        for each in metric["effects"]:
            effect = each["effect"]
            p_value = effect["p_value"] if each["p_adjusted"] is None else each["p_adjusted"]
            table.add_row(
                f"{metric['name']}, {each['variant']}" if several else metric["name"],
                metric["role"],
                Text(_share(effect["relative"]), _colour(each["outcome"])),
                _between(effect["relative_low"], effect["relative_high"]),
                "" if p_value is None else f"{p_value:.2g}",
                f"{effect['n_control'] + effect['n_treatment']:,}",
            )
    return table


def _colour(word: str) -> str:
    return _COLOURS.get(word, "")


def _share(value: float | None) -> str:
    return "not yet" if value is None else percent(value, signed=True)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_share(low)} to {_share(high)}"

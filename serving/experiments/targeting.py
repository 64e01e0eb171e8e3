"""Which experiments may have a member, by what is known of the request: rules of all experiments, looked up at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.experiments.definition import Rule


def matches(rules: Sequence[Rule], attributes: Mapping[str, str]) -> bool:
    """Return whether attributes fulfil every rule. One that is not known counts as "".

    >>> matches([Rule("country", "in", ("NL", "BE"))], {"country": "NL"})
    True
    >>> matches([Rule("country", "not_in", ("NL",))], {})
    True
    """
    return all(_holds(rule, attributes.get(rule.attribute, "")) for rule in rules)


class TargetingTable:
    """The rules of several experiments: for each attribute and value that a rule names, which experiments it suits."""

    def __init__(self, rules: Sequence[Sequence[Rule]]) -> None:
        """rules: of each experiment."""
        named: dict[str, set[str]] = {}
        for rule in (rule for each in rules for rule in each):
            named.setdefault(rule.attribute, {""}).update(rule.values)
        self._tables = [
            (attribute, {value: _suited(rules, attribute, value) for value in values}, _suited(rules, attribute, None))
            for attribute, values in named.items()
        ]

    def suited(self, attributes: Mapping[str, str]) -> NDArray[np.bool_] | None:
        """Return for each experiment whether its rules are fulfilled (see `matches`); None if there are no rules."""
        suited: NDArray[np.bool_] | None = None
        for attribute, by_value, other in self._tables:
            these = by_value.get(attributes.get(attribute, ""), other)
            suited = these if suited is None else suited & these
        return suited


def _suited(rules: Sequence[Sequence[Rule]], attribute: str, value: str | None) -> NDArray[np.bool_]:
    """Return which experiments have no rule that a value breaks; None for a value that no rule names."""
    return np.array([all(_holds(rule, value) for rule in each if rule.attribute == attribute) for each in rules])


def _holds(rule: Rule, value: str | None) -> bool:
    return (value in rule.values) == (rule.op == "in")

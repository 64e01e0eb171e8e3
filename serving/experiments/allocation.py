"""Which variants a member gets: decided in the process, by hashes alone, the same everywhere and at any time.

A member's hash under a layer's salt falls into a span of at most one experiment of the layer; their hash under the
experiment's salt picks the variant. Spans only grow while an experiment runs and variants' weights never change, so
nobody ever moves from one variant to another. Hashes have 64 bits and thresholds are exact: no share is rounded to a
bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.experiments.conflicts import conflicts, layer_of, precedence
from serving.experiments.draw import Draw
from serving.experiments.hashing import HASH_RANGE, Hashes
from serving.experiments.patching import pinned
from streams.experiments.definition import Experiment, Patch

NOT_IN: Final = -1
"""Instead of a variant's index: the member takes no part."""


class Assignment(NamedTuple):
    """What a member gets. variants: by experiment, only those that the member takes part in. forced: the experiments
    among them whose variant was set by hand, so that the outcome does not count. patch: the defaults with all variants'
    changes. key: sorted `experiment=variant`, with commas between; equal keys have equal variants."""

    variants: Mapping[str, str]
    forced: frozenset[str]
    patch: Patch
    key: str


class Allocation:
    """The running experiments, ready to assign members; immutable, so that threads may share it.

    experiments: those that take members, by id. problems: why other running ones take none, by id. One that is at odds
    with another (see `conflicts`) gives way to the one that started first: all of it, since a variant without its whole
    patch would be measured as something that it was not.
    """

    def __init__(self, experiments: Sequence[Experiment], defaults: Patch) -> None:
        """experiments: of any status; only running ones are used. defaults: what variants' patches go on top of."""
        running = sorted((each for each in experiments if each.status == "running"), key=lambda e: e.definition.id)
        self.problems: Mapping[str, str] = _problems(running)
        sound = [pinned(each) for each in running if each.definition.id not in self.problems]
        self.experiments: Mapping[str, Experiment] = {each.definition.id: each for each in sound}
        self.defaults = defaults
        self._nothing = Assignment({}, frozenset(), defaults, "")
        options = [(each.definition.id, variant) for each in sound for variant in each.definition.variants]
        self._names = [name for name, _ in options]
        self._keys = [variant.key for _, variant in options]
        self._labels = [f"{name}={variant.key}" for name, variant in options]
        self._changes = [_changes(variant.patch) for _, variant in options]
        """An option is a variant of an experiment; these are by its place among all of them."""
        firsts: dict[str, int] = {}
        for place, name in enumerate(self._names):
            firsts.setdefault(name, place)
        drawn = [each for each in sound if each.spans]
        self._draw = Draw(drawn, [firsts[each.definition.id] for each in drawn])
        self._firsts = firsts
        self._forced = _forced(sound)

    def assign(self, member_id: str, attributes: Mapping[str, str]) -> Assignment:
        """Return what a member gets. attributes: what is known of the request, `country` and `device` on a page."""
        options = self._draw.options(member_id, attributes)
        forced = self._forced.get(member_id)
        if forced is not None:
            options = self._with_forced(options, forced)
        if not options:
            return self._nothing
        names, keys, labels = self._names, self._keys, self._labels
        return Assignment(
            {names[option]: keys[option] for option in options},
            frozenset() if forced is None else frozenset(forced),
            self._patch(options),
            ",".join([labels[option] for option in options]),
        )

    def assign_many(self, members: Hashes, attributes: Mapping[str, str]) -> dict[str, NDArray[np.intp]]:
        """Return, by experiment, the index of each member's variant, or NOT_IN; nobody is forced.

        members: `hash_text` of their ids, uint64, shape (n,). The same computation as `assign`.
        """
        takes_part, options = self._draw.draw(members[:, np.newaxis], attributes)
        options = np.broadcast_to(options, takes_part.shape)
        drawn = {name: column for column, name in enumerate(self._draw.names)}
        indices = {name: np.full(len(members), NOT_IN, np.intp) for name in self.experiments}
        for name, column in drawn.items():
            indices[name] = np.where(takes_part[:, column], options[:, column] - self._firsts[name], NOT_IN)
        return indices

    def _with_forced(self, options: list[int], forced: Mapping[str, str]) -> list[int]:
        """Return a tester's options: those forced, and those drawn in layers where none is forced."""
        layers = {self._layer(name) for name in forced}
        kept = [option for option in options if self._layer(self._names[option]) not in layers]
        return sorted(kept + [self._place(name, variant) for name, variant in forced.items()])

    def _place(self, name: str, variant: str) -> int:
        first = self._firsts[name]
        return self._keys.index(variant, first)

    def _layer(self, name: str) -> str:
        return layer_of(self.experiments[name].definition)

    def _patch(self, options: Sequence[int]) -> Patch:
        """Return what `patching.combine` of the defaults and each option's patch in turn would, at a tenth of its
        cost."""
        set_by: tuple[dict[str, Any], ...] = ({}, {}, {})
        for changes in map(self._changes.__getitem__, options):
            if changes:
                for group, name, value in changes:
                    set_by[group][name] = value
        values, weights, params = set_by
        if not (values or weights or params):
            return self.defaults
        one = self.defaults
        return Patch(
            values.get("model", one.model),
            values.get("rows", one.rows),
            {**(one.row_weights or {}), **weights} or None,
            values.get("page_ttl_s", one.page_ttl_s),
            {**(one.params or {}), **params} or None,
        )


def _changes(patch: Patch) -> list[tuple[int, str, Any]]:
    """Return what a patch sets: of values (0), row weights (1) or params (2), the name and what it becomes."""
    values = {name: getattr(patch, name) for name in ("model", "rows", "page_ttl_s")}
    groups = (values, patch.row_weights or {}, patch.params or {})
    return [(g, name, value) for g, names in enumerate(groups) for name, value in names.items() if value is not None]


def _forced(experiments: Sequence[Experiment]) -> dict[str, dict[str, str]]:
    """Return testers' variants, by member and experiment; of a layer's, that of the experiment that started
    first."""
    forced: dict[str, dict[str, str]] = {}
    taken: set[tuple[str, str]] = set()
    for definition in (each.definition for each in sorted(experiments, key=precedence)):
        for member_id, variant in definition.forced.items():
            if (member_id, layer_of(definition)) not in taken:
                forced.setdefault(member_id, {})[definition.id] = variant
        taken.update((member_id, layer_of(definition)) for member_id in definition.forced)
    return forced


def _problems(running: Sequence[Experiment]) -> dict[str, str]:
    """Return why experiments can take no members, by id."""
    problems = {each.definition.id: why for each in running if (why := _fault(each)) is not None}
    for conflict in conflicts([each for each in running if each.definition.id not in problems]):
        if conflict.field == "forced":  # testers can be edited at any time; `_forced` settles it
            continue
        if conflict.first not in problems:  # who gives way stands in nobody's way
            problems.setdefault(conflict.then, f"{conflict.field}: {conflict.why}")
    return problems


def _fault(experiment: Experiment) -> str | None:
    """Return what is wrong with an experiment that was not written through Marquee's own checks."""
    definition = experiment.definition
    weights = [variant.weight for variant in definition.variants]
    keys = {variant.key for variant in definition.variants}
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights) > 0:
        return "variants: weights must be numbers from 0, not all of them 0"
    if len(keys) < len(weights) or not keys.issuperset(definition.forced.values()):
        return "variants: keys must differ, and testers be forced into one of them"
    if not all(0 <= span.begin < span.end <= HASH_RANGE for span in experiment.spans):
        return f"spans: must begin before they end, within 0 and {HASH_RANGE}"
    return None if 0 <= definition.holdout <= 1 else "holdout: must be from 0 to 1"

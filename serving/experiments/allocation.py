"""Which variants a member gets: decided in the process, by hashes alone, the same everywhere and at any time.

A member's hash under a layer's salt falls into a span of at most one experiment of the layer; their hash under the
experiment's salt picks the variant. Spans only grow while an experiment runs and variants' weights never change, so
nobody ever moves from one variant to another. Hashes have 64 bits and thresholds are exact: no share is rounded to a
bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.experiments.conflicts import conflicts, layer_of
from serving.experiments.hashing import HASH_RANGE, Hashes, hash_text, mix
from serving.experiments.targeting import TargetingTable
from streams.experiments.definition import Experiment, Patch

NOT_IN: Final = -1
"""Instead of a variant's index: the member takes no part."""

_LAST: Final = HASH_RANGE - 1


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
        sound = [each for each in running if each.definition.id not in self.problems]
        self.experiments: Mapping[str, Experiment] = {each.definition.id: each for each in sound}
        self.defaults = defaults
        self._nothing = Assignment({}, frozenset(), defaults, "")
        self._options = [_Option.of(each, index) for each in sound for index in range(len(each.definition.variants))]
        self._forced = _forced(sound)
        self._drawn = _Drawn([each for each in sound if each.spans], self._options)

    def assign(self, member_id: str, attributes: Mapping[str, str]) -> Assignment:
        """Return what a member gets. attributes: what is known of the request, `country` and `device` on a page."""
        options = self._drawn.options(member_id, attributes) if self._drawn.experiments else []
        forced = self._forced.get(member_id)
        if forced is not None:
            options = self._with_forced(options, forced)
        if not options:
            return self._nothing
        picked = [self._options[index] for index in options]
        return Assignment(
            {option.experiment: option.variant for option in picked},
            frozenset(forced) if forced is not None else frozenset(),
            _patched(self.defaults, picked),
            ",".join([option.label for option in picked]),
        )

    def assign_many(self, members: Hashes, attributes: Mapping[str, str]) -> dict[str, NDArray[np.intp]]:
        """Return, by experiment, the index of each member's variant, or NOT_IN, with nobody forced.

        members: `hash_text` of their ids, uint64, shape (n,). The same computation as `assign`.
        """
        arms = self._drawn.arms(members[:, np.newaxis], attributes) if self._drawn.experiments else None
        absent = np.full(len(members), NOT_IN, np.intp)
        drawn = {each.definition.id: place for place, each in enumerate(self._drawn.experiments)}
        return {
            name: absent if arms is None or name not in drawn else arms[:, drawn[name]] for name in self.experiments
        }

    def _with_forced(self, options: list[int], forced: Mapping[str, str]) -> list[int]:
        """Return a tester's options: those forced, and those drawn in layers where none is forced."""
        layers = {layer_of(self.experiments[name].definition) for name in forced}
        kept = [i for i in options if layer_of(self.experiments[self._options[i].experiment].definition) not in layers]
        set_by_hand = [i for i, option in enumerate(self._options) if forced.get(option.experiment) == option.variant]
        return sorted(kept + set_by_hand)


class _Option(NamedTuple):
    """A variant of an experiment. changes: what its patch sets: a field and, of the dictionaries, the key."""

    experiment: str
    variant: str
    label: str
    changes: tuple[tuple[str, str | None, Any], ...]

    @classmethod
    def of(cls, experiment: Experiment, index: int) -> _Option:
        name, variant = experiment.definition.id, experiment.definition.variants[index]
        patch = variant.patch
        whole = [(field, None, getattr(patch, field)) for field in ("model", "rows", "page_ttl_s")]
        parts = [(f, key, value) for f in ("row_weights", "params") for key, value in (getattr(patch, f) or {}).items()]
        changes = tuple(change for change in whole + parts if change[2] is not None)
        return cls(name, variant.key, f"{name}={variant.key}", changes)


class _Drawn:
    """The experiments that have spans, as arrays: rows of `mix` are layers, experiments, and the holdout, in order."""

    def __init__(self, experiments: Sequence[Experiment], options: Sequence[_Option]) -> None:
        self.experiments = experiments
        definitions = [each.definition for each in experiments]
        layers = {name: place for place, name in enumerate(sorted({layer_of(each) for each in definitions}))}
        names = [f"layer:{name}" for name in layers]
        names += [f"variants:{each.definition.id}:{each.salt}" for each in experiments] + ["holdout"]
        self._salts = np.array([hash_text(name) for name in names], np.uint64)
        self._variant_rows = slice(len(layers), len(layers) + len(definitions))
        spans = [(layers[layer_of(e.definition)], span.begin, span.end) for e in experiments for span in e.spans]
        self._span_layers = np.array([layer for layer, _, _ in spans], np.intp)
        self._begins = np.array([begin for _, begin, _ in spans], np.uint64)
        self._lengths_less_one = np.array([end - begin - 1 for _, begin, end in spans], np.uint64)
        ends = np.cumsum([0] + [len(each.spans) for each in experiments])
        self._first_spans = ends[:-1].astype(np.intp)
        tables = [_thresholds([variant.weight for variant in each.variants]) for each in definitions]
        width = max((len(tops) for tops, _ in tables), default=0)
        self._tops = np.full((len(tables), width), _LAST, np.uint64)
        self._indices = np.zeros((len(tables), width + 1), np.intp)
        for place, (tops, indices) in enumerate(tables):
            self._tops[place, : len(tops)] = tops
            self._indices[place, : len(indices)] = indices
        self._places = np.arange(len(tables))
        self._held = np.array([min(_LAST, int(Fraction(e.holdout) * HASH_RANGE)) for e in definitions], np.uint64)
        self._targeting = TargetingTable([each.targeting for each in definitions])
        firsts: dict[str, int] = {}
        for index, option in enumerate(options):
            firsts.setdefault(option.experiment, index)
        self._first_options = np.array([firsts[each.id] for each in definitions], np.intp)

    def options(self, member_id: str, attributes: Mapping[str, str]) -> list[int]:
        """Return the options that a member gets, ascending."""
        arms = self.arms(np.uint64(hash_text(member_id)), attributes)
        chosen: list[int] = (arms + self._first_options)[arms != NOT_IN].tolist()
        return chosen

    def arms(self, members: Hashes | np.uint64, attributes: Mapping[str, str]) -> NDArray[np.intp]:
        """Return the variant's index for each member and experiment, or NOT_IN. members: a hash, or shape (n, 1)."""
        hashes = mix(members, self._salts)
        within = hashes[..., self._span_layers] - self._begins <= self._lengths_less_one
        takes_part = np.logical_or.reduceat(within, self._first_spans, axis=-1)
        takes_part &= hashes[..., -1:] >= self._held
        suited = self._targeting.suited(attributes)
        if suited is not None:
            takes_part &= suited
        passed = (hashes[..., self._variant_rows, np.newaxis] > self._tops).sum(axis=-1)
        arms: NDArray[np.intp] = np.where(takes_part, self._indices[self._places, passed], NOT_IN)
        return arms


def _thresholds(weights: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return the highest hash of each variant but the last, and the variants' indices, those of weight zero left out.

    Exact: weights are taken as the fractions that the floats are, and of their own sum.
    """
    total = sum(map(Fraction, weights))
    tops: list[int] = []
    indices: list[int] = []
    reached = Fraction(0)
    for index, weight in enumerate(weights):
        reached += Fraction(weight)
        top = int(reached / total * HASH_RANGE) - 1
        if top > (tops[-1] if tops else -1):
            tops.append(top)
            indices.append(index)
    return tops[:-1], indices


def _patched(defaults: Patch, picked: Sequence[_Option]) -> Patch:
    """Return what `patching.combine` of the defaults and each option's patch in turn would, at a tenth of its cost."""
    changes = [change for option in picked for change in option.changes]
    if not changes:
        return defaults
    values: dict[str, Any] = {"model": defaults.model, "rows": defaults.rows, "page_ttl_s": defaults.page_ttl_s}
    weights, params = dict(defaults.row_weights or {}), dict(defaults.params or {})
    for field, key, value in changes:
        if key is None:
            values[field] = value
        else:
            (params if field == "params" else weights)[key] = value
    return Patch(**values, row_weights=weights or None, params=params or None)


def _forced(experiments: Sequence[Experiment]) -> dict[str, dict[str, str]]:
    """Return testers' variants, by member and experiment."""
    forced: dict[str, dict[str, str]] = {}
    for experiment in experiments:
        for member_id, variant in experiment.definition.forced.items():
            forced.setdefault(member_id, {})[experiment.definition.id] = variant
    return forced


def _problems(running: Sequence[Experiment]) -> dict[str, str]:
    """Return why experiments can take no members, by id."""
    problems = {each.definition.id: why for each in running if (why := _fault(each)) is not None}
    for conflict in conflicts([each for each in running if each.definition.id not in problems]):
        if conflict.first not in problems:  # who gives way stands in nobody's way
            problems.setdefault(conflict.then, f"{conflict.field}: {conflict.why}")
    return problems


def _fault(experiment: Experiment) -> str | None:
    """Return what is wrong with an experiment that was not written by Marquee's own checks."""
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

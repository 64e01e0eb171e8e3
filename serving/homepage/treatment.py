"""The treatment: what running experiments, and the defaults that shipped ones have left, make of a member's page."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from serving import metrics
from serving.experiments.allocation import Allocation, Assignment
from serving.experiments.patching import apply_patch
from serving.pages.params import DEFAULT_PARAMS, PageParams, changes_of
from streams.experiments.definition import Definition, Patch

MAX_KNOWN: Final = 4_096
"""Treatments kept in memory; a dozen experiments at most make so many."""


class Exposed(NamedTuple):
    """A variant that a page shows. forced: it was given to a tester."""

    experiment: str
    variant: str
    forced: bool


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """A page's treatment. key: names it; pages of one member are alike only under the same one.

    variants: by experiment. exposed: those of them that a page shows. model: a name in `ModelHolder.versions`, None for
    the champion. ttl_s: how long a page is cached, None for the default. changes, version: of params, as impressions
    have them.
    """

    key: str
    variants: Mapping[str, str]
    exposed: tuple[Exposed, ...]
    model: str | None
    ttl_s: float | None
    params: PageParams
    changes: str
    version: str


class Live(Protocol):
    """Where the running experiments are found. current: swapped whole whenever they, or the defaults, change. view:
    swapped then and at times between; a plain attribute, which each cache hit looks at."""

    @property
    def current(self) -> Allocation: ...
    @property
    def view(self) -> object: ...


class NoExperiments:
    """Of a process that follows none."""

    def __init__(self) -> None:
        self.view = self.current = Allocation([], Patch())


class Treatments:
    """Gives members their treatments. One event loop's; equal ones are one object, while there are few of them."""

    def __init__(self, live: Live, params: PageParams = DEFAULT_PARAMS) -> None:
        """params: what patches are applied to."""
        self.live = live
        self._params = params
        self._allocation: Allocation | None = None
        self._on_pages: frozenset[str] = frozenset()
        self._known: dict[tuple[str, frozenset[str]], Treatment] = {}

    def of(self, member_id: str, country: str, device: str) -> Treatment:
        """Return what the experiments that run now, and the defaults, make of a member's page."""
        allocation = self.live.current
        if allocation is not self._allocation:
            running = allocation.experiments.items()
            self._on_pages = frozenset(name for name, experiment in running if is_on_pages(experiment.definition))
            self._allocation, self._known = allocation, {}
        assignment = allocation.assign(member_id, {"country": country, "device": device})
        if assignment.variants:
            metrics.ALLOCATIONS.inc()
        key = (assignment.key, assignment.forced)
        treatment = self._known.get(key)
        if treatment is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            treatment = treatment_of(assignment, allocation.defaults, self._on_pages, self._params)
            self._known[key] = treatment
        return treatment


def treatment_of(
    assignment: Assignment,
    defaults: Patch = Patch(),  # noqa: B008 - immutable
    on_pages: Container[str] = (),
    params: PageParams = DEFAULT_PARAMS,
) -> Treatment:
    """Return the treatment that an assignment is.

    defaults: those that its patch has taken in. on_pages: the experiments that pages show. params: what patches are
    applied to."""
    patched = apply_patch(params, assignment.patch)
    return Treatment(
        key=f"{assignment.key}{_forced_key(assignment.forced)}{defaults_key(defaults)}",
        variants=assignment.variants,
        exposed=tuple(
            Exposed(experiment, variant, experiment in assignment.forced)
            for experiment, variant in assignment.variants.items()
            if experiment in on_pages
        ),
        model=assignment.patch.model,
        ttl_s=assignment.patch.page_ttl_s,
        params=patched,
        changes=changes_of(patched, params),
        version=patched.version,
    )


def defaults_key(defaults: Patch) -> str:
    """Return what tells pages under other defaults apart, "" for those that nothing was ever shipped to.

    >>> defaults_key(Patch()), defaults_key(Patch(model="candidate"))
    ('', '|defaults=eaa40700')
    """
    if defaults == Patch():
        return ""
    return f"|defaults={hashlib.sha256(msgspec.json.encode(defaults, order='deterministic')).hexdigest()[:8]}"


def _forced_key(forced: frozenset[str]) -> str:
    """Return what tells testers' pages from members': a cached page says whether its exposures count."""
    return f"|forced={','.join(sorted(forced))}" if forced else ""


def models_wanted(allocation: Allocation) -> set[str]:
    """Return the models, by alias or version, that running experiments and the defaults name."""
    patches = [variant.patch for each in allocation.experiments.values() for variant in each.definition.variants]
    return {patch.model for patch in (*patches, allocation.defaults) if patch.model is not None}


def is_on_pages(definition: Definition) -> bool:
    """Return whether a page shows the variants of an experiment: if any changes pages, or if none does anything at all
    (an A/A test). One whose variants only have values for apps is shown by the apps."""
    changes_pages = any(variant.patch != Patch() for variant in definition.variants)
    return changes_pages or all(variant.value is None for variant in definition.variants)


NO_TREATMENT: Final = treatment_of(Assignment({}, frozenset(), Patch(), ""))
"""Of members in no experiment, before anything was shipped."""

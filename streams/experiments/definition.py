"""What an experiment is: written down before it starts, and changed afterwards only in what may change."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from streams.experiments.metric import Metric

Status = Literal["draft", "running", "stopped", "decided", "promoted", "archived"]
Verdict = Literal["ship", "do_not_ship", "continue", "inconclusive"]


class Patch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a variant changes in how pages are made; what is None stays as it is by default.

    model: an alias of the registry, or a version. rows: the kinds of rows that a page may have. row_weights: factors of
    the rows' predicted values, by kind. page_ttl_s: how long a page is cached. params: fields of PageParams by name.
    """

    model: str | None = None
    rows: tuple[str, ...] | None = None
    row_weights: dict[str, float] | None = None
    page_ttl_s: float | None = None
    params: dict[str, float] | None = None


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One arm. weight: its share of the experiment's members; they sum to 1. value: what apps get (OFREP), None for the
    key."""

    key: str
    weight: float
    patch: Patch = Patch()
    value: Any = None
    description: str = ""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition on what is known of the request. attribute: `country`, `device`, or any that an app sends along."""

    attribute: str
    op: Literal["in", "not_in"]
    values: tuple[str, ...]


class RampStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From so long after the start on, this share of members takes part."""

    after_s: int
    traffic: float


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A metric that must not get worse. max_harm: the relative change for the worse that is still accepted (0.02: 2 %).

    stops: whether the experiment is stopped once harm beyond that is sure.
    """

    metric: str
    max_harm: float = 0.0
    stops: bool = True


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the result is read, fixed beforehand.

    method: `sequential` (asymptotic confidence sequences, valid at any look), `group_sequential` (`looks` planned looks
    with alpha spending) or `fixed` (one look, at the end). planned_members: over all variants; the latter two need it.
    min_days, max_days: no decision before, and none later (then `inconclusive`). correction: over secondary metrics.
    pre_period_s: how far back before a member's first exposure the covariate of CUPED looks. degraded: what becomes of
    members first exposed on a page below the top of the ladder. segments: attributes by which effects are shown too.
    futility: conditional chance to find the declared effect below which an experiment may be given up; None never.
    """

    method: Literal["sequential", "group_sequential", "fixed"] = "sequential"
    alpha: float = 0.05
    power: float = 0.8
    planned_members: int | None = None
    looks: int = 5
    spending: Literal["obrien_fleming", "pocock"] = "obrien_fleming"
    min_days: float = 7.0
    max_days: float = 28.0
    min_members: int = 1_000
    correction: Literal["holm", "benjamini_hochberg", "none"] = "holm"
    cuped: bool = True
    pre_period_s: int = 14 * 86_400
    degraded: Literal["include", "exclude", "stratify"] = "include"
    segments: tuple[str, ...] = ("device", "country")
    srm_alpha: float = 0.001
    futility: float | None = None


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An experiment as its owner writes it. The first variant is the control.

    id: lower-case letters, digits and `-`; also the key by which apps ask for the variant. layer: experiments of one
    layer share no members; "" for a layer of its own. traffic: share of the layer's members who take part; ramp: steps
    up to it. holdout: share of all members, the same for every experiment, who take part in none that names one so
    large. forced: variants of testers, by member id; their outcomes are not counted. mde: the smallest relative effect
    on the primary metric that is worth finding.
    """

    id: str
    hypothesis: str
    owner: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    primary: str
    mde: float
    secondary: tuple[str, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    targeting: tuple[Rule, ...] = ()
    layer: str = ""
    traffic: float = 1.0
    ramp: tuple[RampStep, ...] = ()
    holdout: float = 0.0
    forced: dict[str, str] = {}
    plan: Plan = Plan()


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Members of a layer by their hash: `begin` to `end`, of 2**64, without the end."""

    begin: int
    end: int


class Experiment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A definition and what has become of it. revision: raised by each change. salt: of the variants' hash, drawn at
    the first start and never changed. models: the versions that the variants' aliases named at the start, which they
    mean as long as it runs. spans: the members of the layer who take part by now; growing only adds to them.
    Times are Unix ms, None before. verdict and reasons: of the decision; best: the treatment that the rules would ship
    then, None for none. shipped: the variant that was promoted."""

    definition: Definition
    status: Status = "draft"
    revision: int = 1
    salt: str = ""
    models: dict[str, str] = {}
    spans: tuple[Span, ...] = ()
    traffic: float = 0.0
    created_at_ms: int = 0
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    decided_at_ms: int | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    best: str | None = None
    shipped: str | None = None

"""The life of an experiment: which action leads from what to what. Pure: no clock, no database, no chance of its own.

    draft -> running -> stopped -> decided -> promoted
      \\                    \\          \\______> archived; a shipped experiment that is undone is decided again

What was fixed before the start stays: only words and testers may be edited later, and traffic only grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from serving.experiments.conflicts import conflicts, layer_of
from serving.experiments.refusals import Conflict
from serving.experiments.roles import Role
from serving.experiments.spans import LAYER, grown, size_of
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Experiment, Status, Verdict

MAX_RUNNING: Final = 200
"""Experiments that run at once: each costs every request some time, and every member some state."""

MAX_REASON: Final = 2_000
MAX_REASONS: Final = 20
"""Kept with a decision: a rule gives a sentence or two for each variant and guardrail."""


Override = Literal["variant", "champion"]
"""What may stand against shipping: the rules found another variant best; another model was promoted since the start."""


class Action(msgspec.Struct, frozen=True, tag=str.lower, omit_defaults=True):
    """What may be done with an experiment; its tag is its name in the audit trail."""


class Edit(Action, frozen=True):
    """Replace the definition: all of it (but the id) in a draft; later words and testers alone."""

    definition: Definition


class Start(Action, frozen=True):
    """Let members take part: those of the ramp's first step, or all."""


class Ramp(Action, frozen=True):
    """Let this share of the layer's members take part, more than before."""

    traffic: float


class Stop(Action, frozen=True):
    """Let nobody take part any more, for ever."""

    reason: str


class Decide(Action, frozen=True):
    """Say what the results mean. reasons: of the rules; overridden: why, where it is not what they say, else "". best:
    the treatment that they would ship, None for none."""

    verdict: Verdict
    reasons: tuple[str, ...]
    overridden: str = ""
    best: str | None = None


class Ship(Action, frozen=True):
    """Make a variant's patch the default. override: what stands against it and is overridden, for the same reason."""

    variant: str
    reason: str
    override: tuple[Override, ...] = ()


class Undo(Action, frozen=True):
    """Make the default again what it was before this was shipped."""

    reason: str


class Archive(Action, frozen=True):
    """Put it away."""

    reason: str


NEEDS: Final[dict[type[Action], Role]] = {
    Edit: "editor",
    Start: "editor",
    Ramp: "editor",
    Stop: "editor",
    Decide: "approver",
    Ship: "approver",
    Undo: "approver",
    Archive: "editor",
}
"""The role that each action needs."""

ALLOWED: Final[dict[type[Action], tuple[Status, ...]]] = {
    Edit: ("draft", "running", "stopped", "decided"),
    Start: ("draft",),
    Ramp: ("running",),
    Stop: ("running",),
    Decide: ("stopped",),
    Ship: ("decided",),
    Undo: ("promoted",),
    Archive: ("draft", "stopped", "decided"),
}
"""In which status each action may be taken."""


def transition(
    experiment: Experiment, action: Action, now_ms: int, rng: random.Random, running: Sequence[Experiment] = ()
) -> Experiment:
    """Return the experiment after an action, one revision on.

    running: all other experiments that run. Raises Conflict where the status or the layer does not allow the action,
    FixRequest for an action that is wrong in itself. A definition is checked by its caller (`check_definition`).
    """
    check_allowed(experiment, type(action))
    changed = _STEPS[type(action)](experiment, action, now_ms, rng, running)
    return msgspec.structs.replace(changed, revision=experiment.revision + 1)


def check_allowed(experiment: Experiment, action: type[Action]) -> None:
    """Raise Conflict unless the experiment's status allows a kind of action."""
    allowed = ALLOWED[action]
    if experiment.status in allowed:
        return
    fix = f"it is {experiment.status}; {action.__name__.lower()} is for what is {' or '.join(allowed)}"
    if action is Start and experiment.status != "running":
        fix += ": what was stopped stays so; draft a new experiment"
    raise Conflict("status", fix)


def planned_traffic(experiment: Experiment, now_ms: int) -> float:
    """Return the share of the layer's members who are to take part by now, as the ramp has it."""
    definition, since_s = experiment.definition, (now_ms - (experiment.started_at_ms or now_ms)) / 1_000
    reached = [step.traffic for step in definition.ramp if step.after_s <= since_s]
    planned = reached[-1] if reached else definition.traffic
    return max(planned, experiment.traffic)


def fixed_part(definition: Definition) -> Definition:
    """Return a definition without what may be edited after the start: words and testers."""
    return msgspec.structs.replace(
        definition,
        hypothesis="",
        forced={},
        variants=tuple(msgspec.structs.replace(variant, description="") for variant in definition.variants),
        metrics=tuple(msgspec.structs.replace(metric, description="") for metric in definition.metrics),
    )


def _edit(
    experiment: Experiment, action: Edit, _now_ms: int, _rng: random.Random, running: Sequence[Experiment]
) -> Experiment:
    before, after = experiment.definition, action.definition
    if after.id != before.id:
        raise FixRequest("id", f"it is {before.id} and stays so; draft another experiment for another id")
    if experiment.status != "draft":
        old, new = fixed_part(before), fixed_part(after)
        changed = [field for field in Definition.__struct_fields__ if getattr(old, field) != getattr(new, field)]
        if changed:
            raise Conflict(
                changed[0],
                "it was fixed when the experiment started; hypothesis, descriptions and forced may still be edited",
            )
    edited = msgspec.structs.replace(experiment, definition=after)
    if experiment.status == "running":
        _check_beside(edited, running)
    return edited


def _start(
    experiment: Experiment, _: Start, now_ms: int, rng: random.Random, running: Sequence[Experiment]
) -> Experiment:
    if len(running) >= MAX_RUNNING:
        raise Conflict("status", f"{MAX_RUNNING} experiments run already; stop one first")
    definition = experiment.definition
    started = msgspec.structs.replace(
        experiment, status="running", salt=f"{rng.getrandbits(64):016x}", started_at_ms=now_ms
    )
    first = definition.ramp[0].traffic if definition.ramp else definition.traffic
    with_members = _with_traffic(started, first, running)
    _check_beside(with_members, running)
    return with_members


def _ramp(
    experiment: Experiment, action: Ramp, _now_ms: int, _rng: random.Random, running: Sequence[Experiment]
) -> Experiment:
    if not experiment.traffic < action.traffic <= 1:
        raise FixRequest(
            "traffic", f"give more than the {experiment.traffic:g} it has, 1 at most: members stay where they are"
        )
    return _with_traffic(experiment, action.traffic, running)


def _with_traffic(experiment: Experiment, traffic: float, running: Sequence[Experiment]) -> Experiment:
    """Return the experiment with more members. What the layer's others have yet to ramp up to is theirs already."""
    layer = layer_of(experiment.definition)
    others = [other for other in running if layer_of(other.definition) == layer]
    wanted, promised = max(traffic, experiment.definition.traffic), sum(_promised(other) for other in others)
    if wanted + promised > 1 + 1e-12:
        raise Conflict(
            "traffic",
            f"layer {layer} has {max(0.0, 1 - promised):.4%} of its members left beside "
            f"{', '.join(other.definition.id for other in others)[:200]}; take no more, wait, or choose another layer",
        )
    spans = grown(experiment.spans, [span for other in others for span in other.spans], traffic)
    return msgspec.structs.replace(experiment, spans=spans, traffic=traffic)


def _check_beside(experiment: Experiment, running: Sequence[Experiment]) -> None:
    """Raise Conflict for what cannot run beside the others: serving would leave it out."""
    for other in running:
        for conflict in conflicts([other, experiment]):
            raise Conflict(conflict.field, conflict.why)


def _promised(experiment: Experiment) -> float:
    return max(experiment.definition.traffic, experiment.traffic, size_of(experiment.spans) / LAYER)


def _stop(experiment: Experiment, action: Stop, now_ms: int, *_: Any) -> Experiment:
    _check_reason("reason", action.reason, "say why it is stopped")
    return msgspec.structs.replace(experiment, status="stopped", stopped_at_ms=now_ms)


def _decide(experiment: Experiment, action: Decide, now_ms: int, *_: Any) -> Experiment:
    if action.verdict == "continue":
        raise FixRequest("verdict", "it has stopped; decide ship, do_not_ship or inconclusive")
    if action.overridden:
        _check_reason("reason", action.overridden, "say why the rules are overridden")
    elif not action.reasons:
        raise FixRequest("reason", "say why; it is kept with the decision")
    for reason in action.reasons:
        _check_reason("reason", reason, "say why")
    reasons = (*((f"overridden: {action.overridden}",) if action.overridden else ()), *action.reasons)[:MAX_REASONS]
    return msgspec.structs.replace(
        experiment,
        status="decided",
        decided_at_ms=now_ms,
        verdict=action.verdict,
        reasons=reasons,
        best=action.best,
    )


def _ship(experiment: Experiment, action: Ship, *_: Any) -> Experiment:
    _check_reason("reason", action.reason, "say why it is shipped")
    if experiment.verdict != "ship":
        raise Conflict("verdict", f"it was decided {experiment.verdict}; only what was decided ship can be shipped")
    control, *others = (variant.key for variant in experiment.definition.variants)
    if action.variant == control:
        raise FixRequest("variant", f"{control} is the control, as pages are already; name one of {', '.join(others)}")
    if action.variant not in others:
        raise FixRequest("variant", f"there is no {action.variant[:64]!r}; name one of {', '.join(others)}")
    if experiment.best not in (None, action.variant) and "variant" not in action.override:
        raise to_override("variant", f"the rules found {experiment.best} best, not {action.variant}")
    return msgspec.structs.replace(experiment, status="promoted", shipped=action.variant)


def to_override(what: Override, why: str) -> Conflict:
    """Return the refusal of what is done only by who says that they know."""
    return Conflict(
        f"override.{what}", f"{why}. To ship it all the same, name `{what}` in `override`, and the reason in `reason`"
    )


def _undo(experiment: Experiment, action: Undo, *_: Any) -> Experiment:
    _check_reason("reason", action.reason, "say why it is undone")
    return msgspec.structs.replace(experiment, status="decided", shipped=None)


def _archive(experiment: Experiment, action: Archive, *_: Any) -> Experiment:
    _check_reason("reason", action.reason, "say why it is put away")
    return msgspec.structs.replace(experiment, status="archived")


def _check_reason(field: str, reason: str, fix: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON:
        raise FixRequest(field, f"{fix}, in 1 to {MAX_REASON:,} characters; it is kept in the audit trail")


_STEPS: Final[dict[type[Action], Callable[..., Experiment]]] = {
    Edit: _edit,
    Start: _start,
    Ramp: _ramp,
    Stop: _stop,
    Decide: _decide,
    Ship: _ship,
    Undo: _undo,
    Archive: _archive,
}

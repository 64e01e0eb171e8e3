"""Experiments as feature flags: the OpenFeature Remote Evaluation Protocol, version 0.3.0 (open-feature/protocol).

A flag is an experiment that has started and is not archived; its key is the experiment's id, its value the variant's
value, or else the variant's key. Whoever takes no part gets no value, which is how the protocol (its ADR 6) says that
the default in the app's code stands; the reason is DEFAULT then, or DISABLED if the experiment takes nobody. There is
always a `variant`, "" for none: the Python provider cannot do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from serving.experiments.live import LiveView
from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.experiments.definition import Experiment, Status

MAX_BODY_BYTES: Final = 64 << 10
MAX_ATTRIBUTES: Final = 200
MAX_FLAGS: Final = 1_000
"""In one answer: experiments that run, then those that were promoted, then the others."""

_ORDER: Final[tuple[Status, ...]] = ("running", "promoted", "decided", "stopped")
"""The statuses of experiments that are flags. A draft is none: its name is nobody's business yet."""


class BadContext(FixRequest):
    """A flag cannot be evaluated for a context. code: OpenFeature's error code."""

    def __init__(self, code: str, field: str, fix: str) -> None:
        super().__init__(field, fix)
        self.code = code


class Context(NamedTuple):
    """Whom to evaluate flags for. attributes: what targeting may ask for, as text."""

    member_id: str
    attributes: Mapping[str, str]


class Evaluation(msgspec.Struct, frozen=True, omit_defaults=True):
    """An evaluated flag. value: left out where the app's own default stands. metadata: the experiment, its revision,
    and the variant if there is one."""

    key: str
    reason: str
    variant: str
    metadata: dict[str, Any]
    value: Any = msgspec.UNSET


def parse_context(body: bytes) -> Context:
    """Return the context in a request's body. Raises BadContext.

    Of attributes, text, whole numbers and truth values are taken, as text; others cannot be targeted. `country` and
    `device` are read as the homepage reads them.
    """
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadContext("PARSE_ERROR", "body", f"send a JSON object with a context: {error}") from None
    if not isinstance(request, dict):
        raise BadContext("PARSE_ERROR", "body", "send a JSON object with a context")
    context = request.get("context")
    if context is None:
        context = {}
    if not isinstance(context, dict) or len(context) > MAX_ATTRIBUTES:
        raise BadContext("INVALID_CONTEXT", "context", f"give an object of at most {MAX_ATTRIBUTES} attributes")
    member_id = context.get("targetingKey")
    if member_id in (None, ""):
        raise BadContext("TARGETING_KEY_MISSING", "targetingKey", "give the member's id")
    if not isinstance(member_id, str) or not is_valid_id(member_id):
        raise BadContext(
            "INVALID_CONTEXT", "targetingKey", f"give one id of 1 to {MAX_ID_BYTES} bytes without control characters"
        )
    texts = {name: text for name, value in context.items() if (text := _text(value)) is not None}
    return Context(member_id, normalised(texts))


def normalised(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes as rules have them: countries in capitals, devices in small letters."""
    read = {"country": str.upper, "device": str.lower}
    return {name: read.get(name, str)(text) for name, text in attributes.items()}


def flags(view: LiveView) -> list[Experiment]:
    """Return the experiments that are flags, running ones first, MAX_FLAGS at most."""
    found = [each for each in view.experiments.values() if each.status in _ORDER]
    return sorted(found, key=lambda each: (_ORDER.index(each.status), each.definition.id))[:MAX_FLAGS]


def flag(view: LiveView, key: str) -> Experiment | None:
    """Return the experiment that is a flag by this key, None if there is no such flag."""
    experiment = view.experiments.get(key)
    return experiment if experiment is not None and experiment.status in _ORDER else None


def evaluate(view: LiveView, experiments: Sequence[Experiment], context: Context) -> list[Evaluation]:
    """Return flags as they are for a context. experiments: some of `flags`."""
    assigned = view.allocation.assign(context.member_id, context.attributes)
    return [
        _evaluation(each, assigned.variants.get(each.definition.id), each.definition.id in assigned.forced, view)
        for each in experiments
    ]


def _evaluation(experiment: Experiment, variant: str | None, forced: bool, view: LiveView) -> Evaluation:
    if experiment.status == "promoted" and experiment.shipped is not None:
        return _given(experiment, experiment.shipped, "STATIC")
    if variant is not None:
        return _given(experiment, variant, "TARGETING_MATCH" if forced else "SPLIT")
    key = experiment.definition.id
    reason = "DEFAULT" if key in view.allocation.experiments else "DISABLED"
    return Evaluation(key, reason, "", _metadata(experiment))


def _given(experiment: Experiment, key: str, reason: str) -> Evaluation:
    value = next((each.value for each in experiment.definition.variants if each.key == key), None)
    metadata = {**_metadata(experiment), "variant": key}
    return Evaluation(experiment.definition.id, reason, key, metadata, key if value is None else value)


def _metadata(experiment: Experiment) -> dict[str, Any]:
    return {"experiment": experiment.definition.id, "revision": experiment.revision}


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None

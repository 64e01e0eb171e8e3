"""Experiments as the API shows them: every field there, so that no reader has to know the defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.experiments.conflicts import layer_of
from streams.experiments.definition import Experiment


def presented(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment as JSON objects. layer: by its name; spans are left out: they say nothing to a person."""
    shown: dict[str, Any] = in_full(experiment)
    del shown["spans"]
    return {"id": experiment.definition.id, "layer": layer_of(experiment.definition), **shown}


def in_full(value: Any) -> Any:
    """Return a struct, and those in it, as dicts that leave out no default.

    >>> from streams.experiments.definition import RampStep
    >>> in_full((RampStep(0, 0.5),))
    [{'after_s': 0, 'traffic': 0.5}]
    """
    if isinstance(value, msgspec.Struct):
        return {field: in_full(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [in_full(entry) for entry in value]
    if isinstance(value, dict):
        return {key: in_full(entry) for key, entry in value.items()}
    return value

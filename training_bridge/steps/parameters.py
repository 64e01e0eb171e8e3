"""The parameters of a training run, checked before anything is read or trained."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

import msgspec

from streams.errors import FixRequest
from training_bridge.ranker.config import RankerConfig

MAX_PREDICTIONS: Final = 100_000
"""A prediction takes some milliseconds: a few minutes at most."""


def check_run_parameters(config: str, predictions: int, tolerance: float) -> None:
    """Raise FixRequest for a parameter out of its bounds."""
    parse_config(config)
    if not 1 <= predictions <= MAX_PREDICTIONS:
        raise FixRequest("predictions", f"must be between 1 and {MAX_PREDICTIONS:,}")
    if not 0.0 <= tolerance <= 1.0:
        raise FixRequest("tolerance", "must be between 0 and 1")


def parse_config(text: str) -> RankerConfig:
    """Return the ranker's parameters, given those that differ from the defaults as a JSON object. Raises FixRequest."""
    try:
        given = msgspec.json.decode(text or "{}", type=dict[str, object])
        unknown = set(given) - {field.name for field in fields(RankerConfig)}
        if unknown:
            raise FixRequest("config", f"unknown: {', '.join(sorted(unknown))}")
        return msgspec.convert(given, RankerConfig)
    except msgspec.DecodeError as error:
        raise FixRequest("config", f"{error}; it must be a JSON object such as " + '{"table_width": 128}') from None

"""What the life cycle refuses, by what the caller should do; serving.problems gives each its HTTP status."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.errors import FixRequest


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: where (`variants[1].weight`), and what to do about it."""

    field: str
    fix: str


class Invalid(FixRequest):
    """Several things are wrong at once; `field` and `fix` are of the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems[0].field, problems[0].fix)
        self.problems = tuple(problems)


class Conflict(FixRequest):
    """Things are not as the caller takes them to be: read them again, then decide again (409)."""


class UnknownExperiment(FixRequest):
    """There is no experiment of this id (404)."""


class Unauthorized(FixRequest):
    """A key is wanted, and there is none, or it is not known, or revoked (401)."""


class Forbidden(FixRequest):
    """The key's role may not do this (403)."""

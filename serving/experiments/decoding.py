"""Structs out of JSON, strictly: what is unknown, missing or of another type is refused by its place."""

from __future__ import annotations

import re
import threading
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from streams.errors import FixRequest

T = TypeVar("T")

_making: Final = threading.Lock()
_AT: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_NAMED: Final = re.compile(r"(?:unknown|required) field `([^`]+)`")


def decode_json(raw: bytes, kind: type[T]) -> T:
    """Return what a JSON text says. Raises FixRequest with the field's path, such as `variants[1].weight`."""
    try:
        return _decoder(kind).decode(raw)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FixRequest("body", f"send JSON: {error}") from None


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a type, made by one thread alone: msgspec 0.22 crashes the process where two threads meet a
    type for the first time at once."""
    with _making:
        return _made(kind)  # type: ignore[arg-type]  # mypy does not take a type of unknown kind for hashable


@cache
def _made(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _refusal(message: str) -> FixRequest:
    """Return msgspec's message as field and fix.

    >>> _refusal("Object contains unknown field `size` - at `$.variants[0]`").field
    'variants[0].size'
    >>> str(_refusal("Expected `float`, got `str` - at `$.mde`"))
    'mde: Expected `float`, got `str`'
    """
    at, named = _AT.search(message), _NAMED.search(message)
    parts = [at[1] if at else "", named[1] if named else ""]
    fix = message[: at.start()] if at else message
    if "unknown field" in fix:
        fix = "there is no such field; leave it out, or see how it is spelt"
    elif "missing required field" in fix:
        fix = "it is missing"
    return FixRequest(".".join(part for part in parts if part) or "body", fix)

"""The documentation of the features, made from their definitions: `python -m streams.features.documentation`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from streams.events import EVENT_TYPES
from streams.features.member import MEMBER
from streams.features.strength import MAX_RATE_STRENGTH, MIN_RATE_STRENGTH, NEUTRAL_STARS, STARS_PER_UNIT, STRENGTHS
from streams.features.title import CLICK_THROUGH, TITLE, TITLE_SHOWN
from streams.features.type_codes import ALL_TYPES
from streams.features.view import View

PATH: Final = Path(__file__).resolve().parents[2] / "docs" / "features.md"

_INTRODUCTION: Final = f"""\
# Features

Made from the definitions in `streams/features` by `python -m streams.features.documentation`; a test checks that it is
current. Values are as of a given time; a feature that is unknown or has no events is 0.0 in a vector.
`<Genre>` stands for each genre of the catalogue.

## Strengths

How much an event speaks for its title, in plays. A rating counts (stars - {NEUTRAL_STARS:g}) / {STARS_PER_UNIT:g}, from
{MIN_RATE_STRENGTH:g} to {MAX_RATE_STRENGTH:g}. Events with a strength above 0 are positive.
"""


def document() -> str:
    """Return the documentation as Markdown."""
    strengths = [f"| `{name}` | {worth:g} |" for name, worth in STRENGTHS.items()]
    parts = [_INTRODUCTION, "\n".join(["| event | strength |", "|---|---|", *strengths]), *map(_document, _VIEWS)]
    parts.append(
        f"## Both title views together\n\n- `{CLICK_THROUGH}`: `clicks:30d` over `shown:30d`, smoothed by a Beta prior"
        " (streams/features/click_through.py)."
    )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


_VIEWS: Final = (MEMBER, TITLE, TITLE_SHOWN)


def _document(view: View) -> str:
    ttl = f" An entity without events for {view.ttl_ms // 86_400_000} days starts anew." if view.ttl_ms else ""
    head = f"## View `{view.name}`\n\nFolded from `{view.topic}`; fingerprint `{view.fingerprint:08x}`.{ttl}"
    return "\n\n".join([head, *_aggregations(view), *_derived(view)])


def _aggregations(view: View) -> Iterator[str]:
    for name, aggregation in view.aggregations.items():
        definition: Any = aggregation
        names = [f"`{name}:{suffix}`" if suffix else f"`{name}`" for suffix in aggregation.names(("<Genre>",))]
        yield "\n\n".join(
            [
                f"### `{name}` ({type(aggregation).__name__}, version {aggregation.version})",
                _text(aggregation),
                "\n".join(
                    [
                        f"- Events: {_types(aggregation.types)}",
                        *(
                            f"- {field.name}: {_value(getattr(aggregation, field.name))}"
                            for field in dataclasses.fields(definition)
                            if field.repr
                        ),
                        f"- Features: {', '.join(names) or 'none; read by name'}",
                    ]
                ),
            ]
        )


def _derived(view: View) -> Iterator[str]:
    for derived in view.derived:
        names = ", ".join(f"`{name}`" for name in derived.names())
        sources = ", ".join(f"`{name}`" for name in derived.reads) or "the time of the newest event"
        head = f"### {names} ({type(derived).__name__}, computed when read)"
        yield f"{head}\n\n{_text(derived)}\n\n- From: {sources}"


def _text(definition: object) -> str:
    return getdoc(type(definition)) or ""


def _types(types: frozenset[str]) -> str:
    return "all" if types == ALL_TYPES else ", ".join(f"`{name}`" for name in EVENT_TYPES if name in types)


def _value(value: object) -> str:
    return f"`{value!r}`"


def main() -> None:
    """Write the documentation to its place."""
    PATH.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"{PATH}\n")


if __name__ == "__main__":
    main()

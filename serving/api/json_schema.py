"""JSON schemas of msgspec structs, as a route's description can hold them."""

from __future__ import annotations

from typing import Any

import msgspec


def schema_of(kind: Any) -> dict[str, Any]:
    """Return a type's schema with what it refers to in place, because references in it would lead nowhere in OpenAPI.

    The type may not contain itself.
    """
    schema = msgspec.json.schema(kind)
    parts: dict[str, Any] = schema.pop("$defs", {})
    found: dict[str, Any] = _inlined(schema, parts)
    return found


def _inlined(node: Any, parts: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(entry, parts) for entry in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(parts[node["$ref"].rsplit("/", 1)[-1]], parts)
    return {name: _inlined(entry, parts) for name, entry in node.items()}


def json_body(kind: Any, example: Any = None, *, required: bool = True) -> dict[str, Any]:
    """Return the description of a route's JSON body, for `openapi_extra`."""
    content: dict[str, Any] = {"schema": schema_of(kind)}
    if example is not None:
        content["example"] = example
    return {"requestBody": {"required": required, "content": {"application/json": content}}}

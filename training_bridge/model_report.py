"""A model's lineage, as lines for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from training_bridge.dataset_manifest import DatasetManifest
from training_bridge.registry import AliasChange, Lineage, ModelVersion


def list_lines(models: Sequence[ModelVersion]) -> Iterator[str]:
    """Yield a line for each model, below a head."""
    if not models:
        yield "no model is registered yet: `marquee train` makes one"
        return
    yield f"{'version':<12}  {'registered':<23}  {'NDCG@10':<7}  {'popularity':<10}  {'aliases':<10}  run"
    for model in models:
        ours, popular = (_score(model.metrics.get(name)) for name in ("ndcg@10", "popularity.ndcg@10"))
        aliases = " ".join(model.aliases) or "-"
        place = f"{model.version[:12]}  {utc(model.registered_at_ms)}"
        yield f"{place}  {ours:<7}  {popular:<10}  {aliases:<10}  {model.run or '-'}"


def lineage_lines(lineage: Lineage) -> Iterator[str]:
    """Yield where a model comes from and where it served, a line each."""
    model = lineage.model
    yield f"model      {model.version}  {model.name}"
    yield f"aliases    {' '.join(model.aliases) or 'none'}"
    yield f"registered {utc(model.registered_at_ms)}"
    yield f"run        {model.run or 'none'}"
    yield f"code       {lineage.code}"
    for name, value in sorted(model.metrics.items()):
        yield f"metric     {name} {value:.6g}"
    yield f"dataset    {model.dataset}"
    if lineage.dataset is None:
        yield "           its manifest is not kept"
    else:
        yield from _dataset_lines(lineage.dataset)
    yield from (_change_line(change, model.version) for change in lineage.changes)


def utc(time_ms: int) -> str:
    """Return a time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ms / 1_000))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _dataset_lines(dataset: DatasetManifest) -> Iterator[str]:
    yield f"           {dataset.rows:,} events of {dataset.members:,} members, {dataset.titles:,} titles"
    left_out = f"{dataset.duplicates:,} duplicates, {dataset.unknown_titles:,} of unknown titles"
    yield f"           left out: {left_out}, {dataset.untitled:,} without a title, {dataset.after_until:,} later"
    yield f"           {utc(dataset.first_ms)} to {utc(dataset.last_ms)}, split at {utc(dataset.split_ms)}"
    for part in dataset.ranges:
        place = f"{dataset.topic} partition {part.partition} epoch {part.epoch}"
        yield f"           {place}: offsets {part.first}-{part.last}, {part.rows:,} records"


def _change_line(change: AliasChange, version: str) -> str:
    other = (change.previous or "nothing")[:12] if change.version == version else change.version[:12]
    moved = f"from {other} to it" if change.version == version else f"from it to {other}"
    return f"alias      {utc(change.set_at_ms)} {change.alias} moved {moved}: {change.reason}"

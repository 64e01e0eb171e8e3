"""The model registry as training writes it: versions, and the aliases that say which one serves.

A version is the sha256 of a manifest; manifest and files are blobs. Every change of an alias leaves a row that says
from what, to what, when and why; those rows are what `rollback` goes back by. Writers take turns, so that several
processes may register and promote at once. Everything here raises TryAgain when the database is away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from serving.models.aliases import LOCK
from serving.models.aliases import set_alias as set_alias
from serving.models.manifest import Manifest, decode_manifest, encode_manifest
from serving.models.registry import CHAMPION, alias_changes, aliased_version, model_aliases, model_versions
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.stores.blobs import BlobStore
from streams.stores.sql import insert_new, reading, writing
from training_bridge.dataset_manifest import DatasetManifest, decode_dataset_manifest

REQUIRED_FILES: Final = ("model.onnx", "neighbours.npy", "neighbour_scores.npy")
MIN_PREFIX: Final = 6
"""Characters of a version that name it on a command line: 16 million versions before a clash is likely to be met."""


class ModelVersion(msgspec.Struct, frozen=True):
    """A registered version. aliases: those that point to it now. metrics: from its run's evaluation."""

    version: str
    name: str
    run: str
    dataset: str
    metrics: dict[str, float]
    registered_at_ms: int
    aliases: tuple[str, ...] = ()


class AliasChange(msgspec.Struct, frozen=True):
    """One move of an alias; previous is None for its first. id: ascending in the order of the moves."""

    id: int
    alias: str
    previous: str | None
    version: str
    set_at_ms: int
    reason: str


class Lineage(msgspec.Struct, frozen=True):
    """Where a version comes from: its run, and the events (topic, offset ranges, split) it was trained on.

    dataset is None where the dataset's manifest is not kept (any more).
    """

    model: ModelVersion
    code: str
    dataset: DatasetManifest | None
    changes: tuple[AliasChange, ...]


def register(engine: sa.Engine, blobs: BlobStore, manifest: Manifest, files: Mapping[str, bytes], now_ms: int) -> str:
    """Store a model and add it to the registry; return its version. Doing it again changes nothing.

    Raises FixRequest when a file is missing, Corrupt when one is not what the manifest says.
    """
    _check_files(manifest, files)
    for content in files.values():
        blobs.put(content)
    return register_stored(engine, blobs, blobs.put(encode_manifest(manifest)), now_ms)


def register_stored(engine: sa.Engine, blobs: BlobStore, version: str, now_ms: int) -> str:
    """Add a model whose blobs are stored already; return its version. Raises Corrupt unless every blob is intact."""
    manifest = verify(blobs, version)
    row = {
        "version": version,
        "name": manifest.name,
        "run": manifest.run,
        "dataset": manifest.dataset,
        "metrics": manifest.metrics,
        "registered_at_ms": now_ms,
    }
    with writing(engine, LOCK) as connection:
        connection.execute(insert_new(engine, model_versions), row)
    return version


def verify(blobs: BlobStore, version: str) -> Manifest:
    """Return a version's manifest after reading all of its files. Raises Corrupt or TryAgain if one is bad or gone."""
    manifest = decode_manifest(blobs.get(version))
    missing = [name for name in REQUIRED_FILES if name not in manifest.files]
    if missing:
        raise Corrupt(f"model {version[:12]} has no {', '.join(missing)}")
    for sha256 in manifest.files.values():
        blobs.get(sha256)
    return manifest


def rollback(engine: sa.Engine, blobs: BlobStore, alias: str, reason: str, now_ms: int) -> str:
    """Point an alias back to what it pointed to before its newest promotion; return that version.

    Raises FixRequest when there is nothing earlier, TryAgain when the alias moved meanwhile, Corrupt when the files of
    the earlier version are damaged: then it is no way back.
    """
    current, earlier = aliased(engine, alias), earlier_version(alias_history(engine, alias))
    if current is None or earlier is None:
        raise FixRequest("alias", f"{alias} has no earlier version; name one with `marquee models promote VERSION`")
    verify(blobs, earlier)
    set_alias(engine, alias, earlier, f"rollback from {current[:12]}: {reason}", now_ms, expected=current)
    return earlier


def earlier_version(changes: Iterable[AliasChange]) -> str | None:
    """Return what a rollback goes to, given an alias's changes in order, or None.

    Promotions pile up; going back to the one below takes the top away, so that rolling back twice goes two steps back.
    """
    pile: list[str] = []
    for change in changes:
        if len(pile) > 1 and pile[-2] == change.version:
            pile.pop()
        else:
            pile.append(change.version)
    return pile[-2] if len(pile) > 1 else None


def aliased(engine: sa.Engine, alias: str = CHAMPION) -> str | None:
    """Return the version an alias points to, None if it is not set or there is no registry yet."""
    return aliased_version(engine, alias)


def list_models(engine: sa.Engine) -> list[ModelVersion]:
    """Return all versions, the newest first."""
    order = (model_versions.c.registered_at_ms.desc(), model_versions.c.version)
    with reading(engine) as connection:
        aliases = connection.execute(sa.select(model_aliases.c.version, model_aliases.c.alias)).all()
        rows = connection.execute(sa.select(model_versions).order_by(*order)).all()
    return [_model(row, sorted(alias for version, alias in aliases if version == row.version)) for row in rows]


def find_model(engine: sa.Engine, prefix: str) -> ModelVersion:
    """Return the version that starts with `prefix`, or that an alias of this name points to. Raises FixRequest."""
    models = list_models(engine)
    found = [model for model in models if prefix in model.aliases or model.version == prefix]
    if not found and len(prefix) >= MIN_PREFIX:
        found = [model for model in models if model.version.startswith(prefix)]
    if len(found) != 1:
        problem = "several models start so" if found else "no such model"
        raise FixRequest("version", f"{problem}: {prefix!r}; `marquee models list` shows all (or use an alias)")
    return found[0]


def alias_history(engine: sa.Engine, alias: str) -> list[AliasChange]:
    """Return every change of an alias, the oldest first."""
    return _changes(engine, alias_changes.c.alias == alias)


def lineage(engine: sa.Engine, blobs: BlobStore, version: str) -> Lineage:
    """Return where a registered version comes from and where it served. Raises FixRequest for an unknown version."""
    model = find_model(engine, version)
    moves = sa.or_(alias_changes.c.version == model.version, alias_changes.c.previous == model.version)
    code = decode_manifest(blobs.get(model.version)).code
    return Lineage(model, code, _dataset(blobs, model.dataset), tuple(_changes(engine, moves)))


def _check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, sha256 in manifest.files.items():
        if name not in files:
            raise FixRequest("files", f"the manifest names {name}, which is not given")
        if hashlib.sha256(files[name]).hexdigest() != sha256:
            raise Corrupt(f"{name} does not match the sha256 in the manifest")


def _changes(engine: sa.Engine, where: sa.ColumnElement[bool]) -> list[AliasChange]:
    with reading(engine) as connection:
        rows = connection.execute(sa.select(alias_changes).where(where).order_by(alias_changes.c.id))
        return [AliasChange(row.id, row.alias, row.previous, row.version, row.set_at_ms, row.reason) for row in rows]


def _dataset(blobs: BlobStore, address: str) -> DatasetManifest | None:
    try:
        return decode_dataset_manifest(blobs.get(address))
    except (TryAgain, Corrupt):
        return None


def _model(row: sa.Row[Any], aliases: Sequence[str]) -> ModelVersion:
    return ModelVersion(row.version, row.name, row.run, row.dataset, row.metrics, row.registered_at_ms, tuple(aliases))

"""The manifest of a ranking model: everything serving must know to run it, and to refuse it.

The graph's contract. Inputs: `history_title` int64 [H] (index into `titles`; V stands for padding or an unknown title),
newest first; `history_age_s` float32 [H]; `history_strength` float32 [H] (0 for padding); `member` float32 [M], in the
order of `member_features`; `titles` float32 [V, F], live features in the order of `title_features`. Outputs: `score`
float32 [V]; `parts` float32 [P, V], contributions named by `parts` that sum to the score.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streams.errors import Corrupt

FORMAT: Final = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A model's manifest. files: sha256 by file name (`model.onnx`, `neighbours.npy` int32 [V, K] and
    `neighbour_scores.npy` float32 [V, K]). metrics: from the run's evaluation.
    dataset: content address of what it was trained on.
    """

    format: int = FORMAT
    name: str
    created_at_ms: int
    files: dict[str, str]
    titles: list[str]
    member_features: list[str]
    title_features: list[str]
    parts: list[str]
    history_length: int
    metrics: dict[str, float]
    dataset: str
    code: str
    """sha256 over the training code's sources."""
    run: str = ""
    """Pathspec of the Metaflow run that made it."""


_decoder: Final = msgspec.json.Decoder(Manifest)
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


def decode_manifest(raw: bytes) -> Manifest:
    """Return the manifest in its JSON form. Raises Corrupt if it is not one, or of a format this code does not know."""
    try:
        manifest = _decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise Corrupt(f"model manifest: {error}") from None
    if manifest.format != FORMAT:
        raise Corrupt(f"model manifest has format {manifest.format}; this code reads {FORMAT}")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical JSON of a manifest; its sha256 is the model's version."""
    return msgspec.json.encode(manifest, order="deterministic")

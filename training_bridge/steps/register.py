"""The last step: the model gets its evaluation, is registered, and may become champion."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from serving.models.aliases import ANY
from serving.models.manifest import decode_manifest, encode_manifest
from serving.models.registry import CHAMPION
from streams.stores.blobs import BlobStore
from training_bridge import registry
from training_bridge.promotion import Decision, Evidence, PromotionPolicy, decide
from training_bridge.workspace import Workspace


def finish_model(blobs: BlobStore, draft: str, metrics: Mapping[str, float]) -> str:
    """Return the version of the model of `draft` with the metrics of its evaluation added, stored."""
    manifest = decode_manifest(blobs.get(draft))
    finished = msgspec.structs.replace(manifest, metrics={**manifest.metrics, **metrics})
    return blobs.put(encode_manifest(finished))


def register_and_decide(
    workspace: Workspace, version: str, evidence: Evidence, policy: PromotionPolicy, now_ms: int
) -> Decision:
    """Register a stored model and make it champion if the policy says so; return the decision, carried out.

    Raises TryAgain if the champion is moved in the middle of this.
    """
    registry.register_stored(workspace.sql, workspace.blobs, version, now_ms)
    decision = decide(policy, evidence)
    now_champion = registry.aliased(workspace.sql, CHAMPION)
    if now_champion not in (evidence.champion, version) and not policy.forced:
        return Decision(False, "another model became champion while this one was trained")
    if decision.promote:
        expected = ANY if policy.forced else evidence.champion
        registry.set_alias(workspace.sql, CHAMPION, version, decision.reason, now_ms, expected=expected)
    return decision

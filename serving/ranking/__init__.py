"""Ranking: tensors from live state, one batched model run, contributions."""

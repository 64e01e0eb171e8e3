"""Statistics of experiments: pure functions of mergeable aggregates."""

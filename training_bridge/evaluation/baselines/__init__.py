"""Known methods, each given the same live history as the ranker."""

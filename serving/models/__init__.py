"""Models as served: manifests, verified loading, warm swap."""

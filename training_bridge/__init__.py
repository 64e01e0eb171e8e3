"""Training bridge: from interaction logs to registered models."""

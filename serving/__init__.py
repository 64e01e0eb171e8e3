"""Serving: the homepage, its models and caches, and the HTTP routes."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime reports its use to its makers unless this is set before it is imported, which only this package does."""

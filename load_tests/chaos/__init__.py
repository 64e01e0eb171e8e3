"""Chaos: real processes of the platform, killed at random moments; then every state against a clean offline replay."""

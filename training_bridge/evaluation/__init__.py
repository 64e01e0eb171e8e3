"""Ranking quality by the prequential protocol, beside known methods."""

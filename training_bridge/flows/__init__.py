"""Metaflow flows, and how they are started."""

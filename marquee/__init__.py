"""Marquee: the one front door to the platform."""

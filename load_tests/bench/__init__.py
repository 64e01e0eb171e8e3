"""Benchmarks: parts of the platform measured beside their limits, in turns, in one run; ratios are what counts."""

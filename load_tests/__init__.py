"""Load tests: an open-loop generator, its scenarios and verdicts, and the benchmarks."""

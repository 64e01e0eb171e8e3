"""What the statistics of experiments do in practice: on simulated tests by the ten thousand, and on real data."""

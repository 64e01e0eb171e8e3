"""Feature definitions and the one fold that serves online and offline."""

"""The process that replays the events of a chaos run; it is killed like the others, and goes on where it stopped."""

from __future__ import annotations

import sys

from load_tests.chaos.data import chaos_dataset
from streams.event_log.open import open_event_log
from streams.importers.pace import Pace
from streams.importers.replay import replay
from streams.settings import load_settings
from streams.stores.sql import open_sql


def main(events: int, seed: int, rate: float) -> None:
    """Replay `events` events at `rate` a second into the log that the environment names."""
    settings = load_settings()
    log = open_event_log(settings)
    replay(chaos_dataset(events, seed), log, open_sql(settings), Pace(rate=rate))
    log.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

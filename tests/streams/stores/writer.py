"""A child process that writes to a store: `python -m tests.streams.stores.writer <engine> <place> <role> …`."""

from __future__ import annotations

import itertools
import random
import sys

from tests.streams.stores.engines import ENGINES, entry

KEYS = [b"key-%02d" % number for number in range(20)]
PAYLOAD_BYTES = 20_000


def payload(position: int) -> bytes:
    """Return bytes that can be checked against the position that they were written at."""
    return position.to_bytes(8, "big") * (PAYLOAD_BYTES // 8)


def write_share(engine: str, place: str, share: str, shares: str, rounds: str) -> None:
    """Write every key at every `shares`-th position from `share` on, in a random order."""
    store = ENGINES[engine](place)
    positions = list(range(1 + int(share), 1 + int(rounds) * int(shares), int(shares)))
    random.Random(share).shuffle(positions)
    print("ready", flush=True)
    sys.stdin.readline()
    for position in positions:
        store.put("member", [entry(key, position, b"%d" % position) for key in KEYS])
    store.close()


def write_until_killed(engine: str, place: str, first: str) -> None:
    """Write all keys at ever higher positions, saying after each write which one it was."""
    store = ENGINES[engine](place)
    for position in itertools.count(int(first)):
        store.put("member", [entry(key, position, payload(position)) for key in KEYS])
        print(position, flush=True)


if __name__ == "__main__":
    _, engine_name, place_name, role, *arguments = sys.argv
    {"share": write_share, "until-killed": write_until_killed}[role](engine_name, place_name, *arguments)

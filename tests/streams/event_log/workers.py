"""What the tests run as processes of their own: `python workers.py <what> <arguments>`; settings name the log."""

from __future__ import annotations

import sys
from collections.abc import Callable

from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.settings import Settings


def say(*words: object) -> None:
    print(*words, flush=True)


def append_forever(log: EventLog, topic: str, size: str) -> None:
    """Append batches of `size` messages, each over all partitions; say the number of each once it is in."""
    number = 0
    while True:
        log.append(topic, [Message(b"key-%d" % n, b"%d %d" % (number, n)) for n in range(int(size))])
        say(number)
        number += 1


def append(log: EventLog, topic: str, name: str, batches: str, size: str) -> None:
    """Append some batches of messages `<name> <n>`, all of one key."""
    n = 0
    for _ in range(int(batches)):
        log.append(topic, [Message(name.encode(), f"{name} {n + i}".encode()) for i in range(int(size))])
        n += int(size)


def consume(log: EventLog, topic: str, group: str) -> None:
    """Poll and say what is held after each; on a line of input, commit what was read and say how that went."""
    consumer = log.consumer(group, [topic])
    offsets: dict[TopicPartition, int] = {}
    while True:
        batches = consumer.poll(100, 0.02)
        offsets.update({TopicPartition(b.topic, b.partition): b.records[-1].offset + 1 for b in batches})
        say(*sorted(partition for _, partition in consumer.assignment()))


def hold(log: EventLog, topic: str, group: str) -> None:
    """Join, read something, say so, and wait for ever without polling."""
    consumer = log.consumer(group, [topic])
    while not consumer.poll(1, 0.02):
        pass
    say("holding")
    sys.stdin.read()


WORKERS: dict[str, Callable[..., None]] = {
    "append_forever": append_forever,
    "append": append,
    "consume": consume,
    "hold": hold,
}

if __name__ == "__main__":
    WORKERS[sys.argv[1]](open_event_log(Settings()), *sys.argv[2:])

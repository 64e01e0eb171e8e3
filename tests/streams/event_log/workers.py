"""What the tests run as processes of their own: `python workers.py <what> <arguments>`; settings name the log."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable

from streams.errors import MarqueeError
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


def append_until_refused(log: EventLog, topic: str, file_bytes: str) -> None:
    """Append with files limited to `file_bytes` (as a full disk would), until refused; say how many went in, and why
    no more did."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), resource.RLIM_INFINITY))
    taken = 0
    while True:
        try:
            log.append(topic, [Message(b"%d" % n, bytes(1000)) for n in range(10)])
        except MarqueeError as error:
            say(taken, type(error).__name__)
            return
        taken += 10


def recreate(log: EventLog, topic: str, partitions: str) -> None:
    """Delete a topic and create it anew."""
    log.delete_topic(topic)
    log.create_topic(topic, int(partitions))


def consume(log: EventLog, topic: str, group: str) -> None:
    """Poll for ever; say which partitions are held after each."""
    consumer = log.consumer(group, [topic])
    while True:
        consumer.poll(100, 0.02)
        say(*sorted(partition for _, partition in consumer.assignment()))


def hold(log: EventLog, topic: str, group: str) -> None:
    """Join, read something, say so, and freeze until a line comes in; then commit, and say how that went."""
    consumer = log.consumer(group, [topic])
    while not (batches := consumer.poll(1, 0.02)):
        pass
    say("holding")
    sys.stdin.readline()
    try:
        consumer.commit({TopicPartition(topic, batches[0].partition): 1})
    except MarqueeError as error:
        say(type(error).__name__)
    else:
        say("committed")


WORKERS: dict[str, Callable[..., None]] = {
    "append_forever": append_forever,
    "append": append,
    "append_until_refused": append_until_refused,
    "recreate": recreate,
    "consume": consume,
    "hold": hold,
}

if __name__ == "__main__":
    WORKERS[sys.argv[1]](open_event_log(Settings()), *sys.argv[2:])

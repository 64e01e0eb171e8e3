"""Which topics there are, and the last epoch of every topic there ever was.

Epochs must never fall: states in the stores carry them, and would take a recreated topic's records for old ones. So a
deleted topic's last epoch stays in the directory, and a copy of the epochs lies beside the log's folder, where it
outlives the folder itself.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from streams.errors import Corrupt, FixRequest
from streams.event_log.environments import EnvironmentOptions, Handle
from streams.event_log.topic_files import TopicFiles
from streams.positions import MAX_EPOCH

MAX_BYTES: Final = 16 << 20
"""Room for some ten thousand topics."""

_TOPICS: Final = b"topics"


class TopicEntry(msgspec.Struct, frozen=True, array_like=True):
    """The epoch in which a topic was made, its partition count then (0 once it is deleted), and the last epoch that it
    grew into or was raised to, 0 if there is none. topic_id: no other topic ever has it ("" in files of former code).
    """

    epoch: int
    partitions: int
    newest: int = 0
    topic_id: str = ""


_entries: Final = msgspec.msgpack.Decoder(TopicEntry)
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


class TopicDirectory:
    """The topics of a log, in an LMDB environment, with a witness of their epochs in a file beside the log's folder."""

    def __init__(self, path: Path, witness: Path, files: TopicFiles, *, sync: bool) -> None:
        self._handle = Handle(path, EnvironmentOptions(MAX_BYTES, (_TOPICS,), sync))
        self._witness = witness
        self._files = files

    def create(self) -> None:
        """Make the files, if they are not there."""
        self._handle.create()

    def close(self) -> None:
        """Let go of the files."""
        self._handle.close()

    def find(self, topic: str) -> TopicEntry | None:
        """Return what is known of a topic, None if it never was."""
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_TOPICS]) as transaction:
            return _decode(transaction.get(topic.encode()))

    def names(self) -> list[str]:
        """Return the topics that exist."""
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_TOPICS]) as transaction:
            entries = [(key.decode(), _decode(value)) for key, value in transaction.cursor()]
        return [name for name, entry in entries if entry and entry.partitions]

    def establish(self, topic: str, partitions: int) -> TopicEntry:
        """Return the topic's entry; if there is none, or its files are lost, it begins in the next epoch.

        One process at a time does this, files included."""
        with self._handle.use() as opened, opened.env.begin(write=True, db=opened.databases[_TOPICS]) as transaction:
            entry = _decode(transaction.get(topic.encode()))
            if entry and entry.partitions:
                if self._files.exist(topic, entry.epoch):
                    return entry
                if entry.partitions != partitions and not entry.newest:
                    raise FixRequest("partitions", f"topic {topic} had {entry.partitions}; that cannot change")
            begun = TopicEntry(self._next_epoch(topic, entry), partitions, topic_id=uuid.uuid4().hex)
            self._files.make(topic, partitions, begun.epoch)
            transaction.put(topic.encode(), msgspec.msgpack.encode(begun))
            return begun

    def begin_epoch(self, topic: str, begin: Callable[[int], None], above: int = 0) -> None:
        """Call `begin` with an epoch that the topic never had, one process at a time; above `above`, if that is given,
        and not if the topic is there already."""
        with self._handle.use() as opened, opened.env.begin(write=True, db=opened.databases[_TOPICS]) as transaction:
            entry = _decode(transaction.get(topic.encode()))
            if entry is None:
                raise FixRequest("topic", f"there is no topic {topic!r}")
            if above and max(entry.epoch, entry.newest) > above:
                return
            epoch = self._next_epoch(topic, entry, above)
            begin(epoch)
            transaction.put(topic.encode(), msgspec.msgpack.encode(msgspec.structs.replace(entry, newest=epoch)))

    def retire(self, topic: str) -> None:
        """Delete a topic and its files, keeping its epoch."""
        with self._handle.use() as opened, opened.env.begin(write=True, db=opened.databases[_TOPICS]) as transaction:
            entry = _decode(transaction.get(topic.encode()))
            if entry:
                transaction.put(topic.encode(), msgspec.msgpack.encode(msgspec.structs.replace(entry, partitions=0)))
                self._files.remove(topic)

    def _next_epoch(self, topic: str, entry: TopicEntry | None, above: int = 0) -> int:
        """Return an epoch that the topic never had, above `above`, witnessed."""
        epochs = read_witness(self._witness)
        epoch = max(entry.epoch if entry else 0, entry.newest if entry else 0, epochs.get(topic, 0), above) + 1
        if epoch > MAX_EPOCH:
            raise FixRequest("topic", f"{topic} has had {MAX_EPOCH} epochs; use another name")
        write_witness(self._witness, {**epochs, topic: epoch})
        return epoch


def read_witness(path: Path) -> dict[str, int]:
    """Return the last epoch of each topic, {} without a file. Raises Corrupt, OSError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise Corrupt(f"{path.name} does not say the topics' epochs: {error}") from None


def write_witness(path: Path, epochs: dict[str, int]) -> None:
    """Replace the file, whole or not at all; durable on return."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(epochs))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _decode(stored: bytes | None) -> TopicEntry | None:
    return _entries.decode(stored) if stored is not None else None

"""Dead letters: kept with their reason, listed once, driven again once, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.agents import dead_letters
from streams.agents.dead_letters import DeadLetters, Rejected, list_dead_letters, redrive
from streams.errors import FixRequest
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.protocol import Message, Record
from streams.topics import DEAD_LETTERS

NOW_MS = 1_700_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(tmp_path / "log", sync=False, max_bytes=4 << 20)
    log.create_topic("events", 4)
    log.create_topic(DEAD_LETTERS, 2)
    yield log
    log.close()


@pytest.fixture
def letters(log: EmbeddedLog) -> DeadLetters:
    return DeadLetters(log, clock_ms=lambda: NOW_MS)


def record(offset: int, value: bytes = b"{not json", key: bytes = b"member") -> Record:
    return Record(offset, NOW_MS - 5, key, value)


def everything(log: EmbeddedLog, topic: str) -> list[Record]:
    return [each for n in range(log.partition_count(topic)) for each in log.read(topic, n, 0, 100_000)]


def test_a_letter_keeps_the_raw_message_where_it_came_from_and_why(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put("events", 3, record(17, b"\xff\x00{", b"\xfe"), "malformed", "not JSON")
    [letter] = list_dead_letters(log, 10)
    assert (letter.topic, letter.partition, letter.offset, letter.epoch) == ("events", 3, 17, 1)
    assert (letter.reason, letter.detail, letter.time_ms) == ("malformed", "not JSON", NOW_MS)
    assert (letter.message_key, letter.raw, letter.truncated) == (b"\xfe", b"\xff\x00{", False)


def test_a_message_put_twice_is_listed_once(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put("events", 0, record(1), "malformed", "first")
    letters.put("events", 0, record(1), "malformed", "again, in the same process")
    DeadLetters(log).put("events", 0, record(1), "malformed", "again, after a restart")
    assert [letter.detail for letter in list_dead_letters(log, 10)] == ["first"]


def test_the_same_offset_of_other_partitions_and_epochs_is_another_message(
    log: EmbeddedLog, letters: DeadLetters
) -> None:
    letters.put("events", 0, record(1), "malformed", "")
    letters.put("events", 1, record(1), "malformed", "")
    log.delete_topic("events")
    log.create_topic("events", 4)
    letters.put("events", 0, record(1), "malformed", "")
    assert {(letter.partition, letter.epoch) for letter in list_dead_letters(log, 10)} == {(0, 1), (1, 1), (0, 2)}


def test_a_message_read_before_its_topic_was_recreated_does_not_hide_the_one_in_its_place(
    log: EmbeddedLog, letters: DeadLetters
) -> None:
    epoch = log.epoch("events")
    log.delete_topic("events")
    log.create_topic("events", 4)
    letters.put_all("events", 0, [Rejected(record(1, b"old"), "malformed", "")], epoch)
    letters.put_all("events", 0, [Rejected(record(1, b"new"), "malformed", "")], epoch + 1)

    assert {(letter.epoch, letter.raw) for letter in list_dead_letters(log, 10)} == {(1, b"old"), (2, b"new")}


def test_listing_gives_the_newest_first_up_to_a_limit_and_by_reason(log: EmbeddedLog) -> None:
    for n in range(10):
        at = DeadLetters(log, clock_ms=lambda n=n: NOW_MS + n)  # type: ignore[misc]
        at.put("events", n % 4, record(n), "malformed" if n % 2 else "bad-id", "")
    assert [letter.offset for letter in list_dead_letters(log, 3)] == [9, 8, 7]
    assert [letter.offset for letter in list_dead_letters(log, 10, reason="bad-id")] == [8, 6, 4, 2, 0]
    assert list_dead_letters(log, 10, reason="unknown-title") == []


def test_redriving_appends_the_messages_anew_once(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put_all("events", 0, [Rejected(record(n, b"%d" % n, b"key-%d" % n), "malformed", "") for n in range(20)])
    assert redrive(log) == 20
    assert {(each.key, each.value) for each in everything(log, "events")} == {
        (b"key-%d" % n, b"%d" % n) for n in range(20)
    }
    assert list_dead_letters(log, 100) == []
    assert redrive(log) == 0
    assert len(everything(log, "events")) == 20


def test_only_the_selected_letters_are_redriven(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put("events", 0, record(1, b"one"), "unknown-title", "")
    letters.put("events", 0, record(2, b"two"), "malformed", "")
    assert redrive(log, lambda letter: letter.reason == "unknown-title") == 1
    assert [each.value for each in everything(log, "events")] == [b"one"]
    assert [letter.offset for letter in list_dead_letters(log, 10)] == [2]


def test_a_redriven_message_met_again_at_its_old_place_is_not_listed_again(
    log: EmbeddedLog, letters: DeadLetters
) -> None:
    letters.put("events", 0, record(1), "unknown-title", "")
    redrive(log)
    DeadLetters(log).put("events", 0, record(1), "unknown-title", "an agent that started from the beginning")
    assert list_dead_letters(log, 10) == []
    assert redrive(log) == 0


def test_a_redriven_message_that_fails_at_its_new_place_is_a_new_letter(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put("events", 0, record(1), "unknown-title", "")
    redrive(log)
    letters.put("events", 0, record(2), "unknown-title", "")
    assert [letter.offset for letter in list_dead_letters(log, 10)] == [2]
    assert redrive(log) == 1


def test_redriving_goes_on_after_a_run_that_failed_in_the_middle(log: EmbeddedLog, letters: DeadLetters) -> None:
    log.create_topic("gone", 1)
    letters.put("gone", 0, record(1), "malformed", "")
    letters.put("events", 0, record(2), "malformed", "")
    log.delete_topic("gone")
    with pytest.raises(FixRequest, match="gone"):
        redrive(log)
    redrive(log, lambda letter: letter.topic == "events")
    assert len(everything(log, "events")) == 1
    assert [letter.topic for letter in list_dead_letters(log, 10)] == ["gone"]


def test_huge_messages_are_cut_off_and_stay(log: EmbeddedLog, letters: DeadLetters) -> None:
    letters.put("events", 0, record(1, b"x" * (1 << 20), b"k" * 1000), "too-large", "y" * 10_000)
    [letter] = list_dead_letters(log, 10)
    assert letter.truncated
    assert letter.raw == b"x" * (dead_letters.MAX_RAW_BYTES - 1000)
    assert len(letter.detail) == dead_letters.MAX_DETAIL_CHARS
    assert redrive(log) == 0


def test_the_oldest_letters_make_room_when_there_are_too_many(
    log: EmbeddedLog, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MAX_LETTERS", 10)
    monkeypatch.setattr(dead_letters, "TRIM_EVERY", 1)
    for n in range(200):
        letters.put("events", 0, record(n), "malformed", "")
    kept = [letter.offset for letter in list_dead_letters(log, 1000)]
    assert 199 in kept
    assert 10 <= len(kept) <= 22


def test_a_full_topic_of_dead_letters_never_stops_an_agent(log: EmbeddedLog, letters: DeadLetters) -> None:
    for n in range(30):
        letters.put("events", 0, record(n, bytes(400_000)), "malformed", "")
    offsets = [letter.offset for letter in list_dead_letters(log, 1000)]
    assert 29 in offsets
    assert len(offsets) < 10


def test_what_else_lies_in_the_topic_is_passed_over(log: EmbeddedLog, letters: DeadLetters) -> None:
    log.append(DEAD_LETTERS, [Message(b"?", b"not a letter"), Message(b"?", b'{"topic": 3}')])
    letters.put("events", 0, record(1), "malformed", "")
    assert [letter.offset for letter in list_dead_letters(log, 10)] == [1]

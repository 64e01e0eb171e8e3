"""The status, whatever is away."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marquee.status import LETTERS_COUNTED, Status, read_status, serving_says, status_rows, without_password
from streams import topics
from streams.agents.dead_letters import DeadLetters, Rejected
from streams.catalogue import Title, publish_titles
from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Message, Record
from streams.settings import Settings
from streams.stores.open import open_durable
from streams.stores.protocol import Profile
from streams.stores.sql import open_sql
from streams.stores.sql_schema import HEAD

NOW_MS = 1_700_000_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, log_sync=False, port=1)


def test_the_status_is_what_the_engines_hold(settings: Settings, sql_url: str) -> None:
    settings = settings.model_copy(update={"sql_url": sql_url})
    log, durable, sql = open_event_log(settings), open_durable(settings), open_sql(settings)
    log.append(topics.MEMBER_EVENTS, [Message(b"m", b"?")] * 3)
    letters = DeadLetters(log)
    letters.put_all(topics.MEMBER_EVENTS, 0, [Rejected(Record(n, 0, b"m", b"?"), "malformed", "") for n in range(2)])
    durable.put_profiles([Profile("m", last_seen_ms=NOW_MS - 5_000)])
    publish_titles(sql, [Title("t", "t", 2000, ())], NOW_MS)
    for engine in (log, durable):
        engine.close()
    sql.dispose()
    status = read_status(settings, NOW_MS)
    assert (status.lag["features"], status.records["dead-letters"]) == (3, 2)
    assert (status.dead_letters, status.newest_event_s) == ({"malformed": 2}, 5.0)
    assert (status.titles, status.champion, status.revision, status.away) == (1, None, HEAD, {})
    assert ("dead letters", "2 (2 malformed): `marquee dead-letters list`") in status_rows(status)


def test_every_engine_that_is_away_is_named_and_no_password_shown(tmp_path: Path) -> None:
    settings = Settings(
        state=tmp_path / "none",
        port=1,
        log_url="kafka://127.0.0.1:1/",
        hot_url="redis://:secret@127.0.0.1:1/0",
        durable_url="cassandra://127.0.0.1:1/marquee",
        sql_url="postgresql://marquee:secret@127.0.0.1:1/marquee",
        kafka_request_timeout_ms=300,
        cassandra_timeout_s=0.5,
    )
    status = read_status(settings, NOW_MS)
    assert status.away.keys() == {"log", "hot store", "durable store", "sql"}
    assert "secret" not in repr(status)
    rows = dict(status_rows(status))
    assert rows["newest event"] == rows["titles"] == rows["champion"] == rows["dead letters"] == "unknown"
    assert rows["serving"] == "nobody answers at http://127.0.0.1:1"
    assert not settings.state.exists()


def test_engines_of_files_need_their_folder(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="no such state folder"):
        read_status(Settings(state=tmp_path / "none"), NOW_MS)


class Answers(http.server.BaseHTTPRequestHandler):
    answer = (200, b"")

    def do_GET(self) -> None:
        self.send_response(self.answer[0])
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"{}"), "is ready"),
        ((503, b'{"ready":false,"problems":{"hot":"gone","model":"none"}}'), "is not ready: hot: gone; model: none"),
        ((404, b"<html>"), "is not ready: another program answers there"),
    ],
)
def test_serving_is_asked_what_it_lacks(port: int, answer: tuple[int, bytes], said: str) -> None:
    Answers.answer = answer
    assert serving_says("127.0.0.1", port) == f"http://127.0.0.1:{port} {said}"


def test_letters_beyond_the_bound_are_not_counted() -> None:
    status = Status("s", False, dead_letters={"malformed": LETTERS_COUNTED})
    assert dict(status_rows(status))["dead letters"].startswith("1,000 or more (")


@pytest.mark.parametrize("url", ["redis://:secret@h:1/0", "kafka://u:secret@h:1", "postgresql://u:secret@h/d?x=1"])
def test_passwords_are_left_out_of_urls(url: str) -> None:
    assert "secret" not in without_password(url)
    assert without_password(url).endswith(url.partition("@")[2])

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.api.events import MAX_BODY_BYTES, MAX_EVENTS
from streams.event_log.open import open_event_log
from streams.settings import Settings
from tests.serving.platform import now_ms

_serial = itertools.count()


def event(**changes: Any) -> dict[str, Any]:
    base = {
        "event_id": f"api-{next(_serial)}",
        "type": "play",
        "member_id": "ann",
        "item_id": "t1",
        "event_time_ms": now_ms(),
    }
    return base | changes


def post(client: httpx.Client, body: object) -> httpx.Response:
    return client.post("/v1/events", json=body)


def test_an_accepted_event_is_in_the_log_where_the_answer_says(client: httpx.Client, settings: Settings) -> None:
    sent = event()
    answer = post(client, sent)
    assert answer.status_code == 202
    (result,) = answer.json()["results"]
    assert result["status"] == "accepted"
    log = open_event_log(settings)
    (record,) = log.read("member-events", result["partition"], result["offset"], 1)
    log.close()
    assert sent["event_id"].encode() in record.value
    assert record.key == b"ann"


def test_a_batch_is_answered_event_by_event_in_order(client: httpx.Client) -> None:
    batch = [event(), event(type="dance"), event(item_id="no-such-title"), event(member_id="ben")]
    answer = post(client, batch).json()
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [result["status"] for result in answer["results"]] == ["accepted", "rejected", "rejected", "accepted"]
    assert [result["event_id"] for result in answer["results"]] == [one["event_id"] for one in batch]
    assert [result.get("reason") for result in answer["results"]] == [None, "malformed", "unknown-title", None]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "dance"}, "malformed"),
        ({"event_time_ms": "yesterday"}, "malformed"),
        ({"event_time_ms": -1}, "bad-time"),
        ({"event_time_ms": 253_370_764_800_000}, "bad-time"),
        ({"event_time_ms": now_ms() + 2 * 86_400_000}, "bad-time"),
        ({"event_time_ms": 2**80}, "bad-time"),
        ({"member_id": ""}, "bad-id"),
        ({"member_id": "m" * 100_000}, "too-large"),
        ({"member_id": "m" * 200}, "bad-id"),
        ({"member_id": "a\u0000b"}, "bad-id"),
        ({"member_id": 7}, "malformed"),
        ({"item_id": "nowhere"}, "unknown-title"),
        ({"item_id": None}, "malformed"),
        ({"value": 1e300}, "bad-value"),
        ({"value": 99, "type": "rate"}, "bad-value"),
        ({"value": None, "type": "rate"}, "bad-value"),
        ({"context": {"country": 3}}, "malformed"),
        ({"context": {str(n): "x" for n in range(40)}}, "bad-value"),
        ({"position": -1}, "bad-value"),
    ],
)
def test_a_bad_event_is_refused_with_reason_and_fix(client: httpx.Client, changes: dict[str, Any], reason: str) -> None:
    answer = post(client, event(**changes))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["results"][0]["reason"] == reason
    assert body["field"] == ("event" if reason == "too-large" else next(iter(changes)))
    assert body["fix"]


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"[1,", b"\xff\xfe", b'{"value": NaN}', b"[" * 5_000])
def test_what_is_not_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/events", content=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["fix"]


def test_nan_is_no_value(client: httpx.Client) -> None:
    raw = b'{"event_id":"n","type":"rate","member_id":"ann","item_id":"t1","event_time_ms":1700000000000,"value":NaN}'
    assert client.post("/v1/events", content=raw).status_code in (400, 422)


def test_bodies_over_the_bound_are_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/events", content=b"[" + b" " * (10 << 20) + b"]")
    assert answer.status_code == 413
    assert str(MAX_BODY_BYTES) in answer.json()["fix"]


@pytest.mark.parametrize("count", [0, MAX_EVENTS + 1])
def test_a_batch_has_bounds(client: httpx.Client, count: int) -> None:
    answer = client.post("/v1/events", content=b"[" + b",".join([b"{}"] * count) + b"]")
    assert answer.status_code == 422
    assert str(MAX_EVENTS) in answer.json()["fix"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["event_id", "type", "member_id", "item_id", "event_time_ms", "value", "context", "position"])


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(fields, json_values, max_size=4))
def test_no_event_whatever_its_values_is_answered_with_a_server_error(
    client: httpx.Client, changes: dict[str, Any]
) -> None:
    assert post(client, [event(**changes)]).status_code in (202, 422)

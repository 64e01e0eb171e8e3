from __future__ import annotations

import httpx
import pytest

from tests.serving.platform import now_ms

PROBLEM = "application/problem+json"


def test_a_members_features_are_given_with_position_and_age(client: httpx.Client) -> None:
    features = client.get("/v1/members/ann/features").json()
    assert features["position"] > 0
    assert features["position"] == features["epoch"] << 48 | features["offset"]
    assert features["age_ms"] > 0
    assert features["source"] == "hot"
    assert len(features["features"]["history"]) == 12
    assert any(name.startswith("affinity:") for name in features["features"])


def test_a_member_without_events_has_no_features(client: httpx.Client) -> None:
    answer = client.get("/v1/members/nobody/features")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["field"] == "member_id"


@pytest.mark.parametrize("path", ["/v1/members/{}/features", "/v1/similar/{}"])
def test_ids_out_of_bounds_are_refused_by_name(client: httpx.Client, path: str) -> None:
    answer = client.get(path.format("x" * 1000))
    assert answer.status_code == 422
    assert "128" in answer.json()["fix"]


def test_known_members_can_be_listed(client: httpx.Client) -> None:
    assert {"ann", "ben"} <= set(client.get("/v1/members").json()["members"])
    assert client.get("/v1/members?limit=0").status_code == 422


def test_similar_titles_are_titles_of_the_catalogue(client: httpx.Client) -> None:
    similar = client.get("/v1/similar/t1?limit=5").json()
    assert 1 <= len(similar["similar"]) <= 5
    assert all(entry["item_id"].startswith("t") and entry["item_id"] != "t1" for entry in similar["similar"])
    scores = [entry["similarity"] for entry in similar["similar"]]
    assert scores == sorted(scores, reverse=True)
    assert client.get("/v1/similar/nowhere").status_code == 404


def test_candidates_are_ranked_by_the_sum_of_their_parts(client: httpx.Client) -> None:
    answer = client.post("/v1/rank", json={"member_id": "ann", "items": ["t5", "t1", "t9", "t1", "nowhere"]}).json()
    assert sorted(entry["item_id"] for entry in answer["ranked"]) == ["t1", "t5", "t9"]
    assert answer["unknown"] == ["nowhere"]
    scores = [entry["score"] for entry in answer["ranked"]]
    assert scores == sorted(scores, reverse=True)
    for entry in answer["ranked"]:
        assert sum(entry["parts"].values()) == pytest.approx(entry["score"], abs=1e-4)


def test_a_member_without_events_can_be_ranked_for(client: httpx.Client) -> None:
    answer = client.post("/v1/rank", json={"member_id": "nobody", "items": ["t5", "t1"]}).json()
    assert answer["feature_position"] == 0
    assert len(answer["ranked"]) == 2


@pytest.mark.parametrize(
    "body", [{}, {"member_id": "ann"}, {"member_id": "ann", "items": []}, {"member_id": "", "items": ["t1"]}]
)
def test_a_rank_request_names_what_is_wrong(client: httpx.Client, body: dict[str, object]) -> None:
    answer = client.post("/v1/rank", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["errors"][0]["field"]


def test_the_process_says_that_it_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200, ready.text
    assert ready.json()["ready"]
    assert ready.json()["titles"] == 120


def test_metrics_are_in_prometheus_text(client: httpx.Client) -> None:
    client.get("/homepage", params={"member_id": "ann"})
    text = client.get("/metrics").text
    assert "# TYPE marquee_" in text


def test_unknown_paths_and_methods_are_problems(client: httpx.Client) -> None:
    assert client.get("/v2/nothing").headers["content-type"] == PROBLEM
    assert client.delete("/v1/events").status_code == 405
    assert client.delete("/v1/events").headers["content-type"] == PROBLEM


def test_the_demonstration_page_and_its_files_are_served(client: httpx.Client) -> None:
    assert "<title>Marquee</title>" in client.get("/").text
    assert client.get("/static/homepage.js").status_code == 200
    assert client.get("/static/..%2fapp.py").status_code == 404


def test_the_description_of_the_api_has_examples(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/homepage", "/v1/events", "/v1/rank", "/v1/similar/{item_id}", "/v1/pages/{page_id}"} <= set(paths)
    assert paths["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]


def test_a_served_page_can_be_asked_for_again(client: httpx.Client) -> None:
    page = client.get("/homepage", params={"member_id": "cleo", "device": "tv"}).json()
    replayed = client.get(f"/v1/pages/{page['served']['page_id']}")
    assert replayed.status_code == 200, replayed.text
    body = replayed.json()
    assert body["recomputed"]["equal"], body["recomputed"]
    assert body["as_served"]["member_id"] == "cleo"
    assert body["as_served"]["served_at_ms"] <= now_ms()
    shown = [[item[0] for item in row["items"]] for row in body["as_served"]["rows"]]
    assert shown == [[item["item_id"] for item in row["items"]] for row in page["rows"]]


def test_a_page_says_why_a_title_is_there_and_why_another_is_not(client: httpx.Client) -> None:
    page = client.get("/homepage", params={"member_id": "dai"}).json()
    page_id, first = page["served"]["page_id"], page["rows"][0]["items"][0]["item_id"]
    there = client.get(f"/v1/pages/{page_id}", params={"item_id": first}).json()["explanation"]
    assert there["status"] == "shown"
    assert there["sentence"]
    absent = client.get(f"/v1/pages/{page_id}", params={"item_id": "nowhere"}).json()["explanation"]
    assert absent["status"] == "unknown-title"
    assert "catalogue" in absent["sentence"]


@pytest.mark.parametrize("page_id", ["nonsense", "x" * 1000])
def test_a_page_that_was_never_served_is_not_found(client: httpx.Client, page_id: str) -> None:
    answer = client.get(f"/v1/pages/{page_id}")
    assert answer.status_code in (404, 422)
    assert answer.json()["fix"]

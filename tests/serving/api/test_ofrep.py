"""Flags and exposures over HTTP, and what stock OpenFeature SDKs make of them, against a running serving process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails

from serving.experiments.allocation import Allocation
from serving.experiments.ofrep import MAX_BODY_BYTES
from streams.event_log.open import open_event_log
from streams.experiments.definition import Experiment, Patch, Rule, Variant
from streams.impressions import Exposure, decode_exposure
from streams.settings import Settings
from streams.stores.sql import open_sql
from streams.topics import EXPOSURES
from tests.ofrep_node.installed import evaluate
from tests.serving.experiments.definitions import running
from tests.serving.experiments.running import write_experiment
from tests.serving.platform import now_ms

FLAGS = "/ofrep/v1/evaluate/flags"


def flag_of(name: str, off: Any, on: Any, **fields: Any) -> Experiment:
    started_at_ms = now_ms() - 60_000
    variants = (Variant("off", 0.5, value=off), Variant("on", 0.5, value=on))
    return running(name, variants=variants, started_at_ms=started_at_ms, **fields)


EXPERIMENTS = [
    flag_of("truth", off=False, on=True),
    flag_of("colour", off="red", on="blue", targeting=(Rule("country", "in", ("NL",)),), forced={"tess": "on"}),
    flag_of("count", off=1, on=7),
    flag_of("share", off=0.25, on=0.75),
    flag_of("layout", off={"rows": 3}, on={"rows": 9, "names": ["a", "b"]}),
    flag_of("plain", off=None, on=None),
    flag_of("nobody", off="a", on="b", spans=[(0, 1)]),
]
VALUES = {each.definition.id: {v.key: v.value for v in each.definition.variants} for each in EXPERIMENTS}
MEMBERS = [f"member-{n}" for n in range(8)]


@pytest.fixture(scope="module", autouse=True)
def experiments(settings: Settings, client: httpx.Client) -> Allocation:
    """Experiments that the process has taken up, and what they give whom."""
    sql = open_sql(settings)
    for each in EXPERIMENTS:
        write_experiment(sql, each)
    sql.dispose()
    deadline_s = time.monotonic() + 5
    while len(post(client, FLAGS, "42").json()["flags"]) < len(EXPERIMENTS):
        assert time.monotonic() < deadline_s, "definitions have not arrived within 5 s"
        time.sleep(0.05)
    return Allocation(EXPERIMENTS, Patch())


def post(client: httpx.Client, path: str, member_id: str, **headers: str) -> httpx.Response:
    context = {"targetingKey": member_id, "country": "NL"}
    return client.post(path, json={"context": context}, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_one_flag_and_all_of_them_say_what_allocation_says(client: httpx.Client, experiments: Allocation) -> None:
    for member_id in MEMBERS:
        bulk = {each["key"]: each for each in post(client, FLAGS, member_id).json()["flags"]}
        assert set(bulk) == set(VALUES)
        for name, variant in experiments.assign(member_id, {"country": "NL"}).variants.items():
            single = post(client, f"{FLAGS}/{name}", member_id)
            assert single.status_code == 200
            assert single.headers["content-type"] == "application/json"
            assert single.json() == bulk[name]
            assert (bulk[name]["variant"], bulk[name]["reason"]) == (variant, "SPLIT")
            assert bulk[name]["value"] == (variant if VALUES[name][variant] is None else VALUES[name][variant])


@pytest.mark.parametrize("key", ["%0A", "%0A0", "a%0Ab%0A", "a%2Fb", "%20"])
def test_whatever_an_unknown_flag_is_called_it_is_refused_as_ofrep_says(client: httpx.Client, key: str) -> None:
    answer = client.post(f"/ofrep/v1/evaluate/flags/{key}", json={"context": {"targetingKey": "ann"}})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert answer.json()["key"] == unquote(key)


def test_flags_that_are_as_they_were_are_not_sent_again(client: httpx.Client) -> None:
    first = post(client, FLAGS, "42")
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = post(client, FLAGS, "42", if_none_match=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert post(client, FLAGS, "42", if_none_match='"other"').content == first.content
    others = {post(client, FLAGS, member_id).headers["etag"] for member_id in MEMBERS}
    assert len(others) > 1


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"{FLAGS}/truth", b"{", 400, "PARSE_ERROR"),
        (f"{FLAGS}/truth", b"{}", 400, "TARGETING_KEY_MISSING"),
        (f"{FLAGS}/truth", b'{"context": {"targetingKey": 1}}', 400, "INVALID_CONTEXT"),
        (f"{FLAGS}/truth", b" " * (MAX_BODY_BYTES + 1), 413, "GENERAL"),
        (f"{FLAGS}/no-such", b'{"context": {"targetingKey": "42"}}', 404, "FLAG_NOT_FOUND"),
        (f"{FLAGS}/a/b", b'{"context": {"targetingKey": "42"}}', 404, "FLAG_NOT_FOUND"),
        (FLAGS, b"nothing", 400, "PARSE_ERROR"),
        (FLAGS, b'{"context": {"country": "NL"}}', 400, "TARGETING_KEY_MISSING"),
    ],
)
def test_errors_are_openfeatures(client: httpx.Client, path: str, body: bytes, status: int, code: str) -> None:
    answer = client.post(path, content=body)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert answer.json()["errorDetails"]
    assert answer.json().get("key") == (path.removeprefix(f"{FLAGS}/") if path != FLAGS else None)


@pytest.fixture
def exposures(settings: Settings) -> Iterator[Callable[[str, int], list[Exposure]]]:
    """Return what waits until a member has so many exposures in the log, and returns them."""
    log = open_event_log(settings)

    def wait(member_id: str, count: int) -> list[Exposure]:
        deadline_s = time.monotonic() + 10
        while True:
            records = [r for p in range(log.partition_count(EXPOSURES)) for r in log.read(EXPOSURES, p, 0, 100_000)]
            found = [e for e in (decode_exposure(record.value) for record in records) if e.member_id == member_id]
            if len(found) >= count or time.monotonic() > deadline_s:
                return found
            time.sleep(0.05)

    yield wait
    log.close()


def test_a_single_evaluation_is_an_exposure_and_a_bulk_one_is_not(
    client: httpx.Client, exposures: Callable[[str, int], list[Exposure]]
) -> None:
    post(client, FLAGS, "exposed")
    post(client, f"{FLAGS}/nobody", "exposed")
    for _ in range(2):
        variant = post(client, f"{FLAGS}/truth", "exposed").json()["variant"]
    post(client, f"{FLAGS}/colour", "exposed")
    one, other = sorted(exposures("exposed", 2), key=lambda exposure: exposure.experiment)
    assert (one.experiment, other.experiment) == ("colour", "truth")
    assert (other.variant, other.source, other.first, other.country, other.page_id) == (variant, "app", True, "NL", "")


def test_a_testers_exposure_is_marked(client: httpx.Client, exposures: Callable[[str, int], list[Exposure]]) -> None:
    assert post(client, f"{FLAGS}/colour", "tess").json()["reason"] == "TARGETING_MATCH"
    (exposure,) = exposures("tess", 1)
    assert exposure.forced


def test_apps_say_what_they_showed_of_a_bulk_evaluation(
    client: httpx.Client, exposures: Callable[[str, int], list[Exposure]]
) -> None:
    shown = [{"experiment": name, "variant": "on", "member_id": "shown", "device": "tv"} for name in ("truth", "count")]
    assert client.post("/v1/exposures", json=shown).json() == {"accepted": 2}
    assert client.post("/v1/exposures", json=shown[0]).status_code == 202
    found = exposures("shown", 2)
    assert {(e.experiment, e.variant, e.source, e.device) for e in found} == {
        ("truth", "on", "app", "tv"),
        ("count", "on", "app", "tv"),
    }


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"[{}]", 422, "body"),
        (b'{"experiment": "truth", "variant": "on", "member_id": "42", "more": 1}', 422, "body"),
        (b'{"experiment": "truth", "variant": "none", "member_id": "42"}', 422, "variant"),
        (b'[{"experiment": "no", "variant": "on", "member_id": "42"}]', 422, "[0].experiment"),
        (b"[" + b",".join([b'{"experiment":"truth","variant":"on","member_id":"4"}'] * 1_001) + b"]", 422, "body"),
        (b" " * (256 << 10) + b"{}", 413, "body"),
    ],
)
def test_exposures_that_cannot_be_are_refused_by_field(
    client: httpx.Client, content: bytes, status: int, field: str
) -> None:
    answer = client.post("/v1/exposures", content=content)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def python_client(url: str) -> OpenFeatureClient:
    api.set_provider(OFREPProvider(url), domain=url)
    return api.get_client(url)


def test_the_stock_python_provider_gets_every_type_of_value(url: str, experiments: Allocation) -> None:
    client = python_client(url)
    ask: dict[str, Callable[[EvaluationContext], FlagEvaluationDetails[Any]]] = {
        "truth": lambda context: client.get_boolean_details("truth", False, context),
        "colour": lambda context: client.get_string_details("colour", "none", context),
        "count": lambda context: client.get_integer_details("count", 0, context),
        "share": lambda context: client.get_float_details("share", 0.0, context),
        "layout": lambda context: client.get_object_details("layout", {}, context),
        "plain": lambda context: client.get_string_details("plain", "none", context),
    }
    for member_id in MEMBERS[:4]:
        assigned = experiments.assign(member_id, {"country": "NL"}).variants
        for name, details_of in ask.items():
            details = details_of(EvaluationContext(member_id, {"country": "nl"}))
            value = VALUES[name][assigned[name]]
            assert details.value == (assigned[name] if value is None else value)
            assert (details.variant, details.reason, details.error_code) == (assigned[name], "SPLIT", None)
            assert details.flag_metadata == {"experiment": name, "revision": 1, "variant": assigned[name]}


def test_the_stock_python_provider_falls_back_to_the_default_in_the_code(url: str) -> None:
    client, somebody = python_client(url), EvaluationContext("42")
    for name in ("nobody", "colour"):
        details = client.get_string_details(name, "mine", somebody)
        assert (details.value, details.reason, details.error_code) == ("mine", "DEFAULT", None)
    details = client.get_string_details("no-such-flag", "mine", somebody)
    assert (details.value, details.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    details = client.get_string_details("colour", "mine")
    assert (details.value, details.error_code) == ("mine", ErrorCode.TARGETING_KEY_MISSING)
    details = client.get_string_details("truth", "mine", somebody)
    assert (details.value, details.error_code) == ("mine", ErrorCode.TYPE_MISMATCH)


def test_the_stock_npm_providers_get_what_allocation_says(url: str, experiments: Allocation) -> None:
    flags = [["truth", False], ["colour", "none"], ["count", 0], ["share", 0.5], ["layout", {}], ["plain", "none"]]

    def here(member_id: str) -> dict[str, str]:
        return {"targetingKey": member_id, "country": "nl"}

    answers = evaluate(
        {
            "url": url,
            "asked": [
                *([name, fallback, here(member_id)] for member_id in MEMBERS[:3] for name, fallback in flags),
                ["nobody", "mine", here("42")],
                ["no-such-flag", "mine", here("42")],
                ["colour", "mine", {}],
            ],
            "web": {
                "context": here(MEMBERS[0]),
                "other": here(MEMBERS[1]),
                "flags": [*flags, ["nobody", "mine"], ["no-such-flag", "mine"]],
            },
        }
    )

    def check(details: list[dict[str, Any]], member_id: str) -> None:
        assigned = experiments.assign(member_id, {"country": "NL"}).variants
        for (name, _), given in zip(flags, details, strict=False):
            value = VALUES[str(name)][assigned[str(name)]]
            assert given["value"] == (assigned[str(name)] if value is None else value)
            assert (given["variant"], given["reason"]) == (assigned[str(name)], "SPLIT")
            assert given["flagMetadata"]["experiment"] == name

    for index, member_id in enumerate(MEMBERS[:3]):
        check(answers["server"][index * len(flags) :], member_id)
    nobody, missing, keyless = answers["server"][-3:]
    assert [each["value"] for each in (nobody, missing, keyless)] == ["mine"] * 3
    assert (missing["errorCode"], keyless["errorCode"]) == ("FLAG_NOT_FOUND", "TARGETING_KEY_MISSING")

    web = answers["web"]
    check(web["before"], MEMBERS[0])
    check(web["after"], MEMBERS[1])
    nobody, missing = web["before"][-2:]
    assert (nobody["value"], nobody["reason"], nobody.get("errorCode")) == ("mine", "DEFAULT", None)
    assert (missing["value"], missing["errorCode"]) == ("mine", "FLAG_NOT_FOUND")
    assert web["statuses"] == [200, 304, 200]

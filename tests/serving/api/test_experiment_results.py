"""Results over HTTP: of data and of none, over time, by day; decided by the rules; who may read them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from serving.api import experiment_results, experiments
from serving.experiments.baselines import Baselines
from serving.experiments.lifecycle import Start, Stop
from serving.experiments.recent_standings import RecentStandings
from serving.experiments.roles import Actor, add_key, new_key
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from serving.problems import add_problem_handlers
from streams.experiments.aggregates import Aggregate, encode_sums
from streams.experiments.definition import Plan
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.experiments.tables import aggregates_table
from streams.settings import Settings
from streams.stores.sql import writing
from tests.serving.experiments.aggregated import DAY, arm, moments_of, poisson, two_arms
from tests.serving.experiments.reports import DAY_MS, START_MS, definition_of

NOW_MS = START_MS + 10 * DAY_MS
EDITOR = Actor("ann", "editor")


class Bench:
    """The routes of experiments over a database, at a time of one's own."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self.engine = engine
        self.now_ms = NOW_MS
        self.store = ExperimentStore(engine, lambda version: None)
        self.key = new_key()
        add_key(engine, self.key, "ben", "approver", 1)
        app = FastAPI()
        self.asked: list[float] = []
        app.state.services = SimpleNamespace(
            sql=engine,
            settings=settings,
            clock_ms=lambda: self.now_ms,
            blobs=None,
            baselines=Baselines(self.past),
            standings=RecentStandings(Standings(engine)),
        )
        add_problem_handlers(app)
        for module in (experiments, experiment_results):
            app.include_router(module.router)
        self._transport = httpx.ASGITransport(app)

    def start(self) -> None:
        self.store.create(definition_of(), EDITOR, START_MS)
        self.store.act("rows", Start(), EDITOR, START_MS, random.Random(1))

    def stop(self) -> None:
        self.store.act("rows", Stop("enough"), EDITOR, self.now_ms, random.Random(1))

    def past(self, metric: Metric, days: float, *_: int) -> tuple[Moments, float]:
        self.asked.append(days)
        if metric.measure.types == ("skip",):
            return Moments(), 0.0
        return moments_of(poisson(np.random.default_rng(5), 2.0, 5_000)), 500.0

    def design(self, status: int = 200, query: str = "", **changes: Any) -> Any:
        answer = self.call("POST", f"design{query}", msgspec.to_builtins(definition_of(**changes)))
        assert answer.status_code == status, answer.text
        return answer.json()

    def count(self, aggregates: list[Aggregate]) -> None:
        """Put aggregates where the agent puts them."""
        with writing(self.engine) as connection:
            connection.execute(sa.delete(aggregates_table))
            for cell, sums in aggregates:
                row = {"experiment": "rows", "partition": 0, **cell._asdict(), "value": encode_sums(sums)}
                connection.execute(sa.insert(aggregates_table).values(row))

    def call(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}

        async def called() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://marquee") as client:
                return await client.request(method, f"/v1/experiments/{path}", json=body, headers=headers)

        return asyncio.run(called())

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def decide(self, status: int = 200, **body: str) -> Any:
        answer = self.call("POST", "rows/decide", body, self.key)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def bench(tmp_path: Path, sql_engine: sa.Engine) -> Bench:
    return Bench(sql_engine, Settings(state=tmp_path))


def test_an_experiment_without_data_has_results_that_say_so(bench: Bench) -> None:
    bench.start()
    found = bench.get("rows/results")
    assert found["decision"]["verdict"] == "continue"
    assert found["report"]["members"] == 0
    assert found["report"]["data_ms"] is None
    assert "cannot be said yet" in found["report"]["metrics"][0]["effects"][0]["sentence"]
    assert bench.get("rows/results/history") == {"looks": []}
    assert bench.get("rows/exposures") == {"days": [], "data_ms": None}


def test_results_have_every_number_with_its_interval_p_value_members_and_sentence(bench: Bench) -> None:
    bench.start()
    bench.count(two_arms(1, 20_000, plays=2.2, skips=0.8))
    found = bench.get("rows/results")
    effect = found["report"]["metrics"][0]["effects"][0]
    assert effect["outcome"] == "better"
    assert effect["effect"]["low"] < effect["effect"]["difference"] < effect["effect"]["high"]
    assert effect["effect"]["p_value"] < 0.001
    assert effect["effect"]["n_control"] == effect["effect"]["n_treatment"] == 20_000
    assert effect["sentence"] in found["decision"]["reasons"]
    assert (found["decision"]["verdict"], found["decision"]["variant"]) == ("ship", "b")
    assert found["report"]["guardrails"][0]["harm"] == "safe"


def test_looks_are_shown_oldest_first_of_one_metric_if_asked_for(bench: Bench) -> None:
    bench.start()
    for day in (3, 4):
        bench.count(two_arms(day, day * 1_000))
        Standings(bench.engine).take_look(bench.store.read("rows"), START_MS + day * DAY_MS)
    looks = bench.get("rows/results/history")["looks"]
    assert [look["members"] for look in looks] == [6_000, 8_000]
    assert {effect["metric"] for effect in looks[0]["effects"]} == {"plays", "skips"}
    of_one = bench.get("rows/results/history?metric=skips")["looks"]
    assert [effect["metric"] for look in of_one for effect in look["effects"]] == ["skips", "skips"]


def test_reading_results_keeps_no_look(bench: Bench) -> None:
    bench.start()
    bench.count(two_arms(2, 5_000))
    bench.get("rows/results")
    assert bench.get("rows/results/history") == {"looks": []}


def test_exposures_are_shown_by_day_and_variant_with_degraded_and_crossed(bench: Bench) -> None:
    bench.start()
    ten = {"plays": moments_of(poisson(np.random.default_rng(3), 2.0, 10))}
    bench.count(
        [
            arm("a", ten, crossed=2),
            arm("a", ten, segment="country=US"),
            arm("a", ten, stratum="degraded", crossed=1),
            arm("b", ten),
        ]
    )
    days = bench.get("rows/exposures")["days"]
    assert days == [
        {"day": DAY, "variant": "a", "members": 20, "degraded": 10, "crossed": 3},
        {"day": DAY, "variant": "b", "members": 10, "degraded": 0, "crossed": 0},
    ]


def test_a_decision_is_the_rules_unless_a_reason_is_given(bench: Bench) -> None:
    bench.start()
    bench.count(two_arms(4, 20_000, plays=2.2, skips=0.8))
    bench.stop()
    assert "the rules say ship" in bench.decide(422, verdict="do_not_ship")["detail"]
    decided = bench.decide()
    assert (decided["verdict"], decided["status"]) == ("ship", "decided")
    assert "plays with b" in decided["reasons"][0]
    assert [look["verdict"] for look in bench.get("rows/results/history")["looks"]] == ["ship"]


def test_a_decision_against_the_rules_is_marked_as_such(bench: Bench) -> None:
    bench.start()
    bench.stop()
    decided = bench.decide(verdict="do_not_ship", reason="we have changed our minds")
    assert decided["verdict"] == "do_not_ship"
    assert decided["reasons"][0] == "overridden: we have changed our minds"


def test_an_experiment_that_is_not_there_is_told_so(bench: Bench) -> None:
    for path in ("results", "results/history", "exposures"):
        assert bench.get(f"nothing/{path}", 404)["field"] == "id"


def test_where_reading_is_closed_a_key_of_any_role_is_wanted(tmp_path: Path, sql_engine: sa.Engine) -> None:
    bench = Bench(sql_engine, Settings(state=tmp_path, open_reads=False))
    bench.start()
    viewer = new_key()
    add_key(sql_engine, viewer, "vic", "viewer", 1)
    for path in ("results", "results/history", "exposures"):
        bench.get(f"rows/{path}", 401)
        assert bench.call("GET", f"rows/{path}", key=viewer).status_code == 200


def test_a_design_says_how_long_the_effect_takes_from_the_metric_s_own_past(bench: Bench) -> None:
    found = bench.design(mde=0.05)
    assert found["baseline"]["mean"] == pytest.approx(2.0, abs=0.1)
    assert found["baseline"]["members_a_day"] == 500.0
    assert 7 < found["days"] < 60
    assert found["curve"][0]["power"] < found["curve"][-1]["power"]
    assert f"{found['members']:,}" in found["sentence"]
    assert bench.design(mde=0.1)["members"] < found["members"]
    assert bench.asked == [28.0]


def test_a_past_is_read_anew_once_it_is_old(bench: Bench) -> None:
    for later_ms in (0, 599_999, 600_000):
        bench.now_ms = NOW_MS + later_ms
        bench.design()
    assert bench.asked == [28.0, 28.0]


def test_what_is_given_takes_the_place_of_the_past(bench: Bench) -> None:
    assert bench.design(query="?members_a_day=5000")["baseline"]["members_a_day"] == 5_000
    bench.asked.clear()
    given = bench.design(query="?mean=0.1&variance=0.09&members_a_day=100")
    assert given["baseline"] == {"mean": 0.1, "variance": 0.09, "members_a_day": 100, "correlation": 0}
    assert bench.asked == []


def test_a_design_of_a_draft_wants_only_what_it_is_reckoned_from(bench: Bench) -> None:
    plan = Plan("group_sequential")
    assert bench.design(hypothesis="", owner="", id="No Id", plan=plan)["inflation"] > 1
    assert bench.design(422, mde=0.0)["field"] == "mde"
    assert bench.design(422, primary="none")["field"] == "primary"
    assert bench.design(422, plan=Plan(alpha=2.0))["field"] == "plan.alpha"
    assert bench.design(422, query="?variance=-1")["field"] == "variance"
    assert "no baseline" in bench.design(422, primary="skips", guardrails=())["detail"]


def test_a_decision_that_comes_too_early_takes_no_look(bench: Bench) -> None:
    bench.start()
    bench.count(two_arms(1, 2_000))
    assert "running" in bench.decide(409)["fix"]
    assert bench.get("rows/results/history") == {"looks": []}

"""What pages of experiments show of results, in a real Chromium: real aggregates and looks in a real database."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from playwright.sync_api import expect

from serving.models.aliases import set_alias
from streams.experiments.definition import Definition, Guardrail, Patch, Plan, Variant
from streams.experiments.metric import Measure, Metric
from streams.settings import Settings
from streams.stores.sql import open_sql
from tests.serving import tiny_model
from tests.serving.api.experiment_pages.opened import Api, Pages
from tests.serving.api.experiment_pages.past import Crowd, lived_through
from tests.serving.platform import now_ms

pytestmark = pytest.mark.browser

METRICS = (
    Metric("plays_per_member", "count", Measure(("play",)), cap=100.0),
    Metric("completion_ratio", "ratio", Measure(("complete",)), per=Measure(("play",))),
    Metric("skips_per_member", "count", Measure(("skip",)), direction="decrease"),
)
PLAN = Plan(min_days=2.0, min_members=1_000)


def definition(name: str, plan: Plan = PLAN) -> Definition:
    return Definition(
        id=name,
        hypothesis="Longer pages make members play more",
        owner="ann",
        variants=(Variant("control", 0.5), Variant("long", 0.5, Patch(params={"genre_rows": 6.0}))),
        metrics=METRICS,
        primary="plays_per_member",
        mde=0.05,
        secondary=("completion_ratio",),
        guardrails=(Guardrail("skips_per_member", 0.05),),
        layer="pages",
        traffic=0.2,
        plan=plan,
    )


@pytest.fixture(scope="module", autouse=True)
def past(settings: Settings, url: str) -> Iterator[sa.Engine]:
    """A winner, one without any effect yet, and one whose log loses exposures, each with some days behind it."""
    sql = open_sql(settings)
    winner = Crowd(1, lift={"long": (1.4, 0.8)})
    lived_through(sql, definition("winner"), winner, now_ms(), days=4, looks=12, members=200)
    lived_through(sql, definition("too-early", Plan(min_days=7.0)), Crowd(2), now_ms(), days=1, looks=3, members=50)
    lossy = Crowd(3, lost={"long": 0.4})
    lived_through(sql, definition("lossy"), lossy, now_ms(), days=3, looks=3, members=500)
    yield sql
    sql.dispose()


def test_a_winner_is_said_to_be_one_with_its_reasons_and_numbers(open_page: Pages) -> None:
    page = open_page("/experiments/winner")
    expect(page.locator(".verdict")).to_have_text("Ship it: long")
    expect(page.locator(".reasons")).to_contain_text("plays_per_member")
    expect(page.locator("#metrics")).to_contain_text("Plays per member")
    expect(page.locator("#metrics .good circle").first).to_be_visible()
    expect(page.get_by_role("heading", name="Guardrails")).to_be_visible()
    expect(page.locator("#metrics .tag.good")).to_have_text("safe")
    expect(page.locator("#warnings")).to_be_empty()
    expect(page.locator("#summary")).to_contain_text("4.0 days")
    expect(page.get_by_text("exploratory")).to_be_visible()
    expect(page.get_by_text("country: US")).to_be_hidden()


def test_results_over_time_are_drawn_and_can_be_read_without_seeing_them(open_page: Pages) -> None:
    page = open_page("/experiments/winner")
    band = page.locator("#over-time-plot path.band")
    expect(band).to_be_visible()
    assert str(band.get_attribute("d")).count("L") == 2 * 12 - 1
    expect(page.get_by_role("img", name="Effect on plays per member over time")).to_be_visible()
    page.locator("#over-time-plot").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#over-time-plot .tip")).to_contain_text("long: +")
    page.locator("#over-time-numbers summary").click()
    expect(page.locator("#over-time-numbers tbody tr")).to_have_count(12)
    page.locator("#exposures-numbers summary").click()
    days = page.locator("#exposures-numbers tbody tr")
    shown = sum(int(text.replace(",", "")) for text in days.locator("td").all_inner_texts())
    assert 2_350 < shown < 2_401


def test_arms_that_are_not_comparable_are_said_to_be_so_above_all_numbers(open_page: Pages) -> None:
    page = open_page("/experiments/lossy")
    expect(page.get_by_role("alert").first).to_contain_text("The arms are not comparable")
    expect(page.locator(".verdict")).to_have_text("Inconclusive")
    listed = open_page("/experiments")
    expect(listed.locator("[data-experiment=lossy] .tag.warn")).to_have_text("shares are off")


def test_the_list_shows_effect_interval_members_and_days(open_page: Pages) -> None:
    page = open_page("/experiments")
    line = page.locator("[data-experiment=winner]")
    expect(line.locator("svg circle")).to_be_visible()
    expect(line).to_contain_text(" % to +")
    expect(line).to_contain_text("4.0")
    expect(line.get_by_text("running")).to_be_visible()


def test_an_experiment_goes_from_its_results_to_shipped_and_back(open_page: Pages, api: Api) -> None:
    api.act("winner", "stop", reason="it is clear")
    page = open_page("/experiments/winner", "approver")
    page.get_by_role("button", name="Decide").click()
    expect(page.locator("#ask")).to_contain_text("say: ship it")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("decided")
    page.get_by_role("button", name="Ship", exact=True).click()
    expect(page.locator("#ask")).to_contain_text("long: genre_rows 6")
    page.locator("#ask-reason").fill("members play more")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("promoted")
    page.get_by_role("button", name="Undo shipping").click()
    page.locator("#ask-reason").fill("it was too slow on old devices")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("decided")
    page.get_by_role("button", name="Archive").click()
    page.locator("#ask-reason").fill("written up")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("archived")
    expect(page.locator(".verdict")).to_contain_text("Ship it")


def test_another_variant_than_the_best_is_shipped_only_after_a_second_question(
    open_page: Pages, api: Api, past: sa.Engine
) -> None:
    arms = (*definition("two-good").variants, Variant("longer", 0.5, Patch(params={"genre_rows": 7.0})))
    two = replace(definition("two-good"), variants=tuple(replace(arm, weight=1 / 3) for arm in arms))
    crowd = Crowd(4, lift={"long": (1.4, 0.8), "longer": (2.0, 0.8)})
    lived_through(past, two, crowd, now_ms(), days=4, looks=1, members=3_000)
    api.act("two-good", "stop", reason="it is clear")
    api.act("two-good", "decide")
    page = open_page("/experiments/two-good", "approver")
    expect(page.locator(".verdict")).to_have_text("Ship it: longer")
    page.get_by_role("button", name="Ship", exact=True).click()
    expect(page.locator("#ask-variant")).to_have_value("longer")
    page.locator("#ask-variant").select_option("long")
    page.locator("#ask-reason").fill("shorter pages are cheaper")
    page.locator("#ask-confirm").click()
    expect(page.locator("#ask")).to_contain_text("the rules found longer best, not long.")
    page.locator("#ask-form button[value=cancel]").click()
    expect(page.locator("#status")).to_have_text("decided")
    assert api.read("two-good")["status"] == "decided"
    page.get_by_role("button", name="Ship", exact=True).click()
    page.locator("#ask-variant").select_option("long")
    page.locator("#ask-reason").fill("shorter pages are cheaper")
    page.locator("#ask-confirm").click()
    expect(page.locator("#ask-title")).to_have_text("Something stands against it")
    expect(page.locator("#ask-reason")).to_have_value("shorter pages are cheaper")
    page.locator("#ask-reason").fill("longer costs twice as much")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("promoted")
    expect(page.locator("#audit")).to_contain_text("override: variant")
    expect(page.locator("#audit")).to_contain_text("longer costs twice as much")
    api.act("two-good", "undo", reason="only tested")


def test_the_model_that_an_alias_named_at_the_start_is_shown(open_page: Pages, api: Api, past: sa.Engine) -> None:
    tiny_model.register(past, "1" * 64)
    set_alias(past, "candidate", "1" * 64, "trained", now_ms())
    arms = (Variant("control", 0.5), Variant("new", 0.5, Patch(model="candidate")))
    api.draft("models", variants=msgspec.to_builtins(arms), traffic=0.001)
    page = open_page("/experiments/models")
    expect(page.locator("#definition")).not_to_contain_text("as at the start")
    api.act("models", "start")
    api.act("models", "stop", reason="only tested")
    expect(page.locator("#definition")).to_contain_text("candidate is 111111111111: as at the start")


def test_who_may_not_ship_is_not_offered_it(open_page: Pages, api: Api) -> None:
    api.act("too-early", "stop", reason="tested")
    page = open_page("/experiments/too-early", "editor")
    expect(page.locator("#actions")).to_contain_text("Decide: needs the key of an approver")
    expect(page.get_by_role("button", name="Decide")).to_have_count(0)

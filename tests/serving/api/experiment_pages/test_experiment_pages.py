"""The pages of experiments in a real Chromium, against a real process: drafting, acting, who may do what."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from playwright.sync_api import Route, expect

from serving.models.aliases import set_alias
from streams.settings import Settings
from streams.stores.sql import open_sql
from tests.serving import tiny_model
from tests.serving.api.conftest import lengthen_trail
from tests.serving.api.experiment_pages.opened import Api, Pages

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> makes members play more'


def test_an_empty_list_says_what_to_do(open_page: Pages) -> None:
    page = open_page("/experiments")
    expect(page.locator("#list")).to_contain_text("No experiment yet")
    page.get_by_role("link", name="Write the first one").click()
    expect(page).to_have_url(f"{page.url.split('/experiments')[0]}/experiments/new")
    expect(page.get_by_label("Pages").locator("[aria-current=page]")).to_have_text("New experiment")


def test_a_product_manager_drafts_an_experiment(open_page: Pages, api: Api) -> None:
    page = open_page("/experiments/new", "editor")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.locator("#f-hypothesis")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-problem=hypothesis]")).to_contain_text("write 1 to")
    page.get_by_label("Hypothesis").fill("Longer pages make members play more")
    page.get_by_label("Id", exact=True).fill("longer-pages")
    page.get_by_label("Owner").fill("ann")
    expect(page.locator("#check")).to_contain_text("Everything is in order")
    page.get_by_label("Completion ratio: primary").check()
    page.get_by_label("Plays per member: secondary").check()
    page.get_by_label("Skips per member: guardrail").check()
    page.get_by_label("Skips per member: worse by up to").fill("3")
    page.locator("#f-variants-1-key").fill("long")
    page.get_by_text("Rows, cache, page parameters").nth(1).click()
    page.get_by_role("button", name="Set a page parameter").click()
    page.locator("#f-variants-1-patch-params-0-name").fill("genre_rows")
    page.locator("#f-variants-1-patch-params-0-value").fill("6")
    page.get_by_label("Layer").fill("home")
    page.locator("#f-mde").fill("2.5")
    written = json.loads(page.locator("#json").inner_text())
    expect(page.locator("#check")).to_contain_text("Everything is in order")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.locator("h1")).to_have_text("longer-pages")
    expect(page.locator("#status")).to_have_text("draft")
    saved = api.read("longer-pages")["definition"]
    assert saved["primary"] == "completion_ratio"
    assert saved["guardrails"] == [{"metric": "skips_per_member", "max_harm": 0.03, "stops": True}]
    assert saved["variants"][1]["patch"]["params"] == {"genre_rows": 6.0}
    assert (saved["mde"], saved["layer"]) == (0.025, "home")
    assert (written["primary"], written["mde"]) == ("completion_ratio", 0.025)


def test_each_problem_stands_at_the_field_that_it_is_of(open_page: Pages) -> None:
    page = open_page("/experiments/new", "editor")
    page.get_by_role("button", name="Add a variant").click()
    page.locator("#f-variants-2-weight").fill("50")
    page.locator("#f-variants-1-patch-model").fill("nobody")
    page.get_by_label("Id", exact=True).fill("Not an id")
    page.get_by_role("button", name="Define another metric").click()
    page.locator("#f-custom-0-name").fill("No name")
    expect(page.locator("[data-problem='variants.1.patch.model']")).to_contain_text("there is no model")
    expect(page.locator("[data-problem=variants]")).to_contain_text("sum to 1")
    expect(page.locator("[data-problem=id]")).to_contain_text("lower-case")
    expect(page.locator("[data-problem='custom.0.name']")).to_contain_text("lower-case")
    page.locator("#check").get_by_text("Treatment 1, model").click()
    expect(page.locator("#f-variants-1-patch-model")).to_be_focused()


def test_a_late_answer_to_an_earlier_question_is_dropped(open_page: Pages) -> None:
    page = open_page("/experiments/new", "editor")
    expect(page.locator("#check")).to_contain_text("2 things are missing")
    held: list[Route] = []
    page.route("**/v1/experiments/validate", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/v1/experiments/validate"):
        page.get_by_role("button", name="Save as draft").click()
    for label, words in (("Hypothesis", "It helps"), ("Owner", "ann")):
        page.get_by_label(label).fill(words)
    page.get_by_label("Id", exact=True).fill("late")
    expect(page.locator("#check")).to_contain_text("Everything is in order")
    with page.expect_response("**/v1/experiments/validate"):
        held[0].continue_()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#check")).to_contain_text("Everything is in order")


def test_the_form_says_how_long_it_takes_as_one_writes(open_page: Pages) -> None:
    page = open_page("/experiments/new", "editor")
    page.get_by_text("Reckon with other numbers").click()
    for label, number in (("Mean of a member", "2"), ("Standard deviation", "3"), ("New members a day", "20000")):
        page.get_by_label(label).fill(number)
    for label, words in (("Hypothesis", "It helps"), ("Owner", "ann")):
        page.get_by_label(label).fill(words)
    page.get_by_label("Id", exact=True).fill("how-long")
    expect(page.locator("#needs")).to_contain_text("Needs about")
    expect(page.get_by_role("img", name="Power against duration")).to_be_visible()
    expect(page.locator("#design-note")).to_contain_text("20,000 new members a day")
    needs = page.locator("#needs").inner_text()
    page.locator("#f-mde").fill("0.8")
    expect(page.locator("#needs")).not_to_have_text(needs)


def test_a_key_is_kept_in_the_tab_alone_and_says_what_one_may_do(
    open_page: Pages, api: Api, keys: dict[str, str]
) -> None:
    api.draft("signing-in")
    page = open_page("/experiments/signing-in")
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Sign in to act").click()
    page.get_by_label("Your key").fill("mq_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-problem")).to_contain_text("not known")
    page.get_by_label("Your key").fill(keys["editor"])
    page.keyboard.press("Enter")
    expect(page.locator("#role")).to_have_text("editor")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    assert keys["editor"] not in page.url
    assert page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0


def test_an_experiment_is_started_ramped_and_stopped_with_a_reason(open_page: Pages, api: Api) -> None:
    api.draft("acted-on", traffic=0.5)
    page = open_page("/experiments/acted-on", "editor")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("running")
    page.get_by_role("button", name="Ramp up").click()
    page.locator("#ask-traffic").fill("80")
    page.locator("#ask-confirm").click()
    expect(page.locator("#head")).to_contain_text("80 % of all members")
    page.get_by_role("button", name="Stop").click()
    page.locator("#ask-confirm").click()  # a reason is required: nothing happens without
    expect(page.locator("#ask")).to_be_visible()
    page.locator("#ask-reason").fill("members wrote to us")
    page.locator("#ask-confirm").click()
    expect(page.locator("#status")).to_have_text("stopped")
    expect(page.locator("#audit")).to_contain_text("members wrote to us")
    expect(page.locator("#actions")).to_contain_text("Decide: needs the key of an approver")
    assert api.read("acted-on")["traffic"] == 0.8


def test_of_a_long_audit_trail_the_newest_is_shown_and_where_all_of_it_is(
    open_page: Pages, api: Api, settings: Settings
) -> None:
    api.draft("long-trail")
    lengthen_trail(settings, "long-trail", 150)
    page = open_page("/experiments/long-trail")
    expect(page.locator("#audit tbody tr")).to_have_count(100)
    expect(page.locator("#audit tbody tr").first).to_contain_text("edit 149")
    expect(page.locator("#audit")).to_contain_text("marquee experiments audit long-trail")


def test_who_comes_second_is_told_who_was_first(open_page: Pages, api: Api) -> None:
    api.draft("contested")
    page = open_page("/experiments/contested", "editor")
    page.get_by_role("button", name="Start", exact=True).click()
    api.act("contested", "start")
    page.locator("#ask-confirm").click()
    expect(page.locator("#warnings")).to_contain_text("Somebody changed this experiment")
    expect(page.locator("#warnings")).to_contain_text("You saw revision 1, it is 2 now")
    expect(page.locator("#warnings")).to_contain_text("approver-")
    expect(page.locator("#status")).to_have_text("running")
    api.act("contested", "stop", reason="tested")


def test_a_started_experiment_is_edited_in_its_words_alone(open_page: Pages, api: Api) -> None:
    api.draft("reworded")
    api.act("reworded", "start")
    page = open_page("/experiments/reworded", "editor")
    page.get_by_role("button", name="Edit").click()
    expect(page.locator("#f-mde")).to_be_disabled()
    page.get_by_label("Hypothesis").fill("Better said")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#hypothesis")).to_have_text("Better said")


def test_an_edit_that_comes_second_overwrites_nothing(open_page: Pages, api: Api) -> None:
    api.draft("edited-twice")
    first, second = (open_page("/experiments/new?edit=edited-twice", "editor") for _ in range(2))
    for page, words in ((first, "First words"), (second, "Second words")):
        expect(page.get_by_label("Id", exact=True)).to_have_value("edited-twice")
        page.get_by_label("Hypothesis").fill(words)
    first.get_by_role("button", name="Save").click()
    expect(first.locator("#hypothesis")).to_have_text("First words")
    second.get_by_role("button", name="Save").click()
    expect(second.locator("#notice")).to_contain_text("Nothing of yours was saved")
    assert api.read("edited-twice")["definition"]["hypothesis"] == "First words"


def test_an_id_that_is_taken_is_said_at_the_id(open_page: Pages, api: Api) -> None:
    api.draft("taken")
    page = open_page("/experiments/new?copy=taken", "editor")
    page.get_by_label("Id", exact=True).fill("taken")
    expect(page.locator("#check")).to_contain_text("in order")
    page.get_by_role("button", name="Save as draft").click()
    expect(page.locator("[data-problem=id]")).to_contain_text("already")


def test_a_page_follows_what_happens_and_leaves_the_reader_where_they_are(open_page: Pages, api: Api) -> None:
    api.draft("followed")
    page = open_page("/experiments/followed", "editor")
    summary = page.get_by_text("The definition as JSON")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#definition pre")).to_be_visible()
    api.act("followed", "start")
    expect(page.locator("#status")).to_have_text("running")
    expect(page.locator("#audit")).to_contain_text("start")
    expect(page.locator("#definition pre")).to_be_visible()
    expect(summary).to_be_focused()


def test_what_an_owner_writes_stays_text(open_page: Pages, api: Api) -> None:
    variants = [{"key": "a", "weight": 0.5, "description": HOSTILE}, {"key": "b", "weight": 0.5, "value": HOSTILE}]
    api.draft("hostile", hypothesis=HOSTILE, owner=HOSTILE[:100], variants=variants, forced={"<b>x</b>": "a"})
    api.act("hostile", "start")
    api.act("hostile", "stop", reason=HOSTILE)
    page = open_page("/experiments/hostile", "approver")
    expect(page.locator("#hypothesis")).to_have_text(HOSTILE)
    expect(page.locator("#audit")).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Hypothesis")).to_have_value(HOSTILE)
    listed = open_page("/experiments")
    expect(listed.locator("[data-experiment=hostile]")).to_contain_text("<img src=x")
    for shown in (page, listed):
        assert shown.locator("main img, main script, main b:has-text('x')").count() == 0


def test_the_list_is_filtered_by_status_and_goes_back(open_page: Pages, api: Api) -> None:
    api.draft("filtered")
    page = open_page("/experiments")
    expect(page.locator("[data-experiment=filtered]")).to_be_visible()
    page.locator("[data-status=stopped]").click()
    expect(page.locator("[data-experiment=filtered]")).to_have_count(0)
    assert page.url.endswith("?status=stopped")
    page.go_back()
    expect(page.locator("[data-experiment=filtered]")).to_be_visible()


def test_pages_work_by_keyboard_and_on_a_narrow_screen(open_page: Pages, api: Api) -> None:
    api.draft("small")
    for path in ("/experiments", "/experiments/small", "/experiments/new"):
        page = open_page(path, "editor", viewport={"width": 360, "height": 740}, color_scheme="light")
        expect(page.locator("#role")).to_be_visible()
        page.wait_for_selector("main .panel:visible")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the content"
    page = open_page("/experiments/small", "editor")
    page.get_by_role("button", name="Start", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ask-confirm")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("draft")


def test_pages_allow_no_script_but_their_own_and_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/experiments", "/experiments/new", "/experiments/any-one", "/static/experiments/dom.js"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
    assert client.get("/static/experiments/..%2Findex.html").status_code == 404
    assert client.get("/static/experiments/none.js").status_code == 404


def test_the_form_is_offered_models_that_have_an_alias_though_none_serves_by_it(
    client: httpx.Client, settings: Settings
) -> None:
    engine = open_sql(settings)
    tiny_model.register(engine, "c" * 64)
    set_alias(engine, "challenger", "c" * 64, "trained", 1)
    engine.dispose()
    assert "challenger" in client.get("/static/experiments/vocabulary.json").json()["models"]


def test_pages_have_one_shell_with_their_own_title_and_script(client: httpx.Client) -> None:
    pages = [client.get(path).text for path in ("/experiments", "/experiments/new", "/experiments/any-one")]
    heads = [re.sub(r"<title>.*</title>", "", page.partition("<main ")[0]) for page in pages]
    assert heads[0] == heads[1] == heads[2]
    titles = [re.findall(r"<title>(.*)</title>", page) for page in pages]
    assert titles == [["Experiments · Marquee"], ["New experiment · Marquee"], ["Experiment · Marquee"]]
    scripts = [re.findall(r'src="/static/experiments/(.*)"', page) for page in pages]
    assert scripts == [["list_page.js"], ["new_page.js"], ["one_page.js"]]
    for part in ("shell.html", "one.html"):
        assert client.get(f"/static/experiments/{part}").status_code == 404, "a part of a page is none"


def test_an_experiment_that_is_not_there_is_said_to_be_so(open_page: Pages) -> None:
    page = open_page("/experiments/nowhere")
    expect(page.locator("h1")).to_have_text("There is no such experiment")


def test_the_homepage_leads_to_experiments(client: httpx.Client) -> None:
    assert 'href="/experiments"' in client.get("/").text

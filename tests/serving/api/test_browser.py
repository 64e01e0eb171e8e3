"""The demonstration page in a real Chromium, against real processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("agents")]


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Page]:
    if CHROMIUM is None:
        if os.environ.get("MARQUEE_REQUIRE_ENGINES") == "1":
            pytest.fail("Chromium is not installed, and MARQUEE_REQUIRE_ENGINES=1 asks for it")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(10_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}/?member_id=ann")
        yield page
        browser.close()
        assert errors == []


def test_a_members_homepage_is_shown_with_reasons_and_freshness(page: Page) -> None:
    expect(page.locator("#freshness")).to_contain_text("fresh")
    expect(page.locator("section").first).to_be_visible()
    assert page.locator("section").count() >= 3
    assert all(text.strip() for text in page.locator(".why").all_inner_texts())


@pytest.mark.parametrize("action", ["play", "like", "skip"])
def test_acting_on_a_title_changes_the_homepage_before_the_eye(page: Page, action: str) -> None:
    freshness = page.locator("#freshness").inner_text()
    card = page.locator(".card").nth(2)
    item = card.get_attribute("data-item")
    card.locator(f"button.{action}").click()
    expect(page.locator("#change")).to_contain_text("the homepage changed")
    expect(page.locator("#freshness")).not_to_have_text(freshness)
    if action == "skip":
        expect(page.locator(f".card[data-item='{item}']")).to_have_count(0)


def test_a_title_says_why_it_is_there_and_another_why_not(page: Page) -> None:
    page.locator(".card .ask").first.click()
    expect(page.locator("#why-body p").first).to_be_visible()
    page.locator("#absent-item").fill("nowhere")
    page.locator("#absent button").click()
    expect(page.locator("#why-body")).to_contain_text("catalogue")
    page.keyboard.press("Escape")


def test_another_member_can_be_picked(page: Page) -> None:
    page.locator("#member").fill("ben")
    page.locator("#picker button[type=submit]").click()
    expect(page.locator("#features")).to_have_attribute("href", "/v1/members/ben/features")


def test_ids_that_look_like_markup_stay_text(page: Page) -> None:
    page.locator("#member").fill("<img src=x onerror=alert(1)>")
    page.locator("#picker button[type=submit]").click()
    expect(page.locator("#freshness")).to_contain_text("no events yet")
    assert page.locator("img").count() == 0

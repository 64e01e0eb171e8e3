from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from streams.settings import Settings
from tests.serving.api.conftest import make_key
from tests.serving.api.experiment_pages.opened import Api, Pages, running_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def keys(settings: Settings, url: str) -> dict[str, str]:
    """A key of each role, on the running platform."""
    return {role: make_key(settings, role) for role in ("viewer", "editor", "approver")}


@pytest.fixture
def open_page(browser: Browser, url: str, keys: dict[str, str]) -> Iterator[Pages]:
    """Opens pages, and fails the test for what a page complained of."""
    pages = Pages(browser, url, keys)
    yield pages
    pages.close()
    assert pages.complaints == []


@pytest.fixture(scope="module")
def api(url: str, keys: dict[str, str]) -> Iterator[Api]:
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {keys['approver']}"}, timeout=10) as client:
        yield Api(client)

"""Pages of experiments as a person opens them in a real Chromium, and experiments as the REST API makes them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

from tests.serving.api.test_browser import ARGUMENTS, CHROMIUM


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """Yield the machine's Chromium; skip the test without one, unless engines are required."""
    if CHROMIUM is None:
        if os.environ.get("MARQUEE_REQUIRE_ENGINES") == "1":
            pytest.fail("Chromium is not installed, and MARQUEE_REQUIRE_ENGINES=1 asks for it")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Pages:
    """Opens pages of the platform. complaints: errors of scripts and of the console, dialogs, and requests that went
    elsewhere; there should be none."""

    def __init__(self, browser: Browser, url: str, keys: dict[str, str]) -> None:
        self._browser = browser
        self._url = url
        self._keys = keys
        self._opened: list[Page] = []
        self.complaints: list[str] = []

    def __call__(self, path: str, role: str | None = None, **options: Any) -> Page:
        """Open a page, signed in with the key of a role; `options` are of the browser's context."""
        context = self._browser.new_context(**({"viewport": {"width": 1300, "height": 900}} | options))
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)
        page.on("dialog", self._asked)
        page.on("request", self._requested)
        if role is not None:
            page.add_init_script(f"sessionStorage.setItem('marquee.key', {json.dumps(self._keys[role])})")
        page.goto(f"{self._url}{path}")
        self._opened.append(page)
        return page

    def close(self) -> None:
        for page in self._opened:
            page.context.close()

    def _said(self, message: ConsoleMessage) -> None:
        """Answers with a problem are said on the console, too; the pages show them."""
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(f"{self._url}/"):
            self.complaints.append(f"request {request.url}")


class Api:
    """The REST API with an approver's key."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def draft(self, name: str, **changes: Any) -> None:
        """Draft an experiment with two variants."""
        definition = {
            "id": name,
            "hypothesis": "More genre rows make members play more",
            "owner": "ann",
            "variants": [{"key": "control", "weight": 0.5}, {"key": "long", "weight": 0.5, "value": "long"}],
            "metrics": [{"name": "plays_per_member", "kind": "count", "measure": {"types": ["play"]}}],
            "primary": "plays_per_member",
            "mde": 0.05,
        }
        answer = self._client.post("/v1/experiments", json=definition | changes)
        assert answer.status_code == 201, answer.text

    def act(self, name: str, action: str, **body: Any) -> None:
        answer = self._client.post(f"/v1/experiments/{name}/{action}", json=body)
        assert answer.status_code == 200, answer.text

    def read(self, name: str) -> dict[str, Any]:
        answer = self._client.get(f"/v1/experiments/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

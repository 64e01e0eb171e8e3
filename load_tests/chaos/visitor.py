"""Somebody who keeps asking for homepages while things die, and looks whether each answer is true."""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

PAUSE_S: Final = 0.02
TIMEOUT_S: Final = 30.0
"""A request that comes while serving is down waits in the socket's backlog until it is up again."""
MAX_UNTRUE: Final = 20
STEPS: Final = frozenset({"fresh", "stale", "precomputed", "popular"})


class Visitor(threading.Thread):
    """Asks for the homepages of `members` in turn until told to stop; counts what came.

    answers: by ladder step. degraded: by the first words of the reason given. cut: requests whose connection broke
    because the process that had them was killed; each is asked once more, as any client would. unanswered: those that
    got nothing the second time either. failed: answered, but not 200. untrue: answers that say something of themselves
    that is not so.
    """

    def __init__(self, url: str, members: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.cut = 0
        self.unanswered = 0
        self.failed: Counter[int] = Counter()
        self.untrue: list[str] = []
        self._url, self._members, self._rng = url, members, random.Random(seed)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Ask until stopped."""
        while not self._stop_asked.is_set():
            self._ask(self._rng.choice(self._members))
            time.sleep(PAUSE_S)

    def wait_for_a_fresh_page(self, timeout_s: float) -> None:
        """Wait for the next fresh page: whatever was struck, they come again. Raises RuntimeError if none does."""
        before, ends = self.answers["fresh"], time.monotonic() + timeout_s
        while self.answers["fresh"] == before:
            if time.monotonic() > ends:
                raise RuntimeError(f"no page was fresh again within {timeout_s:.0f} s: {dict(self.degraded)}")
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """Stop asking; return when the last answer is in."""
        self._stop_asked.set()
        self.join()

    def _ask(self, member: str) -> None:
        for last in (False, True):
            try:
                self._take(member, self._get(member))
            except urllib.error.HTTPError as error:
                self.failed[error.code] += 1
            except (OSError, ValueError, http.client.HTTPException):
                self.cut += not last
                self.unanswered += last
                continue
            return

    def _get(self, member: str) -> Mapping[str, Any]:
        query = urllib.parse.urlencode({"member_id": member})
        with urllib.request.urlopen(f"{self._url}/homepage?{query}", timeout=TIMEOUT_S) as answer:
            page: Mapping[str, Any] = json.load(answer)
            return page

    def _take(self, member: str, page: Mapping[str, Any]) -> None:
        served = page["served"]
        self.answers[served["step"]] += 1
        if served["degraded"]:
            self.degraded[re.split(r"[(:]", served["degraded"])[0].strip()] += 1
        wrong = find_untruth(member, page)
        if wrong and len(self.untrue) < MAX_UNTRUE:
            self.untrue.append(f"{member}: {wrong}: {served}")


def find_untruth(member: str, page: Mapping[str, Any]) -> str | None:
    """Return what an answer says of itself that cannot be so, None if there is nothing.

    Whether a fresh page was made from a state that the member had is told by its impression, afterwards.
    """
    served = page["served"]
    if page["member_id"] != member:
        return "somebody else's page"
    if served["step"] not in STEPS:
        return "no step of the ladder"
    if served["step"] != "fresh" and not served["degraded"]:
        return "a lower step without a reason"
    if served["step"] == "stale" and served["cache_age_ms"] is None:
        return "stale, but of no age"
    if served["step"] == "popular" and served["feature_position"]:
        return "popular, but made from the member's state"
    if not page["rows"] and served["step"] != "popular":
        return "no rows"
    return None

"""The realistic mix for Locust: `locust -f load_tests/locustfile.py --host http://127.0.0.1:8000`.

Locust is a closed loop (each user waits for the answer); `python -m load_tests` is the open one, and gives the verdict.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Any

from locust import HttpUser, between, task


class Member(HttpUser):
    """A member who looks at the homepage and plays something now and then."""

    wait_time = between(0.5, 2.0)

    def on_start(self) -> None:
        """Pick who this user is."""
        members = self.client.get("/v1/members?limit=1000", name="/v1/members").json()["members"]
        self.member_id = random.choice(members)
        self.page: dict[str, Any] = {}

    @task(10)
    def look(self) -> None:
        """Open the homepage."""
        answer = self.client.get("/homepage", params={"member_id": self.member_id}, name="/homepage")
        if answer.ok:
            self.page = answer.json()

    @task(2)
    def play(self) -> None:
        """Play a title that is on the page."""
        rows = self.page.get("rows") or []
        if not rows:
            return
        row = random.choice(rows)
        position = random.randrange(len(row["items"]))
        event = {
            "event_id": uuid.uuid4().hex,
            "type": "play",
            "member_id": self.member_id,
            "item_id": row["items"][position]["item_id"],
            "event_time_ms": int(time.time() * 1000),
            "page_id": self.page["served"]["page_id"],
            "row_id": row["row_id"],
            "position": position,
        }
        self.client.post("/v1/events", json=event, name="/v1/events")

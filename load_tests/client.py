"""The platform as a load test sees it: a few typed calls over one pool of connections."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from load_tests.open_loop import Outcome
from streams.positions import unpack_position
from streams.settings import Settings


@dataclass(frozen=True)
class Target:
    """A running platform and what may be asked of it. settings: those of its engines, None if they are not known."""

    session: aiohttp.ClientSession
    url: str
    members: Sequence[str]
    items: Sequence[str]
    settings: Settings | None = None

    async def homepage(self, member: str, device: str = "", country: str = "") -> dict[str, Any] | None:
        """Return a homepage, None if the answer is not 200."""
        query = (
            {"member_id": member} | ({"device": device} if device else {}) | ({"country": country} if country else {})
        )
        try:
            async with self.session.get(f"{self.url}/homepage", params=query) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def homepage_outcome(self, member: str, device: str = "", country: str = "") -> Outcome:
        """Ask for a homepage; count it by ladder step and cache."""
        page = await self.homepage(member, device, country)
        if page is None:
            return Outcome("homepage failed", False)
        served = page["served"]
        return Outcome(f"{served['step']}, cache {served['cache']}", True)

    async def send_event(self, member: str, item: str, kind: str = "play") -> tuple[int, int] | None:
        """Send one event; return (partition, offset), None if it was not accepted."""
        event = {
            "event_id": uuid.uuid4().hex,
            "type": kind,
            "member_id": member,
            "item_id": item,
            "event_time_ms": int(time.time() * 1000),
        }
        try:
            async with self.session.post(f"{self.url}/v1/events", json=event) as answer:
                if answer.status != 202:
                    return None
                result = (await answer.json())["results"][0]
                return result["partition"], result["offset"]
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def event_outcome(self, rng: random.Random) -> Outcome:
        """Send an event of any member; ok if it is accepted."""
        kind = rng.choice(("view", "click", "play", "complete", "like", "skip"))
        place = await self.send_event(rng.choice(self.members), rng.choice(self.items), kind)
        return Outcome("event accepted" if place else "event refused", place is not None)

    async def change_after_event(self, member: str, item: str, *, poll_s: float, timeout_s: float) -> float | None:
        """Send an event; return the seconds from its acceptance to a fresh homepage that includes it, None if never."""
        place = await self.send_event(member, item)
        if place is None:
            return None
        return await self.change_since(time.perf_counter(), member, place[1], poll_s=poll_s, timeout_s=timeout_s)

    async def change_since(
        self, since_s: float, member: str, offset: int, *, poll_s: float, timeout_s: float
    ) -> float | None:
        """Return the seconds from `since_s` to a fresh homepage that includes the event at an offset, None if never.

        It is asked for every `poll_s`, or a twentieth of the time that has passed: a platform that is late is not kept
        so by hundreds of questions a second.
        """
        while (passed_s := time.perf_counter() - since_s) < timeout_s:
            page = await self.homepage(member)
            if page and page["served"]["step"] == "fresh" and _offset(page) >= offset:
                return time.perf_counter() - since_s
            await asyncio.sleep(max(poll_s, passed_s / 20))
        return None


async def connect(session: aiohttp.ClientSession, url: str, settings: Settings | None = None) -> Target:
    """Return the target at `url`, with the members and titles that its own pages name."""
    async with session.get(f"{url}/v1/members", params={"limit": "1000"}) as answer:
        answer.raise_for_status()
        members = (await answer.json())["members"]
    items: set[str] = set()
    for member in members[:20]:
        async with session.get(f"{url}/homepage", params={"member_id": member}) as answer:
            items.update(item["item_id"] for row in (await answer.json())["rows"] for item in row["items"])
    if not members or not items:
        raise RuntimeError(f"{url} has no members with events yet: start it with data")
    return Target(session, url, members, sorted(items), settings)


def _offset(page: dict[str, Any]) -> int:
    return unpack_position(page["served"]["feature_position"])[1]

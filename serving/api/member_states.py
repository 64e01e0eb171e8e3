"""A member's packed state, from the hot store or else the durable one."""

from __future__ import annotations

import asyncio

from serving.services import Services
from streams.features.member import MEMBER


async def read_state(services: Services, member_id: str) -> tuple[bytes | None, str]:
    """Return a member's newest packed state that can be read, None for one without events, and the store it came from
    ("hot", "durable"). Raises TryAgain if none can say."""
    key = member_id.encode()
    look = await services.states.look(key)
    if look.value is not None:
        return look.value, "hot"
    return (await asyncio.to_thread(services.durable.get, MEMBER.name, [key]))[0], "durable"

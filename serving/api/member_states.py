"""A member's packed state, from the hot store or else the durable one."""

from __future__ import annotations

from serving.services import Services
from streams.errors import TryAgain
from streams.features.member import MEMBER


def read_state(services: Services, member_id: str) -> bytes | None:
    """Return the newest packed state that can be read, None for a member without events; see `read_state_from`."""
    return read_state_from(services, member_id)[0]


def read_state_from(services: Services, member_id: str) -> tuple[bytes | None, str]:
    """Return a member's packed state and the store it came from ("hot", "durable"). Raises TryAgain if none can say."""
    key = member_id.encode()
    try:
        found = services.hot.get(MEMBER.name, [key])[0]
    except TryAgain:
        found = None  # the durable store has what the hot one had
    if found is not None:
        return found, "hot"
    return services.durable.get(MEMBER.name, [key])[0], "durable"

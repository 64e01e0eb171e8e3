"""The topics of the platform (DESIGN section 3)."""

from __future__ import annotations

MEMBER_EVENTS = "member-events"
IMPRESSIONS = "impressions"
EXPOSURES = "exposures"
DEAD_LETTERS = "dead-letters"

ALL = (MEMBER_EVENTS, IMPRESSIONS, EXPOSURES, DEAD_LETTERS)

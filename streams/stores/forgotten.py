"""Where states of members lie, and where it is kept that a member was forgotten."""

from __future__ import annotations

from typing import Final

MEMBER_KINDS: Final = ("member", "precomputed")
"""The kinds of state whose key is a member id."""

FORGOTTEN: Final = "forgotten"
"""The kind that says, in the durable store, up to which position a member was forgotten: the log holds more of them for
a while, and states are built from it anew. A tombstone would say so only until the member comes back."""

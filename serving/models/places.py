"""How many models serving holds; apart from the models themselves, which need far more to be read."""

from __future__ import annotations

from typing import Final

MAX_MODELS: Final = 8
"""Models in memory at once, the champion among them; a large one takes some 100 MB."""

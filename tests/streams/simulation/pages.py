"""Pages as a serving process would answer them, made up of a generated catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from streams.catalogue import Title
from streams.simulation.behaviour import SeenHead, SeenPage, SeenRow, SeenTitle


def page_of(titles: Sequence[Title], page_id: str = "p1", rows: int = 6, width: int = 10) -> SeenPage:
    """Return a page with the first titles, row by row."""
    seen = [SeenTitle(title.item_id, title.title, title.genres) for title in titles[: rows * width]]
    return SeenPage(
        SeenHead(page_id, "fresh", "miss"),
        [
            SeenRow(f"row{r}", "top_picks" if r == 0 else "genre", seen[r * width : (r + 1) * width])
            for r in range(rows)
        ],
    )

"""Reasons: one sentence for a member why a row or a title is there. Pure text; what is true is decided elsewhere."""

from __future__ import annotations

from typing import Final

from streams.features.history import HistoryEntry

PICKED: Final = "Picked for you"
NEW: Final = "Hardly anyone has watched it yet"
TRY: Final = "Rarely shown so far: is it for you?"
CHANGE: Final = "For a change: is it for you?"
"""For when nothing has been shown much: then no title is rare."""

SPOKEN_COUNT: Final = 3
"""Fewer plays than this are no recommendation."""

_LIKED_STARS: Final = 4.0
_WATCHED_STARS: Final = 3.0
"""From here to below _LIKED_STARS a rating is no praise, only a sign of having watched."""
OFTEN_TITLES: Final = 5
"""Nobody does a thing often who has done it four times. Titles, as one of them makes several events."""

_VERBS: Final = {"like": "liked", "list_add": "saved", "complete": "finished"}


def verb(entry: HistoryEntry) -> str:
    """Return what the member did with a title they took to, in the past tense.

    >>> [verb(HistoryEntry("1", "rate", 0, stars)) for stars in (4.0, 3.5, 3.0, 2.5)]
    ['liked', 'watched', 'watched', 'rated']
    """
    if entry.type == "rate":
        stars = entry.value or 0.0
        return "liked" if stars >= _LIKED_STARS else "watched" if stars >= _WATCHED_STARS else "rated"
    return _VERBS.get(entry.type, "watched")


def because(entry: HistoryEntry, title: str) -> str:
    """Return why titles like one are shown.

    >>> because(HistoryEntry("1", "play", 0, None), "Toy Story")
    'Because you watched Toy Story'
    """
    return f"Because you {verb(entry)} {title}"


def done_when(entry: HistoryEntry, now_ms: int) -> str:
    """Return what the member did, and when.

    >>> done_when(HistoryEntry("1", "rate", 0, 4.5), 3 * 86_400_000)
    'You gave it 4.5 stars 3 days ago'
    """
    when = ago(now_ms - entry.event_time_ms)
    if entry.type == "rate" and entry.value is not None:
        return f"You gave it {entry.value:g} stars {when}"
    return f"You {verb(entry)} it {when}"


def ago(elapsed_ms: int) -> str:
    """Return how long ago something was, in the largest unit of which there is one.

    >>> ago(0), ago(90_000), ago(7_200_000), ago(400 * 86_400_000)
    ('just now', '1 minute ago', '2 hours ago', '1 year ago')
    """
    for unit, length_ms in (
        ("year", 31_536_000_000),
        ("month", 2_592_000_000),
        ("day", 86_400_000),
        ("hour", 3_600_000),
        ("minute", 60_000),
    ):
        count = elapsed_ms // length_ms
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def similar_to(title: str) -> str:
    """Return why a title stands in a row of titles like another."""
    return f"Like {title}"


def progress(watched_s: float, duration_s: int) -> str:
    """Return how far the member got.

    >>> progress(2520, 0), progress(2520, 6000), progress(20, 0)
    ('Continue: 42 min in', 'Continue: 42 of 100 min', 'Continue from the start')
    """
    minutes = int(watched_s // 60)
    if minutes < 1:
        return "Continue from the start"
    return f"Continue: {minutes} of {duration_s // 60} min" if duration_s >= 60 else f"Continue: {minutes} min in"


def genre_watched(genre: str, titles: int) -> str:
    """Return why a title or row of a genre is there, for a member who lately watched so many titles of it.

    >>> genre_watched("Comedy", 5), genre_watched("Comedy", 1), genre_watched("Comedy", 0)
    ('You often watch Comedy', 'You watched Comedy', 'You showed interest in Comedy')
    """
    if titles >= OFTEN_TITLES:
        return f"You often watch {genre}"
    return f"You watched {genre}" if titles else f"You showed interest in {genre}"


def popular(weekly: float, period: str) -> str:
    """Return why a popular title is there; `weekly`: plays and good ratings in the last seven days.

    >>> popular(34.0, "this week"), popular(0.0, "this year"), popular(0.0, "all-time favourites")
    ('Popular this week: 34 plays and ratings', 'Popular this year', 'An all-time favourite')
    """
    if weekly >= SPOKEN_COUNT:
        return f"Popular this week: {weekly:.0f} plays and ratings"
    return "An all-time favourite" if period.startswith("all") else f"Popular {period}"

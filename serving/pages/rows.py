"""The rows of a page, each made from what the rows before it left. All but exploring are functions of their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.pages import reasons
from serving.pages.diversity import spread
from serving.pages.draft import EXAMINED, Draft, DraftRow
from serving.pages.explore import Drawn, draw
from serving.pages.shelves import Rows
from serving.pages.why import top_pick_reasons


def continue_watching(draft: Draft) -> None:
    """Titles begun and not finished, the last watched first; a recent one is the likeliest to be gone on with."""
    begun, params, titles = draft.taste.begun, draft.params, draft.shelves.index.titles
    if not begun:
        return
    age_ms = max(draft.now_ms - begun[0].event_time_ms, 0)
    draft.add(
        DraftRow(
            row_id="continue_watching",
            kind="continue_watching",
            title="Continue watching",
            reason=f"You were watching {titles[begun[0].row].title} {reasons.ago(age_ms)}",
            value=params.continue_chance * 2.0 ** (-age_ms / params.continue_half_life_ms),
            rows=[title.row for title in begun],
            reasons=[reasons.progress(title.watched_s, titles[title.row].duration_s) for title in begun],
        )
    )


def top_picks(draft: Draft) -> None:
    """The best titles by score, not too many of one genre."""
    params = draft.params
    candidates = draft.best(draft.ranked, params.diversity_depth)
    rows = spread(candidates, draft.shelves.index.genre_numbers, params.row_size, params.genre_cap)
    if draft.enough(rows):
        reason = "Ranked for you by what you did here lately"
        why = top_pick_reasons(draft, rows)
        draft.add(DraftRow("top_picks", "top_picks", "Top picks for you", reason, draft.value_of(rows), rows, why))


def because_you_watched(draft: Draft) -> None:
    """For each of the latest liked titles, the titles similar to it, the best by score first."""
    if draft.model is None:
        return
    made = 0
    for row, entry in draft.taste.sources:
        if made == draft.params.because_rows:
            return
        near = draft.model.neighbour_rows(row, draft.shelves.snapshot)
        rows = draft.by_score(near, draft.params.row_size)
        if draft.enough(rows):
            title = draft.shelves.index.titles[row]
            draft.add(
                DraftRow(
                    row_id=f"because:{title.item_id}",
                    kind="because_you_watched",
                    title=reasons.because(entry, title.title),
                    reason=reasons.done_when(entry, draft.now_ms),
                    value=draft.value_of(rows),
                    rows=rows,
                    reasons=[reasons.similar_to(title.title)] * len(rows),
                )
            )
            made += 1


def genre_rows(draft: Draft) -> None:
    """The member's strongest genres (those of all members for one without any), the best titles of each by score."""
    index, params = draft.shelves.index, draft.params
    favourites = draft.taste.favourite_genres
    others = [number for number in draft.shelves.genre_order if number not in favourites]
    made = 0
    for number in [*favourites, *others]:
        if made == params.genre_rows:
            return
        rows = _of_genre(draft, number)
        if draft.enough(rows):
            _add_genre(draft, index.genres[number], rows, number in favourites)
            made += 1


def _of_genre(draft: Draft, number: int) -> list[int]:
    flags = draft.shelves.index.flags[number]
    rows = draft.best(draft.ranked[flags[draft.ranked]], draft.params.row_size)
    return rows if len(rows) == draft.params.row_size else draft.by_score(np.nonzero(flags)[0], draft.params.row_size)


def _add_genre(draft: Draft, genre: str, rows: list[int], favourite: bool) -> None:
    watched = int(draft.taste.watched[draft.shelves.index.genres.index(genre)])
    reason = reasons.genre_watched(genre, watched) if favourite else f"Popular in {genre}"
    why = [reason] * len(rows) if favourite else popular_reasons(draft, rows)
    draft.add(DraftRow(f"genre:{genre}", "genre", genre, reason, draft.value_of(rows), rows, why))


def trending(draft: Draft) -> None:
    """Of the titles in most demand lately, those that the member is likeliest to want."""
    params = draft.params
    pool = np.array(draft.best(draft.shelves.trending, params.trending_pool), np.intp)
    rows = draft.by_score(pool, params.trending_size)
    if draft.enough(rows):
        reason = f"What members watch {draft.shelves.trending_period}"
        why = popular_reasons(draft, rows)
        draft.add(DraftRow("trending", "trending", "Trending now", reason, draft.value_of(rows), rows, why))


def popular(draft: Draft) -> None:
    """What most members watched, whoever asks."""
    rows = draft.best(draft.shelves.popular, draft.params.row_size)
    if draft.enough(rows):
        title, reason = "Popular on Marquee", f"What most members watched: {draft.shelves.period}"
        why = popular_reasons(draft, rows)
        draft.add(DraftRow("popular", "popular", title, reason, draft.value_of(rows), rows, why))


def everything(draft: Draft, *, always: bool = False) -> None:
    """Whatever is left, the best first, however little; `always`: whichever kinds of rows the page may have."""
    rows = draft.by_score(np.nonzero(draft.free)[0], draft.params.row_size)
    if rows:
        reason, why = "Everything there is", popular_reasons(draft, rows)
        row = DraftRow("popular", "popular", "All titles", reason, draft.value_of(rows), rows, why)
        draft.add(row, always=always)


def popular_reasons(draft: Draft, rows: Sequence[int]) -> list[str]:
    """Return how popular each title is, in words."""
    shelves = draft.shelves
    return [reasons.popular(weekly, shelves.period) for weekly in shelves.weekly[rows].tolist()]


def explore(draft: Draft) -> None:
    """Titles that were shown little: some new ones, some that the model thinks well of, drawn by chance.

    It is made last, from titles that no other row took, so that no other row depends on the draw; its value is an
    expectation over the draw, so that the order of the rows does not either.
    """
    params = draft.params
    new_size = int(params.explore_size * params.explore_new_share)
    new_pool = np.array(draft.best(draft.shelves.newest, new_size * params.explore_width), np.intp)
    fresh = draw(new_pool, draft.chance[new_pool], new_size, draft.seed)
    draft.take(new_pool.tolist())  # not to be drawn again as a good one
    good_size = params.explore_size - len(fresh)
    good_pool = _little_shown(draft, good_size * params.explore_width)
    draft.free[new_pool] = True  # those drawn are taken with the row
    good = draw(good_pool, draft.chance[good_pool], good_size, draft.seed, stream=params.explore_size)
    drawn = _alternate(good, fresh)
    if len(drawn) >= params.row_min:
        new_rows = {one.row for one in fresh}
        known = reasons.TRY if draft.shelves.much_shown else reasons.CHANGE
        draft.add(
            DraftRow(
                row_id="explore",
                kind="explore",
                title="New and exploring",
                reason="Titles that few members have been shown, drawn by chance",
                value=float(EXAMINED[: len(drawn)] @ [one.mean_worth for one in drawn]),
                rows=[one.row for one in drawn],
                reasons=[reasons.NEW if one.row in new_rows else known for one in drawn],
                propensities=[one.propensity for one in drawn],
            )
        )


def _little_shown(draft: Draft, size: int) -> Rows:
    """Return the best free titles that were shown little."""
    return np.array(draft.best(draft.ranked[draft.shelves.explorable[draft.ranked]], size), np.intp)


def _alternate(good: list[Drawn], fresh: list[Drawn]) -> list[Drawn]:
    """Return good, new, good, new, … and then what is left of either; which is where depends on their numbers only."""
    both = min(len(good), len(fresh))
    pairs = [one for pair in zip(good[:both], fresh[:both], strict=True) for one in pair]
    return [*pairs, *good[both:], *fresh[both:]]

"""A small data set in MovieLens' format, written from a generated past."""

from __future__ import annotations

from pathlib import Path

from streams.simulation.generated import generate_dataset


def write_movielens(folder: Path, members: int = 60, events: int = 6_000, titles: int = 300) -> Path:
    """Write movies.csv and ratings.csv; each play of the past is a rating, its stars those given, if any, or 3.5."""
    dataset = generate_dataset(titles=titles, members=members, events=events)
    number = {title.item_id: index + 1 for index, title in enumerate(dataset.titles)}
    movies = [f'{number[t.item_id]},"{t.title} ({t.year})",{"|".join(t.genres)}' for t in dataset.titles]
    stars = {(e.member_id, e.item_id): e.value for e in dataset.events if e.type == "rate"}
    ratings = [
        ",".join(
            str(field)
            for field in (
                int(e.member_id[1:]),
                number[e.item_id],
                stars.get((e.member_id, e.item_id), 3.5),
                e.event_time_ms // 1000,
            )
        )
        for e in dataset.events
        if e.type == "play"
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies, ""]))
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings, ""]))
    return folder

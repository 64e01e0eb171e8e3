"""`marquee precompute`: the batch prediction job over the engines that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serving.models.loader import load_model
from serving.models.registry import CHAMPION
from serving.titles import TitleBoard
from streams.catalogue import read_catalogue
from streams.errors import FixRequest
from streams.features.replay import feature_versions
from streams.settings import Settings
from streams.stores.protocol import DurableStore, StateStore
from streams.stores.serving import open_serving_stores
from training_bridge import registry
from training_bridge.precompute import MAX_MEMBERS, PageSource, Precomputed, precompute
from training_bridge.workspace import Workspace, open_workspace


def run_precompute(
    settings: Settings, console: Console, *, max_age_s: float, limit: int, clock_ms: Callable[[], int]
) -> Precomputed:
    """Compute pages for up to `limit` members, with progress; return how it went. Raises FixRequest without a champion,
    TryAgain when the durable store is away."""
    hot, durable = open_serving_stores(settings, feature_versions())
    try:
        with open_workspace(settings) as workspace:
            source = page_source(workspace, hot, durable, clock_ms())
        total = len(durable.member_ids(min(limit, MAX_MEMBERS)))
        runs = precompute(source, hot, durable, clock_ms=clock_ms, max_age_ms=round(max_age_s * 1_000), limit=limit)
        done = Precomputed()
        with _progress(console) as progress:
            task = progress.add_task("pages", total=total)
            for done in runs:
                progress.update(task, completed=done.members)
        return done
    finally:
        hot.close()
        durable.close()


def page_source(workspace: Workspace, hot: StateStore, durable: DurableStore, now_ms: int) -> PageSource:
    """Return what all pages are made from: the catalogue, the titles' live features now, and the champion, verified."""
    version = registry.aliased(workspace.sql, CHAMPION)
    if version is None:
        raise FixRequest("model", "there is no champion yet: `marquee train` makes one")
    catalogue = read_catalogue(workspace.sql)
    board = TitleBoard(lambda: catalogue, hot, durable, now_ms, pause=lambda: None)
    board.refresh(now_ms)
    return PageSource(catalogue, board.current, load_model(workspace.blobs, version))


def report_line(done: Precomputed) -> str:
    """Return how a run went, in a line."""
    parts = [f"{done.computed:,} pages computed", f"{done.left:,} left as they were"]
    if done.unreadable:
        parts.append(f"{done.unreadable:,} members with states that cannot be read")
    if done.hot_problem:
        parts.append(f"some in the durable store only: {done.hot_problem}")
    return ", ".join(parts)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)

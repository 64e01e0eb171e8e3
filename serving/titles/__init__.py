"""Live features of every title: snapshots, the board that renews them, the archive for replays."""

from __future__ import annotations

from serving.titles.archive import SnapshotArchive
from serving.titles.board import TitleBoard
from serving.titles.snapshot import TitleOrder, TitleSnapshot

__all__ = ["SnapshotArchive", "TitleBoard", "TitleOrder", "TitleSnapshot"]

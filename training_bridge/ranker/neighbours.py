"""Similar titles, as a person would name them: taken up by the same members, and alike in kind.

Co-engagement by cosine, shrunk for titles with few members so that accidents do not lead (Bell and Koren, "Scalable
collaborative filtering with jointly derived neighborhood interpolation weights", ICDM 2007), times content: mere
popularity would name the same hits beside everything.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.content import genre_vectors, year_buckets, year_closeness
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.titles_meta import TitlesMeta

NEIGHBOURS: Final = 50
SHRINKAGE: Final = 8.0
POPULARITY_POWER: Final = 0.6
"""0.5 is the cosine; a little more keeps hits from being everyone's neighbour."""
CONTENT_ONLY: Final = 0.15
"""What content alone is worth, against a co-engagement of 1: it orders the titles nobody has seen yet."""
GENRE_SHARE: Final = 0.75
YEAR_SCALE: Final = 8.0
BLOCK_ROWS: Final = 512


def neighbours(
    interactions: Interactions, meta: TitlesMeta, count: int = NEIGHBOURS
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return each title's nearest others, int32 [V, K] and their likeness, float32 [V, K] in 0..1, the nearest first.

    K is the lesser of `count` and V - 1.
    """
    titles = len(interactions.titles)
    width = max(min(count, titles - 1), 0)
    target = np.zeros((titles, width), np.int32)
    likeness = np.zeros((titles, width), np.float32)
    if width:
        together = co_engagement(interactions)
        for start in range(0, titles, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, titles))
            block = likeness_block(together, meta, rows)
            target[rows], likeness[rows] = nearest(block, width)
    return target, likeness


def co_engagement(interactions: Interactions) -> sp.csr_matrix:
    """Return float32 [V, V]: members in common, over the titles' sizes to POPULARITY_POWER, shrunk."""
    first = interactions.where(interactions.first_engagements())
    shape = (max(first.members, 1), len(first.titles))
    liked = np.clip(0.5 + first.strength / 2.0, 0.1, 1.5).astype(np.float32)
    matrix = sp.csr_matrix((liked, (first.member, first.title)), shape=shape)
    common = (matrix.T @ matrix).tocsr()
    weight = (np.maximum(common.diagonal(), 1e-6) ** -POPULARITY_POWER).astype(np.float32)
    common.data *= common.data / (common.data + np.float32(SHRINKAGE))
    common.data *= np.repeat(weight, np.diff(common.indptr))
    common.data *= weight[common.indices]
    return common


def likeness_block(together: sp.csr_matrix, meta: TitlesMeta, rows: slice) -> NDArray[np.float32]:
    """Return float32 [rows, V]: (co-engagement, over the row's best, + CONTENT_ONLY) x content; -1 for itself."""
    joint = together[rows].toarray()
    joint[np.arange(len(joint)), np.arange(rows.start, rows.stop)] = 0.0
    best = np.maximum(joint.max(axis=1, keepdims=True), 1e-6)
    block = (joint / best + CONTENT_ONLY) / (1.0 + CONTENT_ONLY) * content_likeness(meta, rows)
    block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = -1.0
    return np.asarray(block, np.float32)


def content_likeness(meta: TitlesMeta, rows: slice) -> NDArray[np.float32]:
    """Return float32 [rows, V] in 0..1: the genres' cosine and the years' closeness."""
    genres = genre_vectors(meta)
    years, title_year = year_buckets(meta)
    near = np.float32(1.0 - GENRE_SHARE) * year_closeness(years, YEAR_SCALE)
    alike = np.float32(GENRE_SHARE) * (genres[rows] @ genres.T)
    alike += near[title_year[rows]][:, title_year]
    return np.asarray(alike, np.float32)


def nearest(block: NDArray[np.float32], width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the columns of each row's `width` largest values, and the values, descending."""
    target = np.argpartition(-block, width - 1, axis=1)[:, :width]
    value = np.take_along_axis(block, target, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    return np.take_along_axis(target, order, axis=1), np.take_along_axis(value, order, axis=1)

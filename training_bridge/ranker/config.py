"""What a training run may vary.

Defaults come from MovieLens events before every split that `make eval` reports; the fast signals alone were added after
a look at a few members of one split.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """Parameters of the ranker. Half-lives are in days, powers apply to 1 + position in the history."""

    history_length: int = 128
    """Events of a member that the model sees, newest first."""

    popularity_half_lives_d: tuple[int, ...] = (30, 365)
    """A fast clock and a slow one: on slow data the combiner trusts the slow one, on fast data the fast one."""

    similar_l2: float = 200.0
    similar_half_life_d: float = 1500.0
    similar_history_power: float = 0.9
    similar_floor: float = 1e-3
    fast_history_power: float = 2.0
    """For signals of the last few titles; what they matter beside the longer past is for the combiner to learn."""

    transition_window: int = 60
    transition_distance_power: float = 0.7
    transition_half_life_d: float = 700.0
    transition_backward: float = 0.3
    """What a title just before counts, against one just after: orders within a session are partly chance."""
    transition_shrinkage: float = 5.0
    transition_history_power: float = 1.0
    transition_floor: float = 1e-4

    content_history_power: float = 0.7
    year_scale: float = 3.0
    """Release years over which closeness falls by e."""

    table_width: int = 384
    """Entries kept per title in each item-item table; 4 bytes each in the exported graph (6 beyond 32,767 titles)."""
    max_dense: int = 4_000
    """Order of the largest dense system that is solved; beyond it only the titles with the most events take part."""

    holdout: float = 0.25
    """Share of the events, the last, on which the combiner's weights are fitted."""
    samples: int = 1_200
    samples_per_member: int = 15
    min_history: int = 5
    candidates: int = 600
    """Titles drawn for each choice while fitting; a softmax over all costs ten times as much for the same result."""
    l2: float = 1e-4
    max_steps: int = 60

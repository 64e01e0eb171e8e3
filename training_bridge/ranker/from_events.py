"""The ranker's input from the catalogue's titles and members' events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.catalogue import Title
from streams.events import Event
from streams.features.strength import strength
from training_bridge.ranker.interactions import Interactions, build_interactions
from training_bridge.ranker.titles_meta import TitlesMeta, build_titles_meta


def interactions_from_events(titles: Sequence[Title], events: Sequence[Event]) -> Interactions:
    """Return the log of the events, given in order of arrival; those of unknown titles are dropped."""
    return build_interactions(
        [title.item_id for title in titles],
        [event.member_id for event in events],
        [event.item_id for event in events],
        [event.type for event in events],
        np.array([event.event_time_ms for event in events], np.int64),
        [strength(event.type, event.value) for event in events],
    )


def meta_from_titles(titles: Sequence[Title]) -> TitlesMeta:
    """Return the catalogue's facts, in the order of the titles."""
    return build_titles_meta([title.genres for title in titles], [title.year for title in titles])

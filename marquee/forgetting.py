"""`marquee forget`: a member is removed from stores and warehouse, while the platform runs or not."""

from __future__ import annotations

import contextlib

from marquee.state_folder import require_state
from streams import topics
from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.forget import Forgotten, forget_member
from streams.partitioner import partition_for
from streams.positions import NOTHING, pack_position
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.warehouse.root import root_of


def forget(settings: Settings, member_id: str) -> Forgotten:
    """Remove a member and all that their events so far have left. Raises FixRequest for what is no id, TryAgain when a
    store is away; calling again goes on."""
    if not is_valid_id(member_id):
        raise FixRequest("member", f"must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    require_state(settings)
    with contextlib.ExitStack() as stack:
        log, hot, durable = open_event_log(settings), open_hot(settings), open_durable(settings)
        for engine in (log, hot, durable):
            stack.callback(engine.close)
        return forget_member(member_id, hot, durable, root_of(settings), end_position(log, member_id))


def end_position(log: EventLog, member_id: str) -> int:
    """Return the position of the newest message in a member's partition, NOTHING for an empty one. Of a topic that has
    grown, all earlier epochs are covered: the member's messages of those may be elsewhere."""
    topic = topics.MEMBER_EVENTS
    epochs = log.epochs(topic)
    newest = epochs[-1]
    partition = partition_for(member_id.encode(), newest.partitions)
    end = log.end_offset(topic, partition)
    if end > newest.starts[partition]:
        return pack_position(newest.epoch, end - 1)
    return pack_position(newest.epoch, 0) - 1 if len(epochs) > 1 else NOTHING

"""`marquee forget`: a member is removed from stores and warehouse, while the platform runs or not, and the models that
were trained on them are named."""

from __future__ import annotations

import contextlib
from typing import Final, NamedTuple

from marquee.lag import lag
from marquee.state_folder import require_state
from streams import topics
from streams.agents.experiment_agent import GROUP as EXPERIMENTS
from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.events import MAX_ID_BYTES, is_valid_id
from streams.experiments.outcome_store import forget_outcomes
from streams.experiments.table import read_experiments
from streams.forget import Forgotten, forget_member
from streams.partitioner import partition_for
from streams.positions import NOTHING, pack_position
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.warehouse.root import root_of
from streams.warehouse.schemas import TOPICS as WAREHOUSE_TOPICS
from training_bridge.trained_on import TrainedOn, models_trained_on

DAY_MS: Final = 86_400_000


SINK: Final = "warehouse"
"""The consumer group of the agent that writes the warehouse."""


class Done(NamedTuple):
    """What a removal did. models: those trained on the member; they keep what they have learnt until they are replaced.
    unwritten: records that the warehouse does not have yet; the member's may be among them. experiments: out of whose
    results the member was taken. uncounted: exposures that are not counted yet; the member's may be among them."""

    removed: Forgotten
    models: list[TrainedOn]
    unwritten: int
    experiments: int = 0
    uncounted: int = 0


def forget(settings: Settings, member_id: str) -> Done:
    """Remove a member and all that their events so far have left. Raises FixRequest for what is no id, TryAgain when an
    engine is away; calling again goes on. Models are named by the call that removes the rows they were trained on."""
    if not is_valid_id(member_id):
        raise FixRequest("member", f"must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    require_state(settings)
    with contextlib.ExitStack() as stack:
        log, hot, durable = open_event_log(settings), open_hot(settings), open_durable(settings)
        for engine in (log, hot, durable):
            stack.callback(engine.close)
        unwritten = lag(log, SINK, WAREHOUSE_TOPICS)  # first: what is written meanwhile is in the files that are read
        uncounted = lag(log, EXPERIMENTS, (topics.EXPOSURES,))
        sql = open_sql(settings)
        stack.callback(sql.dispose)
        models = models_trained_on(sql, BlobStore(settings.path_of(settings.blobs_url)), root_of(settings), member_id)
        removed = forget_member(member_id, hot, durable, root_of(settings), end_position(log, member_id))
        definitions = {each.definition.id: each.definition for each in read_experiments(sql)}
        return Done(removed, models, unwritten, forget_outcomes(sql, definitions, member_id), uncounted)


def forgotten_lines(done: Done, retention_ms: int) -> list[str]:
    """Return what a removal did and what is left, a line each."""
    states, rows, warehouse_rows = done.removed
    lines = [f"{states:,} states, {rows:,} rows of history, {warehouse_rows:,} of the warehouse removed"]
    if done.experiments:
        lines.append(f"taken out of the results of {done.experiments:,} experiments")
    if done.unwritten:
        lines.append(f"the warehouse's agent has {done.unwritten:,} records yet to write: run this again once it has")
    if done.uncounted:
        lines.append(f"experiments have {done.uncounted:,} exposures yet to count: run this again once they have")
    lines.append(f"what the log still holds goes with its retention, within {retention_ms // DAY_MS} days")
    for version, aliases, records in done.models:
        names = f" ({', '.join(aliases)})" if aliases else ""
        held = "perhaps, its dataset is not kept" if records is None else f"{records:,} of their events"
        lines.append(f"model {version[:12]}{names} was trained on them: {held}")
    if any(aliases for _, aliases, _ in done.models):
        lines.append("`marquee train` makes a model without them")
    return lines


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

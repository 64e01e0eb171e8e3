"""Every metric of the streams floor, named in one place. Times are in seconds, as Prometheus has it."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# The event log

LOG_APPENDED: Final = Counter("marquee_log_appended_records", "Records appended, by topic.", ["topic"])
LOG_REFUSED: Final = Counter(
    "marquee_log_refused_records", "Records whose append was refused, by topic and error.", ["topic", "error"]
)
LOG_USED_BYTES: Final = Gauge("marquee_log_used_bytes", "Bytes that a topic's records take up.", ["topic"])
LOG_EXPIRED: Final = Counter("marquee_log_expired_records", "Records deleted by retention.")
LOG_LOST: Final = Counter(
    "marquee_log_lost", "Times that a topic was not the one that was stored, and its epoch was raised.", ["topic"]
)

LOG_APPEND_SECONDS: Final = Histogram(
    "marquee_log_append_seconds",
    "Time of one append that succeeded, of whatever many records, by topic.",
    ["topic"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)

# Stores

STORE_SECONDS: Final = Histogram(
    "marquee_store_seconds",
    "Time of one operation of a store, by engine, operation and kind of state; failed ones included.",
    ["engine", "operation", "kind"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
STORE_ERRORS: Final = Counter(
    "marquee_store_errors",
    "Operations of a store that failed, by what the caller was told to do.",
    ["engine", "operation", "kind", "error"],
)
REFILLS: Final = Counter(
    "marquee_hot_refills",
    "Times that a new hot store was filled from the durable one: done, nothing (it held no states), or an error.",
    ["result"],
)
REFILLED_STATES: Final = Counter("marquee_hot_refilled_states", "States that such refills wrote.")
REFILLING: Final = Gauge("marquee_hot_refilling", "Such refills under way in this process.")

# Agents

AGENT_RECORDS: Final = Counter(
    "marquee_agent_records", "Records that an agent has taken in, redelivered ones included.", ["agent", "topic"]
)
AGENT_BATCH_SECONDS: Final = Histogram(
    "marquee_agent_batch_seconds",
    "Time an agent takes for one batch.",
    ["agent"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
AGENT_FLUSH_SECONDS: Final = Histogram(
    "marquee_agent_flush_seconds",
    "Time an agent takes to make its effects durable.",
    ["agent"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
AGENT_ERRORS: Final = Counter("marquee_agent_errors", "Errors that made an agent wait, by kind.", ["agent", "error"])
AGENT_LAG: Final = Gauge(
    "marquee_agent_lag_records",
    "Records between what an agent has made durable and the partition's end.",
    ["agent", "topic", "partition"],
)
AGENT_STORED_SECONDS: Final = Histogram(
    "marquee_agent_stored_seconds",
    "Time from a record's append to its effects in the durable store, of each batch's oldest record.",
    ["agent"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
AGENT_NEWEST_STORED: Final = Gauge(
    "marquee_agent_newest_stored_timestamp_seconds",
    "When the newest record was appended whose effects are durable (Unix).",
    ["agent"],
)
AGENT_LAST_COMMIT: Final = Gauge(
    "marquee_agent_last_commit_timestamp_seconds", "When an agent last committed (Unix).", ["agent"]
)
PASSED_OVER: Final = Counter(
    "marquee_agent_passed_over",
    "Times that a consumer passed records over, and the agent began anew at its marks.",
    ["agent", "topic"],
)
AGENT_READY: Final = Gauge("marquee_agent_ready", "1 while an agent makes progress, 0 while it waits.", ["agent"])
AGENT_REBALANCES: Final = Counter("marquee_agent_rebalances", "Times that an agent's partitions changed.", ["agent"])

FORWARDED: Final = Counter(
    "marquee_forwarded_records", "Records found in a partition that is not their key's, and appended to it.", ["topic"]
)

EXPERIMENT_OUTCOMES: Final = Counter(
    "marquee_experiment_outcomes", "Outcomes derived: of members in experiments, each time that more is known of them."
)

# Dead letters

DEAD_LETTERED: Final = Counter("marquee_dead_letters", "Messages put aside, by topic and reason.", ["topic", "reason"])
REDRIVEN: Final = Counter("marquee_dead_letters_redriven", "Dead letters appended anew to their topic.", ["topic"])

"""Every metric of the serving process, named in one place. Counters end in _total, times are in seconds."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""From half a cache hit to the longest deadline of a page."""

PAGES_SERVED = "marquee_pages_served"
PAGES_DEGRADED = "marquee_pages_degraded"
PAGE_SECONDS = "marquee_page_seconds"
REQUESTS_REFUSED = "marquee_homepage_requests_refused"
"""Counted in plain numbers on the request path and collected by `serving.homepage.page_counts`."""

PAGE_BUILD_SECONDS = Histogram(
    "marquee_page_build_seconds", "Time to build a page: scoring, rows, diversity.", buckets=LATENCY_BUCKETS_S
)

SNAPSHOT_REFRESH_SECONDS = Histogram(
    "marquee_title_refresh_seconds", "Time to read changed title states into a snapshot.", buckets=LATENCY_BUCKETS_S
)
SNAPSHOT_ROWS_CHANGED = Counter("marquee_title_rows_changed_total", "Titles whose live features were computed anew.")
SNAPSHOT_AS_OF_SECONDS = Gauge("marquee_title_snapshot_as_of_seconds", "Unix time at which the title features stand.")
SNAPSHOT_STATES_CORRUPT = Counter("marquee_title_states_corrupt_total", "Title states that could not be unpacked.")
SNAPSHOTS_STORED_BYTES = Gauge("marquee_title_snapshots_stored_bytes", "Bytes of title snapshots kept for replay.")

MODEL_SWAPS = Counter("marquee_model_swaps_total", "Models taken into service, by alias.", ["alias"])
MODEL_REFUSALS = Counter("marquee_model_refusals_total", "Models refused by their checks, by alias.", ["alias"])
MODEL_INFO = Gauge("marquee_model_serving", "1 for the version in service, by alias.", ["alias", "version"])

IMPRESSIONS_APPENDED = Counter("marquee_impressions_appended_total", "Messages of impressions appended to the log.")
IMPRESSIONS_SPOOLED = Counter(
    "marquee_impressions_spooled_total", "Messages of impressions put in the spool while the log was away."
)
IMPRESSIONS_DROPPED = Counter("marquee_impressions_dropped_total", "Impressions beyond the bounds of queue and spool.")

EXPERIMENTS_READ_SECONDS = Gauge(
    "marquee_experiments_read_seconds", "Unix time at which the experiments in use were last found to be up to date."
)
EXPERIMENTS_READ_FAILURES = Counter("marquee_experiments_read_failures_total", "Times experiments could not be read.")
EXPERIMENTS_RUNNING = Gauge("marquee_experiments_running", "Experiments that members take part in.")
EXPERIMENTS_AT_FAULT = Gauge(
    "marquee_experiments_at_fault", "Experiments that cannot be read, or run and take no members."
)
FLAGS_EVALUATED = Counter("marquee_flags_evaluated_total", "Variants that apps asked for (OFREP), by how.", ["route"])
ALLOCATIONS = Counter(
    "marquee_allocations_total", "Requests for a homepage whose member was given variants; repeats are remembered."
)
EXPERIMENTS_WATCHED = Gauge("marquee_experiments_watched", "Experiments that run or wait for a decision, as watched.")
EXPERIMENT_MEMBERS = Gauge("marquee_experiment_members", "Members whose outcomes are compared.", ["experiment"])
EXPERIMENT_SRM = Gauge(
    "marquee_experiment_srm", "1 while members do not come to the arms in the declared shares.", ["experiment"]
)
EXPERIMENT_LOOKED_SECONDS = Gauge(
    "marquee_experiment_looked_timestamp_seconds", "When the watcher last looked at an experiment.", ["experiment"]
)
WATCHER_TICK_SECONDS = Gauge("marquee_watcher_tick_timestamp_seconds", "When the watcher last saw to all experiments.")
WATCHER_ERRORS = Counter("marquee_watcher_errors_total", "Errors that the watcher met, by what they are.", ["error"])
EXPOSURES_TOLD = Counter(
    "marquee_exposures_told_total", "Exposures to be appended: of a member to a variant, once an hour.", ["experiment"]
)
EXPOSURES_APPENDED = Counter("marquee_exposures_appended_total", "Exposures appended to the log.")
EXPOSURES_SPOOLED = Counter("marquee_exposures_spooled_total", "Exposures put in the spool while the log was away.")
EXPOSURES_DROPPED = Counter("marquee_exposures_dropped_total", "Exposures beyond the bounds of queue and spool.")

EVENTS_ACCEPTED = Counter("marquee_events_accepted_total", "Events that HTTP ingest appended to the log.")
EVENTS_REFUSED = Counter("marquee_events_refused_total", "Events that HTTP ingest could not take, by why.", ["reason"])
INGEST_BATCH_EVENTS = Histogram(
    "marquee_ingest_batch_events", "Events that one append took.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
)
INGEST_APPEND_SECONDS = Histogram(
    "marquee_ingest_append_seconds", "Time of one append of events.", buckets=LATENCY_BUCKETS_S
)

"""Counts of the homepage route, kept in plain numbers and shown to Prometheus when it asks.

A Prometheus counter takes a lock and a microsecond for each increment, a tenth of a cache hit. These belong to the
event loop's thread alone; a scrape in another thread reads whole numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.metrics import LATENCY_BUCKETS_S, PAGE_SECONDS, PAGES_DEGRADED, PAGES_SERVED, REQUESTS_REFUSED

PARTS: Final = ("hot store", "durable store", "model", "deadline", "load", "stores behind", "state", "error")
"""Reason codes of degraded pages: a metric's labels must be few."""


class PageCounts(Collector):
    """Pages by (step, cache), degraded pages by reason code, and times to answer by cache outcome.

    The times are of all answers but the fresh hits: those take a few microseconds, and timing them another."""

    def __init__(self) -> None:
        self.served: Counter[tuple[str, str]] = Counter()
        self.degraded: Counter[str] = Counter()
        self.refused = 0
        self.fresh_hits = 0
        """Of `served`, apart because they are most."""
        self._seconds = {cache: [0] * (len(LATENCY_BUCKETS_S) + 1) for cache in ("hit", "miss", "bypass")}
        self._seconds_sum = dict.fromkeys(self._seconds, 0.0)

    def observe(self, cache: str, seconds: float) -> None:
        """Count the time that one answer took."""
        self._seconds[cache][bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self._seconds_sum[cache] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they stand."""
        yield self._served()
        yield self._degraded()
        yield self._latency()
        yield CounterMetricFamily(
            REQUESTS_REFUSED, "Requests for a homepage that were answered with 4xx.", value=self.refused
        )

    def _served(self) -> Metric:
        family = CounterMetricFamily(
            PAGES_SERVED, "Pages served, by ladder step and cache outcome.", labels=["step", "cache"]
        )
        served = Counter({("fresh", "hit"): self.fresh_hits}) + Counter(dict(self.served))
        for (step, cache), count in served.items():
            family.add_metric([step, cache], count)
        return family

    def _degraded(self) -> Metric:
        family = CounterMetricFamily(
            PAGES_DEGRADED, "Pages served with something away, by what it was.", labels=["reason"]
        )
        for reason, count in dict(self.degraded).items():
            family.add_metric([reason], count)
        return family

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            PAGE_SECONDS,
            "Time to answer GET /homepage, by cache outcome; fresh hits take microseconds and are not in it.",
            labels=["cache"],
        )
        for cache, counts in self._seconds.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), list(counts), strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([cache], buckets, sum_value=self._seconds_sum[cache])
        return family


def reason_code(reason: str) -> str:
    """Return the code that a degraded page's reason is counted under: the first part that it names.

    >>> reason_code("hot store unavailable (the folder is gone); durable store unavailable (locked)")
    'hot store'
    """
    return next((part for part in PARTS if part in reason), "error")


PAGE_COUNTS: Final = PageCounts()
"""The process's counts, registered with Prometheus by `serving.app`."""

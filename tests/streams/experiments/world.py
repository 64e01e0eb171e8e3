"""An experiment, its members' exposures and events, for tests."""

from __future__ import annotations

from streams.experiments.definition import Definition, Experiment, Plan, Span, Variant
from streams.experiments.metric import Measure, Metric
from streams.impressions import Exposure

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS
PLAY = Measure(("play",))
METRICS = (
    Metric("plays", "count", PLAY, cap=5.0),
    Metric("stars", "sum", Measure(("rate",), of="value")),
    Metric("completion", "ratio", Measure(("complete",)), per=PLAY),
    Metric("converted", "conversion", PLAY, window_s=3_600),
    Metric("returned", "retention", PLAY, after_s=86_400),
    Metric("median", "percentile", PLAY, quantile=0.5),
    Metric("from-page", "count", PLAY, attribution="page"),
)


def an_experiment(
    name: str = "rows", *, status: str = "running", stopped_at_ms: int | None = None, revision: int = 1, **plan: object
) -> Experiment:
    definition = Definition(
        id=name,
        hypothesis="More rows, more plays",
        owner="ann",
        variants=(Variant("control", 0.5), Variant("treatment", 0.5)),
        metrics=METRICS,
        primary="plays",
        mde=0.05,
        plan=Plan(**{"pre_period_s": 7 * 86_400, **plan}),  # type: ignore[arg-type]
    )
    return Experiment(
        definition,
        status,  # type: ignore[arg-type]
        revision,
        salt="salt",
        spans=(Span(0, 1 << 63),),
        started_at_ms=START_MS,
        stopped_at_ms=stopped_at_ms,
    )


def an_exposure(member_id: str, variant: str, at_ms: int, *, experiment: str = "rows", step: str = "fresh") -> Exposure:
    page_id = f"{at_ms:012x}{0:020x}"
    return Exposure(experiment, variant, member_id, page_id, at_ms, True, step=step, country="US", device="tv")

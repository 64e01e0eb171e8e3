// Metrics that most experiments want, ready to choose; and sentences about any metric.

import { duration, significant, words } from "./format.js";

const WEEK_S = 7 * 86_400;

export const TEMPLATES = [
  {
    name: "plays_per_member",
    kind: "count",
    measure: { types: ["play"] },
    cap: 100,
    description: "How many titles a member starts",
  },
  {
    name: "play_conversion_7d",
    kind: "conversion",
    measure: { types: ["play"] },
    window_s: WEEK_S,
    description: "Members who play anything within 7 days",
  },
  {
    name: "completion_ratio",
    kind: "ratio",
    measure: { types: ["complete"] },
    per: { types: ["play"] },
    description: "Titles finished per title played",
  },
  {
    name: "watch_time",
    kind: "sum",
    measure: { types: ["progress"], of: "value" },
    cap: 360_000,
    description: "Seconds watched per member",
  },
  {
    name: "rating",
    kind: "ratio",
    measure: { types: ["rate"], of: "value" },
    per: { types: ["rate"] },
    description: "Stars per rating",
  },
  {
    name: "skips_per_member",
    kind: "count",
    measure: { types: ["skip"] },
    cap: 100,
    direction: "decrease",
    description: "Titles waved away per member",
  },
  {
    name: "return_after_7d",
    kind: "retention",
    measure: { types: ["view", "click", "play"] },
    after_s: WEEK_S,
    description: "Members who come back after 7 days",
  },
];

export const newMetric = (name) => ({ name, kind: "count", measure: { types: ["play"] } });

const measured = ({ types, of, min_value }) =>
  `${of === "value" ? "the values of " : ""}${types.map(words).join(", ") || "no"} events${min_value === undefined || min_value === null ? "" : ` of at least ${significant(min_value)}`}`;

// What a metric is, in words.
export function sentenceOf(metric) {
  const what = measured(metric.measure);
  const core = {
    count: `How many ${what} a member has`,
    sum: `The sum of ${what} of a member`,
    ratio: `${what[0].toUpperCase()}${what.slice(1)} per ${metric.per ? measured(metric.per) : "…"}`,
    conversion: `Members with any ${what}`,
    retention: `Members with any ${what} from ${duration(metric.after_s ?? 0)} after they met the variant`,
    percentile: `The ${significant((metric.quantile ?? 0.5) * 100)} % point of ${what} of members`,
  }[metric.kind];
  return (
    [
      core,
      metric.window_s ? `within ${duration(metric.window_s)}` : "",
      metric.cap ? `counted up to ${significant(metric.cap, 6)}` : "",
      metric.attribution === "page" ? "on pages served in the experiment" : "",
      metric.direction === "decrease" ? "less is better" : "",
    ]
      .filter(Boolean)
      .join(", ") + "."
  );
}

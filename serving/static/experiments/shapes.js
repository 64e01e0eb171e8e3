// What the API answers, in the shapes that the pages draw. Fields that are as by default are left out of answers.

import { DAY_MS, day } from "./format.js";

const PLAN = {
  method: "sequential",
  alpha: 0.05,
  power: 0.8,
  min_days: 7,
  max_days: 28,
  min_members: 1000,
  degraded: "include",
};

export function experimentOf(body) {
  const { definition, ...rest } = body.experiment ?? body;
  const whole = {
    secondary: [],
    guardrails: [],
    targeting: [],
    layer: "",
    traffic: 1,
    ramp: [],
    holdout: 0,
    forced: {},
    ...definition,
    plan: { ...PLAN, ...definition.plan },
  };
  return {
    status: "draft",
    revision: 1,
    traffic: 0,
    reasons: [],
    verdict: null,
    best: null,
    models: {},
    shipped: null,
    started_at_ms: null,
    stopped_at_ms: null,
    decided_at_ms: null,
    ...rest,
    definition: whole,
  };
}

// An effect as plots take it: relative to the control, with what else is said of it.
export function effectOf(result) {
  const inner = result?.effect ?? {};
  return {
    ...result,
    estimate: inner.relative ?? null,
    low: inner.relative_low ?? null,
    high: inner.relative_high ?? null,
    p: inner.p_value ?? null,
    n: (inner.n_control ?? 0) + (inner.n_treatment ?? 0),
    why: inner.reason ?? inner.relative_reason ?? "",
    alpha: inner.alpha ?? 0.05,
    saved: inner.variance_reduction ?? 0,
  };
}

export function reportOf(report) {
  if (!report) return null;
  return {
    exposures: [],
    guardrails: [],
    segments: [],
    futility: [],
    planned: [],
    warnings: [],
    members: 0,
    ...report,
    metrics: (report.metrics ?? []).map((metric) => ({ effects: [], description: "", ...metric })),
  };
}

export const metricOf = (report, name) => report?.metrics.find((metric) => metric.name === name) ?? null;

// The effect that speaks for an experiment in a list: of the arm that is furthest from nothing.
export function headline(report) {
  const effects = (metricOf(report, report?.primary)?.effects ?? [])
    .map(effectOf)
    .filter(({ estimate }) => Number.isFinite(estimate));
  return effects.sort((a, b) => Math.abs(b.estimate) - Math.abs(a.estimate))[0] ?? null;
}

// -1 where less of a metric is better.
export const signOf = (metric) => (metric?.direction === "decrease" ? -1 : 1);

// The days that an experiment has run, whole and in part; 0 before its start.
export function daysOf({ started_at_ms: start, stopped_at_ms: stop }, now) {
  return start === null || start === undefined ? 0 : Math.max(0, ((stop ?? now) - start) / DAY_MS);
}

// Points over time of each treatment's effect on the primary metric; looks between planned ones repeat what was seen.
export function armsOverTime(looks, { definition }) {
  return definition.variants
    .slice(1)
    .map(({ key }, index) => ({
      key,
      index: index + 1,
      points: looks.flatMap(({ at_ms: atMs, effects = [] }) => {
        const found = effects.find((effect) => effect.metric === definition.primary && effect.variant === key);
        return found ? [{ atMs: found.as_of_ms ?? atMs, ...pick(effectOf(found)) }] : [];
      }),
    }))
    .map((arm) => ({ ...arm, points: arm.points.filter(({ atMs }, at) => atMs !== arm.points[at - 1]?.atMs) }))
    .filter(({ points }) => points.length);
}

const pick = ({ estimate, low, high }) => ({ estimate, low, high });

// Each day from the first to the last, those without members included. rows: [{day (since 1970), variant, members}].
export function exposureDays(rows) {
  if (!rows.length) return [];
  const days = rows.map((row) => row.day);
  const found = new Map();
  for (const { day: at, variant, members } of rows) {
    const counts = found.get(at) ?? {};
    counts[variant] = (counts[variant] ?? 0) + members;
    found.set(at, counts);
  }
  const [first, last] = [Math.min(...days), Math.max(...days)];
  return Array.from({ length: Math.min(400, last - first + 1) }, (_, at) => ({
    label: day((first + at) * DAY_MS),
    counts: found.get(first + at) ?? {},
  }));
}

// A definition as the form holds it (everything filled in), and as it is sent (defaults left out).

import { TEMPLATES } from "./templates.js";

const PLAN = {
  method: "sequential",
  alpha: 0.05,
  power: 0.8,
  planned_members: null,
  looks: 5,
  spending: "obrien_fleming",
  min_days: 7,
  max_days: 28,
  min_members: 1000,
  correction: "holm",
  cuped: true,
  pre_period_s: 14 * 86_400,
  degraded: "include",
  segments: ["device", "country"],
  srm_alpha: 0.001,
  futility: null,
};
const METRIC = {
  per: null,
  window_s: null,
  after_s: 0,
  cap: null,
  quantile: null,
  direction: "increase",
  attribution: "member",
  description: "",
};
const MEASURE = { of: "events", min_value: null };
const GUARDRAIL = { max_harm: 0, stops: true };
const TOP = {
  secondary: [],
  guardrails: [],
  targeting: [],
  layer: "",
  traffic: 1,
  ramp: [],
  holdout: 0,
  forced: {},
  plan: {},
};

export const newVariant = (key, weight) => ({
  key,
  weight,
  description: "",
  value: "",
  patch: { model: "", rows: null, row_weights: {}, page_ttl_s: null, params: [] },
});

export function newDraft() {
  return {
    id: "",
    hypothesis: "",
    owner: "",
    primary: "plays_per_member",
    mde: 0.02,
    secondary: [],
    guardrails: {},
    custom: [],
    known: TEMPLATES,
    variants: [newVariant("control", 0.5), newVariant("treatment", 0.5)],
    targeting: [],
    layer: "",
    traffic: 1,
    ramp: [],
    holdout: 0,
    forced: [],
    plan: { ...PLAN },
  };
}

// The form's state of a definition that was written before.
export function draftOf(definition) {
  const draft = newDraft();
  const templates = new Map(TEMPLATES.map((metric) => [metric.name, JSON.stringify(sorted(metricOf(metric)))]));
  const own = definition.metrics.filter(
    (metric) => templates.get(metric.name) !== JSON.stringify(sorted(metricOf(metric))),
  );
  const names = new Set(own.map(({ name }) => name));
  return {
    ...draft,
    ...TOP,
    ...definition,
    custom: structuredClone(own),
    known: TEMPLATES.filter(({ name }) => !names.has(name)),
    plan: { ...PLAN, ...definition.plan },
    secondary: [...(definition.secondary ?? [])],
    guardrails: Object.fromEntries(
      (definition.guardrails ?? []).map((guardrail) => [guardrail.metric, { ...GUARDRAIL, ...guardrail }]),
    ),
    targeting: structuredClone(definition.targeting ?? []),
    ramp: structuredClone(definition.ramp ?? []),
    forced: Object.entries(definition.forced ?? {}).map(([member, variant]) => ({ member, variant })),
    variants: definition.variants.map((variant) => ({
      ...newVariant(variant.key, variant.weight),
      ...variant,
      value: written(variant.value),
      patch: patchDraft(variant.patch ?? {}),
    })),
  };
}

const written = (value) =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

const patchDraft = (patch) => ({
  model: patch.model ?? "",
  rows: patch.rows ?? null,
  row_weights: { ...patch.row_weights },
  page_ttl_s: patch.page_ttl_s ?? null,
  params: Object.entries(patch.params ?? {}).map(([name, value]) => ({ name, value })),
});

export const metricsOf = (draft) => [...draft.known, ...draft.custom];

// The metrics in use: the primary first, each once.
export function usedMetrics(draft) {
  const used = new Set([draft.primary, ...draft.secondary, ...Object.keys(draft.guardrails)]);
  return metricsOf(draft)
    .filter(({ name }) => used.has(name))
    .sort((a, b) => (b.name === draft.primary) - (a.name === draft.primary));
}

export function definitionOf(draft) {
  const whole = {
    id: draft.id.trim(),
    hypothesis: draft.hypothesis.trim(),
    owner: draft.owner.trim(),
    variants: draft.variants.map(variantOf),
    metrics: usedMetrics(draft).map(metricOf),
    primary: draft.primary,
    mde: draft.mde,
    secondary: draft.secondary,
    guardrails: Object.entries(draft.guardrails).map(([metric, guardrail]) => ({
      metric,
      ...without(guardrail, { ...GUARDRAIL, metric }),
    })),
    targeting: draft.targeting,
    layer: draft.layer.trim(),
    traffic: draft.traffic,
    ramp: draft.ramp,
    holdout: draft.holdout,
    forced: Object.fromEntries(
      draft.forced.filter(({ member }) => member).map(({ member, variant }) => [member, variant]),
    ),
    plan: without(draft.plan, PLAN),
  };
  return without(whole, TOP);
}

function variantOf({ key, weight, description, value, patch }) {
  return without(
    { key, weight, patch: patchOf(patch), value: valueOf(value), description: description.trim() },
    { patch: {}, value: null, description: "" },
  );
}

function patchOf({ model, rows, row_weights, page_ttl_s, params }) {
  const weights = Object.fromEntries(Object.entries(row_weights).filter(([, weight]) => weight !== null));
  const named = Object.fromEntries(params.filter(({ name }) => name).map(({ name, value }) => [name, value]));
  return without(
    { model: model.trim() || null, rows, row_weights: weights, page_ttl_s, params: named },
    { model: null, rows: null, row_weights: {}, page_ttl_s: null, params: {} },
  );
}

// What apps get: JSON where it is such, text otherwise.
function valueOf(text) {
  if (!text.trim()) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function metricOf(metric) {
  const measure = without(metric.measure, MEASURE);
  return without(
    { ...metric, measure, per: metric.kind === "ratio" && metric.per ? without(metric.per, MEASURE) : null },
    METRIC,
  );
}

// An object without the values that are as by default.
function without(object, defaults) {
  return Object.fromEntries(
    Object.entries(object).filter(
      ([key, value]) => value !== undefined && !(key in defaults && same(value, defaults[key])),
    ),
  );
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));

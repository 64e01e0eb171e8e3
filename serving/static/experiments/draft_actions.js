// What the form's buttons do to its state.

import { newVariant } from "./definition.js";
import { newMetric } from "./templates.js";

const without = (list, at) => list.filter((_, index) => index !== Number(at));

// As even as two decimals of a percent allow; the control takes what is over, and the sum is 1.
export function evenWeights(variants) {
  const each = Math.floor(10_000 / variants.length) / 10_000;
  variants.forEach((variant) => (variant.weight = each));
  variants[0].weight = Number((1 - each * (variants.length - 1)).toFixed(4));
}

const DAY_S = 86_400;
const round = (share) => Number(share.toPrecision(2));

// A ramp with a step more: it begins at the start, and ends with the whole share.
function steeper(ramp, traffic) {
  if (!ramp.length)
    return [
      { after_s: 0, traffic: round(traffic / 10) },
      { after_s: DAY_S, traffic },
    ];
  const last = ramp.at(-1);
  const between = round(((ramp.at(-2)?.traffic ?? 0) + traffic) / 2);
  return [...ramp.slice(0, -1), { ...last, traffic: between }, { after_s: last.after_s + DAY_S, traffic }];
}

// By name; each takes the state and the button's data.
export const ACTIONS = {
  "add-variant": (draft) => {
    const keys = new Set(draft.variants.map(({ key }) => key));
    let number = draft.variants.length;
    while (keys.has(`treatment-${number}`)) number++;
    draft.variants.push(newVariant(`treatment-${number}`, 0));
    evenWeights(draft.variants);
  },
  "remove-variant": (draft, { at }) => {
    draft.variants = without(draft.variants, at);
    evenWeights(draft.variants);
  },
  "even-weights": (draft) => evenWeights(draft.variants),
  "choose-rows": (draft, { at }) =>
    (draft.variants[at].patch.rows = draft.variants[at].patch.rows === null ? [] : null),
  "add-param": (draft, { at }) => draft.variants[at].patch.params.push({ name: "", value: null }),
  "remove-param": (draft, { at, param }) =>
    (draft.variants[at].patch.params = without(draft.variants[at].patch.params, param)),
  "add-rule": (draft) => draft.targeting.push({ attribute: "country", op: "in", values: [] }),
  "remove-rule": (draft, { at }) => (draft.targeting = without(draft.targeting, at)),
  "add-step": (draft) => (draft.ramp = steeper(draft.ramp, draft.traffic)),
  "remove-step": (draft, { at }) => (draft.ramp = without(draft.ramp, at)),
  "add-tester": (draft) => draft.forced.push({ member: "", variant: draft.variants[1].key }),
  "remove-tester": (draft, { at }) => (draft.forced = without(draft.forced, at)),
  "add-metric": (draft) => {
    const taken = new Set([...draft.known, ...draft.custom].map(({ name }) => name));
    let number = 1;
    while (taken.has(`my_metric_${number}`)) number++;
    draft.custom.push(newMetric(`my_metric_${number}`));
    draft.secondary = [...draft.secondary, `my_metric_${number}`];
  },
  "remove-metric": (draft, { at }) => {
    dropMetric(draft, draft.custom[at].name);
    draft.custom = without(draft.custom, at);
  },
  primary: (draft, { metric }) => {
    dropMetric(draft, metric);
    draft.primary = metric;
  },
  secondary: (draft, { metric }) =>
    (draft.secondary = draft.secondary.includes(metric)
      ? draft.secondary.filter((name) => name !== metric)
      : [...draft.secondary, metric]),
  guardrail: (draft, { metric }) => {
    if (draft.guardrails[metric]) delete draft.guardrails[metric];
    else draft.guardrails[metric] = { max_harm: 0.02, stops: true };
  },
};

function dropMetric(draft, name) {
  draft.secondary = draft.secondary.filter((other) => other !== name);
  delete draft.guardrails[name];
  if (draft.primary === name) draft.primary = draft.known[0]?.name ?? "";
}

// Where a metric is named, its new name stands.
export function renameMetric(draft, from, to) {
  const renamed = (name) => (name === from ? to : name);
  draft.primary = renamed(draft.primary);
  draft.secondary = draft.secondary.map(renamed);
  draft.guardrails = Object.fromEntries(
    Object.entries(draft.guardrails).map(([name, terms]) => [renamed(name), terms]),
  );
}

// All metrics' effects on one scale, the guardrails, and segments.

import { h } from "./dom.js";
import { forestAxis, forestRow, reachOf } from "./forest.js";
import { change, count, interval, percent, pValue, significant, title, words } from "./format.js";
import { panel, tableOf, variantName } from "./parts.js";
import { effectOf, signOf } from "./shapes.js";

const ROLES = { primary: "primary", secondary: "secondary", guardrail: "guardrail", other: "" };

const effectCell = (effect) =>
  h(
    "td",
    { class: "number", "data-label": "Effect" },
    h("b", {}, change(effect.estimate)),
    h("br"),
    h("small", {}, effect.why && effect.low === null ? effect.why : interval(effect.low, effect.high)),
  );

// A forest of every metric's effects, on one scale.
export function metricsForest(experiment, report) {
  const rows = report.metrics.flatMap((metric) =>
    metric.effects.map((effect) => ({ metric, effect: effectOf(effect) })),
  );
  if (!rows.length) return panel("metrics", "All metrics", "", h("p", { class: "dim" }, "No effect is known yet."));
  const reach = reachOf(rows.map(({ effect }) => effect));
  const many = experiment.definition.variants.length > 2;
  const line = ({ metric, effect }) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        title(metric.name),
        " ",
        ROLES[metric.role]
          ? h("span", { class: `tag ${metric.role === "primary" ? "gold" : ""}` }, ROLES[metric.role])
          : null,
        many ? h("div", {}, h("small", {}, variantName(experiment, effect.variant))) : null,
        h("div", { class: "sentence" }, effect.sentence),
      ),
      h(
        "td",
        {},
        forestRow(effect, {
          reach,
          sign: signOf(metric),
          mark: metric.role === "primary" ? signOf(metric) * experiment.definition.mde : null,
          label: `${words(metric.name)}, ${effect.variant}`,
        }),
      ),
      effectCell(effect),
      h("td", { class: "number", "data-label": "p" }, pValue(effect.p_adjusted ?? effect.p)),
      h("td", { class: "number", "data-label": "Members" }, count(effect.n)),
    );
  const method =
    {
      sequential: "Intervals hold at every look.",
      group_sequential: "Intervals hold at the planned looks.",
      fixed: "Intervals are for one look, at the end.",
    }[report.method] ?? "";
  return panel(
    "metrics",
    "All metrics",
    `Relative to the control. ${method} Dashed: the effect worth finding.`,
    tableOf(["Metric", "Worse or better", "#Effect and interval", "#p", "#Members"], rows.map(line), {
      kind: "forest stack",
      foot: h("tr", {}, h("td"), h("td", {}, forestAxis(reach)), h("td", { colspan: 3 })),
    }),
    armValues(experiment, report),
  );
}

function armValues(experiment, report) {
  const keys = experiment.definition.variants.map(({ key }) => key);
  return h(
    "details",
    {},
    h("summary", {}, "Values in each arm"),
    tableOf(
      ["Metric", ...keys.map((key) => `#${key}`)],
      report.metrics.map((metric) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, title(metric.name)),
          keys.map((key) =>
            h("td", { class: "number" }, significant(metric.arms.find((arm) => arm.variant === key)?.estimate, 4)),
          ),
        ),
      ),
    ),
  );
}

const HARM = { harmed: ["warn", "harmed"], safe: ["good", "safe"], unsure: ["", "not sure yet"] };

export function guardrails(experiment, report) {
  if (!report.guardrails.length) return null;
  const rows = report.guardrails.map((guardrail) => ({
    ...guardrail,
    seen: effectOf(guardrail),
    metric: report.metrics.find(({ name }) => name === guardrail.metric),
    name: guardrail.metric,
  }));
  const harmAt = ({ metric, max_harm: harm }) => -signOf(metric) * harm;
  const reach = reachOf(
    rows.map(({ seen }) => seen),
    rows.map(harmAt),
  );
  const line = (row) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        title(row.name),
        experiment.definition.variants.length > 2 ? h("div", {}, h("small", {}, row.variant)) : null,
        h("div", { class: "sentence" }, row.sentence),
      ),
      h(
        "td",
        {},
        forestRow(row.seen, {
          reach,
          sign: signOf(row.metric),
          mark: harmAt(row),
          label: `${words(row.name)}, ${row.variant}`,
        }),
      ),
      effectCell(row.seen),
      h("td", { class: "number", "data-label": "Accepted harm" }, percent(row.max_harm, 1)),
      h(
        "td",
        {},
        h("span", { class: `tag ${HARM[row.harm][0]}` }, HARM[row.harm][1]),
        row.stops ? h("div", {}, h("small", {}, "stops\u00a0the\u00a0test")) : null,
      ),
    );
  return panel(
    "guardrails",
    "Guardrails",
    "Must not get worse than the dashed line.",
    tableOf(["Metric", "Worse or better", "#Effect and interval", "#Accepted harm", "State"], rows.map(line), {
      kind: "forest stack",
    }),
  );
}

// Effects among some members: to learn from, and folded away so that nobody decides by them.
export function segments(report) {
  const rows = report.segments.flatMap(({ segment, effects }) =>
    (effects ?? []).map((effect) => ({ segment, effect: effectOf(effect) })),
  );
  if (!rows.length) return null;
  const reach = reachOf(rows.map(({ effect }) => effect));
  const metric = report.metrics.find(({ name }) => name === report.primary);
  const line = ({ segment, effect }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, segment.replace("=", ": ")),
      h("td", {}, effect.variant),
      h("td", {}, forestRow(effect, { reach, sign: signOf(metric), label: segment })),
      effectCell(effect),
      h("td", { class: "number", "data-label": "Members" }, count(effect.n)),
    );
  return h(
    "details",
    { class: "panel" },
    h("summary", {}, h("h2", {}, "Segments"), " exploratory: to learn from, never to decide by"),
    h(
      "p",
      { class: "dim" },
      "Among many segments, some look good by chance alone. A surprise here is a hypothesis for the next experiment.",
    ),
    tableOf(["Segment", "Variant", "Worse or better", "#Effect and interval", "#Members"], rows.map(line), {
      kind: "forest stack",
    }),
  );
}

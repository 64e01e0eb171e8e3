// An experiment's results as sections of its page: decision, figures, metrics, guardrails, segments.

import { h, svg } from "./dom.js";
import { forestAxis, forestRow, reachOf } from "./forest.js";
import { change, count, day, duration, interval, percent, pValue, significant, title, VERDICTS, words } from "./format.js";
import { colour } from "./plot.js";
import { daysOf, effectOf, signOf } from "./shapes.js";
import { banner } from "./shell.js";

const panel = (id, title, note, ...children) => h("section", { class: "panel", "aria-labelledby": `${id}-title` },
  h("header", {}, h("h2", { id: `${id}-title` }, title), note ? h("p", { class: "dim" }, note) : null), ...children);

const variantName = (experiment, key) => {
  const index = experiment.definition.variants.findIndex((variant) => variant.key === key);
  return [h("span", { class: `swatch ${colour(Math.max(0, index))}`, "aria-hidden": "true" }), key];
};

// What a reader must know before any number.
export function warnings(report) {
  if (!report) return [];
  const { srm } = report;
  const shares = srm?.found ? Object.entries(srm.observed).map(([key, n]) => `${key} ${count(n)} (${percent(srm.expected[key], 0)} declared)`).join(", ") : "";
  return [srm?.found ? banner("warning", "The arms are not comparable: members do not come in the declared shares", srm.sentence, `${shares}. Chance of this if all were well: ${pValue(srm.p_value)}.`) : null,
    ...report.warnings.map((warning) => banner("", warning))].filter(Boolean);
}

// The verdict, with its reasons: the one that was made, or what the rules say by now.
export function decisionCard(experiment, decision) {
  const made = experiment.verdict !== null;
  const { verdict, reasons = [], variant } = made ? experiment : decision ?? {};
  if (!verdict) return panel("decision", "Decision", "", h("p", {}, experiment.status === "draft" ? "Not started. The verdict will follow the plan below, with its reasons." : "No results yet: they come a few seconds after the first members."));
  const ship = verdict === "ship" ? experiment.shipped ?? variant : null;
  return h("section", { class: `panel decision ${verdict}`, "aria-labelledby": "decision-title" }, h("header", {}, h("h2", { id: "decision-title" }, made ? "Decided" : "By the rules, as of now"),
    experiment.decided_at_ms ? h("p", { class: "dim" }, day(experiment.decided_at_ms)) : null),
    h("p", { class: "verdict" }, VERDICTS[verdict] ?? words(verdict), ship ? `: ${ship}` : ""), h("ul", { class: "reasons" }, reasons.map((reason) => h("li", {}, reason))));
}

export function figures(experiment, report, now) {
  const { plan, traffic } = experiment.definition;
  const run = daysOf(experiment, now);
  const exposures = report?.exposures ?? [];
  const sum = (name) => exposures.reduce((total, arm) => total + arm[name], 0);
  const members = report?.members ?? 0;
  const figure = (label, value, note, share = null) => h("div", {}, h("dt", {}, label), h("dd", {}, value, note ? h("small", {}, note) : null, share === null ? null : meter(label, share)));
  return h("dl", { class: "panel figures" },
    figure("Running for", experiment.started_at_ms ? (run < 1 ? duration(Math.max(60, Math.round(run * 1440) * 60)) : `${run.toFixed(1)} days`) : "–", `plan: ${significant(plan.min_days)} to ${significant(plan.max_days)} days`, run / plan.max_days),
    figure("Members", count(members), `plan: at least ${count(plan.min_members)}`, members / Math.max(1, plan.min_members)),
    figure("Traffic", percent(experiment.traffic, 0), `of ${percent(traffic, 0)} declared`, traffic ? experiment.traffic / traffic : 0),
    figure("On degraded pages", sum("members") ? percent(sum("degraded") / sum("members")) : "–", `first exposure; ${{ include: "counted", exclude: "left out", stratify: "compared apart" }[plan.degraded]}${sum("crossed") ? `; ${count(sum("crossed"))} saw two variants, left out` : ""}`));
}

function meter(label, share) {
  const width = (Math.max(0, Math.min(1, share)) * 100).toFixed(1);
  return h("div", { class: "meter" }, svg("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${width} %` }, svg("rect", { class: "fill c1", width, height: 4 })));
}

const ROLES = { primary: "primary", secondary: "secondary", guardrail: "guardrail", other: "" };

// A forest of every metric's effects, on one scale.
export function metricsForest(experiment, report) {
  const rows = report.metrics.flatMap((metric) => metric.effects.map((effect) => ({ metric, effect: effectOf(effect) })));
  if (!rows.length) return panel("metrics", "All metrics", "", h("p", { class: "dim" }, "No effect is known yet."));
  const reach = reachOf(rows.map(({ effect }) => effect));
  const many = experiment.definition.variants.length > 2;
  const line = ({ metric, effect }) => h("tr", {},
    h("th", { scope: "row" }, title(metric.name), " ", ROLES[metric.role] ? h("span", { class: `tag ${metric.role === "primary" ? "gold" : ""}` }, ROLES[metric.role]) : null, many ? h("div", {}, h("small", {}, variantName(experiment, effect.variant))) : null,
      h("div", { class: "sentence" }, effect.sentence)),
    h("td", {}, forestRow(effect, { reach, sign: signOf(metric), mark: metric.role === "primary" ? signOf(metric) * experiment.definition.mde : null, label: `${words(metric.name)}, ${effect.variant}` })),
    h("td", { class: "number", "data-label": "Effect" }, h("b", {}, change(effect.estimate)), h("br"), h("small", {}, effect.why && effect.low === null ? effect.why : interval(effect.low, effect.high))),
    h("td", { class: "number", "data-label": "p" }, pValue(effect.p_adjusted ?? effect.p)), h("td", { class: "number", "data-label": "Members" }, count(effect.n)));
  const method = { sequential: "Intervals hold at every look.", group_sequential: "Intervals hold at the planned looks.", fixed: "Intervals are for one look, at the end." }[report.method] ?? "";
  return panel("metrics", "All metrics", `Relative to the control. ${method} Dashed: the effect worth finding.`, h("div", { class: "scroll" }, h("table", { class: "forest stack" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), h("th", { scope: "col" }, "Worse or better"), h("th", { scope: "col", class: "number" }, "Effect and interval"), h("th", { scope: "col", class: "number" }, "p"), h("th", { scope: "col", class: "number" }, "Members"))),
    h("tbody", {}, rows.map(line)), h("tfoot", {}, h("tr", {}, h("td"), h("td", {}, forestAxis(reach)), h("td"), h("td"), h("td"))))),
    armValues(experiment, report));
}

function armValues(experiment, report) {
  const keys = experiment.definition.variants.map(({ key }) => key);
  return h("details", {}, h("summary", {}, "Values in each arm"), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), keys.map((key) => h("th", { scope: "col", class: "number" }, variantName(experiment, key))))),
    h("tbody", {}, report.metrics.map((metric) => h("tr", {}, h("th", { scope: "row" }, title(metric.name)),
      keys.map((key) => h("td", { class: "number" }, significant(metric.arms.find((arm) => arm.variant === key)?.estimate, 4)))))))));
}

const HARM = { harmed: ["warn", "harmed"], safe: ["good", "safe"], unsure: ["", "not sure yet"] };

export function guardrails(experiment, report) {
  if (!report.guardrails.length) return null;
  const rows = report.guardrails.map((guardrail) => ({ ...guardrail, seen: effectOf(guardrail), metric: report.metrics.find(({ name }) => name === guardrail.metric), name: guardrail.metric }));
  const harmAt = ({ metric, max_harm: harm }) => -signOf(metric) * harm;
  const reach = reachOf(rows.map(({ seen }) => seen), rows.map(harmAt));
  const line = (row) => h("tr", {}, h("th", { scope: "row" }, title(row.name), experiment.definition.variants.length > 2 ? h("div", {}, h("small", {}, row.variant)) : null, h("div", { class: "sentence" }, row.sentence)),
    h("td", {}, forestRow(row.seen, { reach, sign: signOf(row.metric), mark: harmAt(row), label: `${words(row.name)}, ${row.variant}` })),
    h("td", { class: "number", "data-label": "Effect" }, h("b", {}, change(row.seen.estimate)), h("br"), h("small", {}, interval(row.seen.low, row.seen.high))),
    h("td", { class: "number", "data-label": "Accepted harm" }, percent(row.max_harm, 1)),
    h("td", {}, h("span", { class: `tag ${HARM[row.harm][0]}` }, HARM[row.harm][1]), row.stops ? h("div", {}, h("small", {}, "stops the test")) : null));
  return panel("guardrails", "Guardrails", "Must not get worse than the dashed line.", h("div", { class: "scroll" }, h("table", { class: "forest stack" },
    h("thead", {}, h("tr", {}, ["Metric", "Worse or better"].map((name) => h("th", { scope: "col" }, name)), ["Effect and interval", "Accepted harm"].map((name) => h("th", { scope: "col", class: "number" }, name)), h("th", { scope: "col" }, "State"))),
    h("tbody", {}, rows.map(line)))));
}

// Effects among some members: to learn from, and folded away so that nobody decides by them.
export function segments(report) {
  const rows = report.segments.flatMap(({ segment, effects }) => (effects ?? []).map((effect) => ({ segment, effect: effectOf(effect) })));
  if (!rows.length) return null;
  const reach = reachOf(rows.map(({ effect }) => effect));
  const metric = report.metrics.find(({ name }) => name === report.primary);
  return h("details", { class: "panel" }, h("summary", {}, h("h2", {}, "Segments"), " exploratory: to learn from, never to decide by"),
    h("p", { class: "dim" }, "Among many segments, some look good by chance alone. A surprise here is a hypothesis for the next experiment."),
    h("div", { class: "scroll" }, h("table", { class: "forest stack" }, h("thead", {}, h("tr", {}, ["Segment", "Variant", "Worse or better"].map((name) => h("th", { scope: "col" }, name)), ["Effect and interval", "Members"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, rows.map(({ segment, effect }) => h("tr", {}, h("th", { scope: "row" }, segment.replace("=", ": ")), h("td", {}, effect.variant), h("td", {}, forestRow(effect, { reach, sign: signOf(metric), label: segment })),
        h("td", { class: "number" }, h("b", {}, change(effect.estimate)), h("br"), h("small", {}, interval(effect.low, effect.high))), h("td", { class: "number", "data-label": "Members" }, count(effect.n))))))));
}

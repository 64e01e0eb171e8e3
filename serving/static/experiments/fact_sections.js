// What was written down of an experiment, and what was done with it: header, variants, plan, audit trail.

import { definitionOf, draftOf } from "./definition.js";
import { h } from "./dom.js";
import { change, count, duration, moment, percent, significant, title, words } from "./format.js";
import { colour } from "./plot.js";
import { sentenceOf } from "./templates.js";

export function head(experiment, buttons) {
  const { definition, status, started_at_ms: started, stopped_at_ms: stopped, traffic } = experiment;
  const facts = [
    `owner ${definition.owner}`,
    started ? `started ${moment(started)}` : "not started",
    stopped ? `stopped ${moment(stopped)}` : "",
    status === "running"
      ? `${percent(traffic, traffic < 0.1 ? 1 : 0)} of ${definition.layer ? `layer ${definition.layer}` : "all members"}`
      : "",
    `revision ${experiment.revision}`,
  ];
  return h(
    "div",
    {},
    h(
      "div",
      { class: "title" },
      h("h1", {}, definition.id),
      h("span", { class: `chip ${status}`, id: "status" }, status),
      experiment.shipped ? h("span", { class: "tag good" }, `shipped ${experiment.shipped}`) : null,
    ),
    h("p", { class: "lead", id: "hypothesis" }, definition.hypothesis),
    h(
      "p",
      { class: "facts" },
      facts.filter(Boolean).map((fact) => h("span", {}, fact)),
    ),
    buttons,
  );
}

// What a variant changes, a line each.
export function patchLines({ model, rows, row_weights: weights, page_ttl_s: ttl, params } = {}) {
  return [
    model ? ["model", model] : null,
    rows ? ["only rows", rows.map(words).join(", ")] : null,
    weights && Object.keys(weights).length
      ? [
          "row weights",
          Object.entries(weights)
            .map(([kind, weight]) => `${words(kind)} × ${significant(weight)}`)
            .join(", "),
        ]
      : null,
    ttl !== null && ttl !== undefined ? ["page kept for", duration(ttl)] : null,
    ...Object.entries(params ?? {}).map(([name, value]) => [name, significant(value, 6)]),
  ].filter(Boolean);
}

export function definitionSection({ definition, models }) {
  const { plan } = definition;
  const arm = (variant, index) => {
    const lines = patchLines(variant.patch);
    return h(
      "div",
      { class: "arm" },
      h(
        "h3",
        {},
        h("span", { class: `swatch ${colour(index)}`, "aria-hidden": "true" }),
        variant.key,
        " ",
        h("small", {}, percent(variant.weight)),
        index === 0 ? h("small", {}, " control") : null,
      ),
      variant.description ? h("p", { class: "dim" }, variant.description) : null,
      h(
        "ul",
        { class: "patch" },
        lines.length
          ? lines.map(([name, value]) => h("li", {}, h("b", {}, `${name}: `), value))
          : h("li", { class: "dim" }, "changes nothing on pages"),
        variant.value === undefined || variant.value === null
          ? null
          : h("li", {}, h("b", {}, "apps get: "), h("code", {}, JSON.stringify(variant.value))),
      ),
    );
  };
  const terms = [
    ["Primary metric", metricName(definition, definition.primary)],
    ["Worth finding", change(definition.mde)],
    [
      "Members",
      definition.targeting.length
        ? definition.targeting
            .map(
              ({ attribute, op, values }) =>
                `${attribute} ${op === "in" ? "is one of" : "is none of"} ${values.join(", ")}`,
            )
            .join("; ")
        : "all",
    ],
    ...(Object.keys(models).length
      ? [
          [
            "Models",
            `${Object.entries(models)
              .map(([alias, version]) => `${alias} is ${version.slice(0, 12)}`)
              .join(", ")}: as at the start, wherever the alias moves`,
          ],
        ]
      : []),
    ["Layer", definition.layer || "its own"],
    [
      "Traffic",
      `${percent(definition.traffic)}${definition.holdout ? `; ${percent(definition.holdout)} of all members held out` : ""}`,
    ],
    [
      "Ramp",
      definition.ramp
        .map(
          ({ after_s: after, traffic }) => `${percent(traffic)} ${after ? `after ${duration(after)}` : "at the start"}`,
        )
        .join(", ") || "none",
    ],
    [
      "Testers",
      Object.entries(definition.forced)
        .map(([member, key]) => `${member}: ${key}`)
        .join(", ") || "none",
    ],
    [
      "Reading",
      `${{ sequential: "at any time", group_sequential: `at ${plan.looks ?? 5} planned looks`, fixed: "once, at the end" }[plan.method]}; false alarms ${percent(plan.alpha)}, power ${percent(plan.power, 0)}`,
    ],
    [
      "Duration",
      `${significant(plan.min_days)} to ${significant(plan.max_days)} days, at least ${count(plan.min_members)} members`,
    ],
  ];
  return h(
    "section",
    { class: "panel", "aria-labelledby": "definition-title" },
    h("header", {}, h("h2", { id: "definition-title" }, "What was written down")),
    h("div", { class: "arms" }, definition.variants.map(arm)),
    h(
      "dl",
      { class: "terms" },
      terms.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
    ),
    h(
      "details",
      {},
      h("summary", {}, "The definition as JSON"),
      h("pre", { tabindex: "0" }, JSON.stringify(definitionOf(draftOf(definition)), null, 2)),
    ),
  );
}

function metricName(definition, name) {
  const metric = definition.metrics.find((each) => each.name === name);
  return metric ? `${title(name)}. ${sentenceOf(metric)}` : title(name);
}

// rows: [{at_ms, actor, role, action, detail, revision}], the newest first; whole: whether they are all.
export function auditSection(id, { rows, whole }) {
  return h(
    "section",
    { class: "panel", "aria-labelledby": "audit-title" },
    h(
      "header",
      {},
      h("h2", { id: "audit-title" }, "Audit trail"),
      h("p", { class: "dim" }, "Who did what; nothing here is ever changed."),
    ),
    rows.length
      ? h(
          "div",
          { class: "scroll" },
          h(
            "table",
            { class: "audit stack" },
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                ["When", "Who", "What", "Why"].map((name) => h("th", { scope: "col" }, name)),
              ),
            ),
            h(
              "tbody",
              {},
              rows.map((row) =>
                h(
                  "tr",
                  {},
                  h("td", {}, moment(row.at_ms)),
                  h("td", {}, row.actor, " ", h("span", { class: "tag" }, row.role)),
                  h("td", {}, words(row.action), " ", h("small", {}, `revision ${row.revision}`)),
                  h("td", { class: "detail" }, detailText(row.detail)),
                ),
              ),
            ),
          ),
        )
      : h("p", { class: "dim" }, "Nothing yet."),
    whole
      ? null
      : h("p", { class: "dim" }, "These are the newest. All: ", h("code", {}, `marquee experiments audit ${id}`)),
  );
}

function valueText(name, value) {
  const text = (one) => (name === "traffic" ? percent(one) : String(one));
  if (Array.isArray(value)) return value.map(text).join(", ");
  if (typeof value !== "object") return text(value);
  return "before" in value ? `${text(value.before)} to ${text(value.after)}` : JSON.stringify(value);
}

// Details as `name: value`, without what is long and shown elsewhere.
function detailText(detail) {
  if (detail === null || detail === undefined || detail === "") return "";
  if (typeof detail !== "object") return String(detail);
  const short = ([name, value]) => `${words(name)}: ${valueText(name, value)}`;
  return Object.entries(detail)
    .filter(([name, value]) => name !== "definition" && value !== null && JSON.stringify(value).length < 400)
    .map(short)
    .join("; ");
}

// The form's metrics: which there are, what each is for, and those of one's own.

import { metricsOf } from "./definition.js";
import { h } from "./dom.js";
import { checksField, inputField, problemPlace, selectField } from "./fields.js";
import { button, remove, section } from "./form_parts.js";
import { title, words } from "./format.js";
import { sentenceOf } from "./templates.js";

export function metrics(draft, vocabulary) {
  const all = metricsOf(draft);
  return section(
    "2",
    "How will you know?",
    "One primary metric decides. Secondary metrics explain, guardrails must not get worse.",
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "choice" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Metric", "Primary", "Secondary", "Guardrail"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          all.map((metric) => metricChoice(draft, metric)),
        ),
      ),
    ),
    problemPlace("primary"),
    problemPlace("metrics"),
    problemPlace("secondary"),
    problemPlace("guardrails"),
    draft.custom.map((metric, index) => metricEditor(draft, index, vocabulary)),
    h("p", { class: "buttons" }, button("add-metric", "Define another metric")),
    h(
      "div",
      { class: "row" },
      inputField(draft, "mde", "Smallest effect worth finding", {
        kind: "percent",
        min: 0,
        hint: "Relative change of the primary metric. Smaller takes longer: half of it, four times the members.",
      }),
    ),
  );
}

function metricChoice(draft, metric) {
  const { name } = metric;
  const pick = (type, action, checked, disabled, label) => {
    const input = h("input", {
      type,
      id: `m-${action}-${name}`,
      name: type === "radio" ? "primary" : null,
      "data-do": action,
      "data-metric": name,
      "aria-label": `${words(name)}: ${label}`,
      disabled,
    });
    input.checked = checked;
    return input;
  };
  const primary = draft.primary === name;
  const guardrail = draft.guardrails[name];
  return h(
    "tr",
    {},
    h("td", {}, title(name), h("div", { class: "what" }, metric.description || sentenceOf(metric))),
    h("td", {}, pick("radio", "primary", primary, false, "primary")),
    h("td", {}, pick("checkbox", "secondary", draft.secondary.includes(name), primary, "secondary")),
    h(
      "td",
      {},
      pick("checkbox", "guardrail", Boolean(guardrail), primary, "guardrail"),
      guardrail ? guardrailTerms(name, guardrail) : null,
    ),
  );
}

function guardrailTerms(name, { max_harm, stops }) {
  const harm = h("input", {
    type: "number",
    step: "any",
    min: 0,
    id: `g-harm-${name}`,
    "data-guard": name,
    "data-part": "max_harm",
    "aria-label": `${words(name)}: worse by up to, in percent`,
  });
  harm.value = Number((max_harm * 100).toFixed(8));
  const box = h("input", { type: "checkbox", id: `g-stops-${name}`, "data-guard": name, "data-part": "stops" });
  box.checked = stops;
  return h(
    "div",
    { class: "what" },
    h("div", { class: "unit" }, h("span", {}, "may worsen by"), harm, h("span", {}, "%")),
    h("label", { class: "check" }, box, "stops the test beyond"),
  );
}

function metricEditor(draft, index, { event_types: types }) {
  const path = `custom.${index}`;
  const { kind } = draft.custom[index];
  const of = [
    ["events", "number of events"],
    ["value", "sum of their values (stars, seconds)"],
  ];
  return h(
    "div",
    { class: "variant" },
    h("header", {}, h("h3", {}, "Your metric"), remove("remove-metric", index, "this metric")),
    h(
      "div",
      { class: "row" },
      inputField(draft, `${path}.name`, "Name", { "data-rename": index, maxlength: 64 }),
      selectField(
        draft,
        `${path}.kind`,
        "Kind",
        [
          ["count", "count"],
          ["sum", "sum"],
          ["ratio", "ratio"],
          ["conversion", "conversion"],
          ["retention", "retention"],
          ["percentile", "percentile"],
        ],
        { "data-shape": true },
      ),
      selectField(draft, `${path}.direction`, "Better is", [
        ["increase", "more"],
        ["decrease", "less"],
      ]),
    ),
    checksField(draft, `${path}.measure.types`, "Events", types),
    h(
      "div",
      { class: "row" },
      ["ratio", "percentile"].includes(kind) ? selectField(draft, `${path}.measure.of`, "Measure", of) : null,
      inputField(draft, `${path}.measure.min_value`, "Only values of at least", { kind: "number" }),
    ),
    kind === "ratio"
      ? [
          checksField(draft, `${path}.per.types`, "Per events", types),
          selectField(draft, `${path}.per.of`, "Per measure", of),
        ]
      : null,
    h(
      "div",
      { class: "row" },
      inputField(draft, `${path}.window_s`, "Within", {
        kind: "days",
        min: 0,
        hint: "of the first exposure; empty: all",
      }),
      kind === "retention"
        ? inputField(draft, `${path}.after_s`, "From", { kind: "days", min: 0, hint: "after the first exposure" })
        : null,
      kind === "percentile"
        ? inputField(draft, `${path}.quantile`, "Quantile", { kind: "number", min: 0, max: 1 })
        : null,
      ["count", "sum", "ratio"].includes(kind)
        ? inputField(draft, `${path}.cap`, "Cap", { kind: "number", min: 0, hint: "a member counts up to this" })
        : null,
      selectField(draft, `${path}.attribution`, "Counts", [
        ["member", "all a member does"],
        ["page", "on pages since exposure"],
      ]),
    ),
    inputField(draft, `${path}.description`, "In words", { maxlength: 200 }),
  );
}

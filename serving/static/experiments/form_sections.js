// The sections of the form, made from its state.

import { checkField, checksField, inputField, problemPlace, selectField, textField } from "./fields.js";
import { metricsOf } from "./definition.js";
import { h } from "./dom.js";
import { title, words } from "./format.js";
import { sentenceOf } from "./templates.js";

const section = (step, title, hint, ...children) =>
  h("fieldset", { class: "panel" }, h("legend", {}, h("span", { class: "step", "aria-hidden": "true" }, step), title), hint ? h("p", { class: "dim" }, hint) : null, ...children);

const button = (action, label, data = {}) => h("button", { type: "button", "data-do": action, ...data }, label);
const remove = (action, index, what) => h("button", { type: "button", class: "plain", "data-do": action, "data-at": index, "aria-label": `Remove ${what}` }, "Remove");

export function sectionsOf(draft, vocabulary, { fixedId }) {
  return [idea(draft, fixedId), metrics(draft, vocabulary), variants(draft, vocabulary), audience(draft), plan(draft)];
}

function idea(draft, fixedId) {
  return section("1", "What do you believe?", "",
    textField(draft, "hypothesis", "Hypothesis", { hint: "What you change, for whom, what it will do to what, and why you think so.", placeholder: "Ranking with the new model makes members play more, because …", required: true, rows: 3 }),
    h("div", { class: "row" },
      inputField(draft, "id", "Id", { hint: fixedId ? "An id stays what it is." : "Lower-case letters, digits and “-”. Apps ask for the variant by it.", placeholder: "new-ranking", required: true, disabled: fixedId, maxlength: 64 }),
      inputField(draft, "owner", "Owner", { hint: "Who decides, and answers questions.", placeholder: "you, or your team", required: true, maxlength: 128 })));
}

function metrics(draft, vocabulary) {
  const all = metricsOf(draft);
  return section("2", "How will you know?", "One primary metric decides. Secondary metrics explain, guardrails must not get worse.",
    h("div", { class: "scroll" }, h("table", { class: "choice" },
      h("thead", {}, h("tr", {}, ["Metric", "Primary", "Secondary", "Guardrail"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, all.map((metric) => metricChoice(draft, metric))))),
    problemPlace("primary"), problemPlace("metrics"), problemPlace("secondary"), problemPlace("guardrails"),
    draft.custom.map((metric, index) => metricEditor(draft, index, vocabulary)),
    h("p", { class: "buttons" }, button("add-metric", "Define another metric")),
    h("div", { class: "row" }, inputField(draft, "mde", "Smallest effect worth finding", { kind: "percent", min: 0, hint: "Relative change of the primary metric. Smaller takes longer: half of it, four times the members." })));
}

function metricChoice(draft, metric) {
  const { name } = metric;
  const pick = (type, action, checked, disabled, label) => {
    const input = h("input", { type, id: `m-${action}-${name}`, name: type === "radio" ? "primary" : null, "data-do": action, "data-metric": name, "aria-label": `${words(name)}: ${label}`, disabled });
    input.checked = checked;
    return input;
  };
  const primary = draft.primary === name;
  const guardrail = draft.guardrails[name];
  return h("tr", {}, h("td", {}, title(name), h("div", { class: "what" }, metric.description || sentenceOf(metric))),
    h("td", {}, pick("radio", "primary", primary, false, "primary")),
    h("td", {}, pick("checkbox", "secondary", draft.secondary.includes(name), primary, "secondary")),
    h("td", {}, pick("checkbox", "guardrail", Boolean(guardrail), primary, "guardrail"), guardrail ? guardrailTerms(name, guardrail) : null));
}

function guardrailTerms(name, { max_harm, stops }) {
  const harm = h("input", { type: "number", step: "any", min: 0, id: `g-harm-${name}`, "data-guard": name, "data-part": "max_harm", "aria-label": `${words(name)}: worse by up to, in percent` });
  harm.value = Number((max_harm * 100).toFixed(8));
  const box = h("input", { type: "checkbox", id: `g-stops-${name}`, "data-guard": name, "data-part": "stops" });
  box.checked = stops;
  return h("div", { class: "what" }, h("div", { class: "unit" }, h("span", {}, "may worsen by"), harm, h("span", {}, "%")), h("label", { class: "check" }, box, "stops the test beyond"));
}

function metricEditor(draft, index, { event_types: types }) {
  const path = `custom.${index}`;
  const { kind } = draft.custom[index];
  const of = [["events", "number of events"], ["value", "sum of their values (stars, seconds)"]];
  return h("div", { class: "variant" }, h("header", {}, h("h3", {}, "Your metric"), remove("remove-metric", index, "this metric")),
    h("div", { class: "row" }, inputField(draft, `${path}.name`, "Name", { "data-rename": index, maxlength: 64 }),
      selectField(draft, `${path}.kind`, "Kind", [["count", "count"], ["sum", "sum"], ["ratio", "ratio"], ["conversion", "conversion"], ["retention", "retention"], ["percentile", "percentile"]], { "data-shape": true }),
      selectField(draft, `${path}.direction`, "Better is", [["increase", "more"], ["decrease", "less"]])),
    checksField(draft, `${path}.measure.types`, "Events", types),
    h("div", { class: "row" }, ["ratio", "percentile"].includes(kind) ? selectField(draft, `${path}.measure.of`, "Measure", of) : null, inputField(draft, `${path}.measure.min_value`, "Only values of at least", { kind: "number" })),
    kind === "ratio" ? [checksField(draft, `${path}.per.types`, "Per events", types), selectField(draft, `${path}.per.of`, "Per measure", of)] : null,
    h("div", { class: "row" }, inputField(draft, `${path}.window_s`, "Within", { kind: "days", min: 0, hint: "of the first exposure; empty: all" }),
      kind === "retention" ? inputField(draft, `${path}.after_s`, "From", { kind: "days", min: 0, hint: "after the first exposure" }) : null,
      kind === "percentile" ? inputField(draft, `${path}.quantile`, "Quantile", { kind: "number", min: 0, max: 1 }) : null,
      ["count", "sum", "ratio"].includes(kind) ? inputField(draft, `${path}.cap`, "Cap", { kind: "number", min: 0, hint: "a member counts up to this" }) : null,
      selectField(draft, `${path}.attribution`, "Counts", [["member", "all a member does"], ["page", "on pages since exposure"]])),
    inputField(draft, `${path}.description`, "In words", { maxlength: 200 }));
}

function variants(draft, vocabulary) {
  return section("3", "What is different?", "The first variant is the control: members see what they see today.",
    draft.variants.map((variant, index) => variantFields(draft, index, vocabulary)), problemPlace("variants"),
    h("p", { class: "buttons" }, button("add-variant", "Add a variant"), button("even-weights", "Split evenly")));
}

function variantFields(draft, index, { row_kinds: kinds }) {
  const path = `variants.${index}`;
  const { patch } = draft.variants[index];
  const deep = patch.rows !== null || Object.keys(patch.row_weights).length || patch.params.length || patch.page_ttl_s !== null || draft.variants[index].value;
  return h("div", { class: "variant" },
    h("header", {}, h("h3", {}, index === 0 ? "Control" : `Treatment ${draft.variants.length > 2 ? index : ""}`), draft.variants.length > 2 && index ? remove("remove-variant", index, `variant ${index + 1}`) : null),
    h("div", { class: "row" }, inputField(draft, `${path}.key`, "Key", { maxlength: 64, required: true }), inputField(draft, `${path}.weight`, "Share of members", { kind: "percent", min: 0, max: 100 }),
      inputField(draft, `${path}.patch.model`, "Model", { list: "models", placeholder: "as by default", hint: "an alias or a version" })),
    inputField(draft, `${path}.description`, "What members see", { placeholder: index === 0 ? "The homepage as it is" : "", maxlength: 500 }), problemPlace(`${path}.patch`),
    h("details", { open: Boolean(deep) }, h("summary", {}, "Rows, cache, page parameters, value for apps"), rowFields(draft, path, kinds),
      h("div", { class: "row" }, inputField(draft, `${path}.patch.page_ttl_s`, "Page kept for", { kind: "number", min: 0, placeholder: "as by default", hint: "seconds in the page cache" }),
        inputField(draft, `${path}.value`, "Value for apps", { placeholder: "the key", hint: "text, number, true, false or JSON, read with any OpenFeature SDK" })),
      paramFields(draft, path, index)));
}

function rowFields(draft, path, kinds) {
  const only = draft.variants[path.split(".")[1]].patch.rows !== null;
  const box = h("input", { type: "checkbox", id: `rows-${path.replaceAll(".", "-")}`, "data-do": "choose-rows", "data-at": path.split(".")[1] });
  box.checked = only;
  return [h("div", { class: "field" }, h("label", { class: "check" }, box, "Only some kinds of rows")), only ? checksField(draft, `${path}.patch.rows`, "Kinds of rows", kinds) : problemPlace(`${path}.patch.rows`),
    h("div", { class: "row" }, kinds.map((kind) => inputField(draft, `${path}.patch.row_weights.${kind}`, `Weight of ${words(kind)}`, { kind: "number", min: 0, placeholder: "1" }))), problemPlace(`${path}.patch.row_weights`)];
}

function paramFields(draft, path, index) {
  const { params } = draft.variants[index].patch;
  return [params.map((param, at) => h("div", { class: "row" },
    inputField(draft, `${path}.patch.params.${at}.name`, "Parameter", { list: "page-params" }), inputField(draft, `${path}.patch.params.${at}.value`, "Value", { kind: "number" }),
    h("div", { class: "field" }, h("span", { class: "label", "aria-hidden": "true" }, "\u00a0"), h("button", { type: "button", class: "plain", "data-do": "remove-param", "data-at": index, "data-param": at, "aria-label": "Remove this parameter" }, "Remove")))),
    problemPlace(`${path}.patch.params`), h("p", { class: "buttons" }, button("add-param", "Set a page parameter", { "data-at": index }))];
}

function audience(draft) {
  return section("4", "Who takes part?", "",
    h("div", { class: "row" }, inputField(draft, "traffic", "Share of members", { kind: "percent", min: 0, max: 100, hint: "of the layer; may grow later, never shrink" }),
      inputField(draft, "layer", "Layer", { list: "layers", placeholder: "its own", hint: "experiments of one layer share no members" }),
      inputField(draft, "holdout", "Holdout", { kind: "percent", min: 0, max: 100, hint: "of all members see no experiment at all" })),
    h("h3", {}, "Only members where"), draft.targeting.length ? null : h("p", { class: "dim" }, "All members."),
    draft.targeting.map((rule, at) => h("div", { class: "row" }, inputField(draft, `targeting.${at}.attribute`, "Attribute", { list: "attributes" }),
      selectField(draft, `targeting.${at}.op`, "Is", [["in", "any of"], ["not_in", "none of"]]), inputField(draft, `targeting.${at}.values`, "Values", { kind: "list", placeholder: "US, NL" }),
      h("div", { class: "field" }, remove("remove-rule", at, "this rule")))),
    problemPlace("targeting"), h("p", { class: "buttons" }, button("add-rule", "Add a condition")),
    h("h3", {}, "Ramp"), draft.ramp.length ? null : h("p", { class: "dim" }, "The whole share from the start."),
    draft.ramp.map((step, at) => h("div", { class: "row" }, inputField(draft, `ramp.${at}.after_s`, "After", { kind: "hours", min: 0 }), inputField(draft, `ramp.${at}.traffic`, "Share", { kind: "percent", min: 0, max: 100 }),
      h("div", { class: "field" }, remove("remove-step", at, "this step")))),
    problemPlace("ramp"), h("p", { class: "buttons" }, button("add-step", "Add a step")),
    h("h3", {}, "Testers"), h("p", { class: "dim" }, "They always see the variant given here, and are not counted."),
    draft.forced.map((tester, at) => h("div", { class: "row" }, inputField(draft, `forced.${at}.member`, "Member", { maxlength: 128 }),
      selectField(draft, `forced.${at}.variant`, "Variant", draft.variants.map(({ key }) => [key, key])), h("div", { class: "field" }, remove("remove-tester", at, "this tester")))),
    problemPlace("forced"), h("p", { class: "buttons" }, button("add-tester", "Add a tester")));
}

function plan(draft) {
  const { method } = draft.plan;
  const explained = {
    sequential: "Look as often as you like: the intervals hold at all looks together.",
    group_sequential: "A few planned looks share the error; between them nothing is decided.",
    fixed: "One look, at the end. Looking earlier and stopping on it would fool you.",
  };
  return section("5", "How is it read?", "Fixed before the start, so that nobody can choose the reading afterwards.",
    h("div", { class: "row" },
      selectField(draft, "plan.method", "Method", [["sequential", "any time"], ["group_sequential", "planned looks"], ["fixed", "once, at the end"]], { "data-shape": true, hint: explained[method] }),
      inputField(draft, "plan.min_days", "No decision before", { kind: "number", min: 0, hint: "days; a whole week sees all weekdays" }), inputField(draft, "plan.max_days", "None later than", { kind: "number", min: 0, hint: "days; then it is inconclusive" })),
    h("div", { class: "row" },
      inputField(draft, "plan.alpha", "False alarms", { kind: "percent", hint: "chance to see an effect where there is none" }), inputField(draft, "plan.power", "Power", { kind: "percent", hint: "chance to find the effect, if there is one" }),
      inputField(draft, "plan.min_members", "Least members", { kind: "number", min: 0 })),
    method === "sequential" ? problemPlace("plan.planned_members") : h("div", { class: "row" }, inputField(draft, "plan.planned_members", "Planned members", { kind: "number", min: 1, hint: "over all variants" }),
      method === "group_sequential" ? [inputField(draft, "plan.looks", "Looks", { kind: "number", min: 1 }), selectField(draft, "plan.spending", "Spending", [["obrien_fleming", "O’Brien–Fleming"], ["pocock", "Pocock"]])] : null),
    h("details", {}, h("summary", {}, "More of the plan"), h("div", { class: "row" },
      selectField(draft, "plan.correction", "Many secondary metrics", [["holm", "Holm"], ["benjamini_hochberg", "Benjamini–Hochberg"], ["none", "no correction"]]),
      selectField(draft, "plan.degraded", "Members first seen on degraded pages", [["include", "included"], ["exclude", "excluded"], ["stratify", "apart"]]),
      inputField(draft, "plan.segments", "Segments", { kind: "list", hint: "attributes to look at, exploratory" }),
      inputField(draft, "plan.pre_period_s", "Look-back before exposure", { kind: "days", min: 0 }), inputField(draft, "plan.srm_alpha", "Alarm of wrong shares", { kind: "percent" }), inputField(draft, "plan.futility", "Give up below", { kind: "percent", hint: "chance to still find the effect; empty: never" })),
      checkField(draft, "plan.cuped", "Use what members did before to narrow the intervals (CUPED)")), problemPlace("plan"));
}

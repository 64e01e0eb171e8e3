// The sections of the form, made from its state.

import { h } from "./dom.js";
import { checkField, inputField, problemPlace, selectField, textField } from "./fields.js";
import { button, remove, section } from "./form_parts.js";
import { metrics } from "./metric_fields.js";
import { variants } from "./variant_fields.js";

export function sectionsOf(draft, vocabulary, { fixedId }) {
  return [idea(draft, fixedId), metrics(draft, vocabulary), variants(draft, vocabulary), audience(draft), plan(draft)];
}

function idea(draft, fixedId) {
  return section(
    "1",
    "What do you believe?",
    "",
    textField(draft, "hypothesis", "Hypothesis", {
      hint: "What you change, for whom, what it will do to what, and why you think so.",
      placeholder: "Ranking with the new model makes members play more, because …",
      required: true,
      rows: 3,
    }),
    h(
      "div",
      { class: "row" },
      inputField(draft, "id", "Id", {
        hint: fixedId
          ? "An id stays what it is."
          : "Lower-case letters, digits and “-”. Apps ask for the variant by it.",
        placeholder: "new-ranking",
        required: true,
        disabled: fixedId,
        maxlength: 64,
      }),
      inputField(draft, "owner", "Owner", {
        hint: "Who decides, and answers questions.",
        placeholder: "you, or your team",
        required: true,
        maxlength: 128,
      }),
    ),
  );
}

function audience(draft) {
  return section(
    "4",
    "Who takes part?",
    "",
    h(
      "div",
      { class: "row" },
      inputField(draft, "traffic", "Share of members", {
        kind: "percent",
        min: 0,
        max: 100,
        hint: "of the layer; may grow later, never shrink",
      }),
      inputField(draft, "layer", "Layer", {
        list: "layers",
        placeholder: "its own",
        hint: "experiments of one layer share no members",
      }),
      inputField(draft, "holdout", "Holdout", {
        kind: "percent",
        min: 0,
        max: 100,
        hint: "of all members see no experiment at all",
      }),
    ),
    h("h3", {}, "Only members where"),
    draft.targeting.length ? null : h("p", { class: "dim" }, "All members."),
    draft.targeting.map((rule, at) =>
      h(
        "div",
        { class: "row" },
        inputField(draft, `targeting.${at}.attribute`, "Attribute", { list: "attributes" }),
        selectField(draft, `targeting.${at}.op`, "Is", [
          ["in", "any of"],
          ["not_in", "none of"],
        ]),
        inputField(draft, `targeting.${at}.values`, "Values", { kind: "list", placeholder: "US, NL" }),
        h("div", { class: "field" }, remove("remove-rule", at, "this rule")),
      ),
    ),
    problemPlace("targeting"),
    h("p", { class: "buttons" }, button("add-rule", "Add a condition")),
    h("h3", {}, "Ramp"),
    draft.ramp.length ? null : h("p", { class: "dim" }, "The whole share from the start."),
    draft.ramp.map((step, at) =>
      h(
        "div",
        { class: "row" },
        inputField(draft, `ramp.${at}.after_s`, "After", { kind: "hours", min: 0 }),
        inputField(draft, `ramp.${at}.traffic`, "Share", { kind: "percent", min: 0, max: 100 }),
        h("div", { class: "field" }, remove("remove-step", at, "this step")),
      ),
    ),
    problemPlace("ramp"),
    h("p", { class: "buttons" }, button("add-step", "Add a step")),
    h("h3", {}, "Testers"),
    h("p", { class: "dim" }, "They always see the variant given here, and are not counted."),
    draft.forced.map((tester, at) =>
      h(
        "div",
        { class: "row" },
        inputField(draft, `forced.${at}.member`, "Member", { maxlength: 128 }),
        selectField(
          draft,
          `forced.${at}.variant`,
          "Variant",
          draft.variants.map(({ key }) => [key, key]),
        ),
        h("div", { class: "field" }, remove("remove-tester", at, "this tester")),
      ),
    ),
    problemPlace("forced"),
    h("p", { class: "buttons" }, button("add-tester", "Add a tester")),
  );
}

function plan(draft) {
  const { method } = draft.plan;
  const explained = {
    sequential: "Look as often as you like: the intervals hold at all looks together.",
    group_sequential: "A few planned looks share the error; between them nothing is decided.",
    fixed: "One look, at the end. Looking earlier and stopping on it would fool you.",
  };
  return section(
    "5",
    "How is it read?",
    "Fixed before the start, so that nobody can choose the reading afterwards.",
    h(
      "div",
      { class: "row" },
      selectField(
        draft,
        "plan.method",
        "Method",
        [
          ["sequential", "any time"],
          ["group_sequential", "planned looks"],
          ["fixed", "once, at the end"],
        ],
        { "data-shape": true, hint: explained[method] },
      ),
      inputField(draft, "plan.min_days", "No decision before", {
        kind: "number",
        min: 0,
        hint: "days; a whole week sees all weekdays",
      }),
      inputField(draft, "plan.max_days", "None later than", {
        kind: "number",
        min: 0,
        hint: "days; then it is inconclusive",
      }),
    ),
    h(
      "div",
      { class: "row" },
      inputField(draft, "plan.alpha", "False alarms", {
        kind: "percent",
        hint: "chance to see an effect where there is none",
      }),
      inputField(draft, "plan.power", "Power", { kind: "percent", hint: "chance to find the effect, if there is one" }),
      inputField(draft, "plan.min_members", "Least members", { kind: "number", min: 0 }),
    ),
    method === "sequential"
      ? problemPlace("plan.planned_members")
      : h(
          "div",
          { class: "row" },
          inputField(draft, "plan.planned_members", "Planned members", {
            kind: "number",
            min: 1,
            hint: "over all variants",
          }),
          method === "group_sequential"
            ? [
                inputField(draft, "plan.looks", "Looks", { kind: "number", min: 1 }),
                selectField(draft, "plan.spending", "Spending", [
                  ["obrien_fleming", "O’Brien–Fleming"],
                  ["pocock", "Pocock"],
                ]),
              ]
            : null,
        ),
    h(
      "details",
      {},
      h("summary", {}, "More of the plan"),
      h(
        "div",
        { class: "row" },
        selectField(draft, "plan.correction", "Many secondary metrics", [
          ["holm", "Holm"],
          ["benjamini_hochberg", "Benjamini–Hochberg"],
          ["none", "no correction"],
        ]),
        selectField(draft, "plan.degraded", "Members first seen on degraded pages", [
          ["include", "included"],
          ["exclude", "excluded"],
          ["stratify", "apart"],
        ]),
        inputField(draft, "plan.segments", "Segments", { kind: "list", hint: "attributes to look at, exploratory" }),
        inputField(draft, "plan.pre_period_s", "Look-back before exposure", { kind: "days", min: 0 }),
        inputField(draft, "plan.srm_alpha", "Alarm of wrong shares", { kind: "percent" }),
        inputField(draft, "plan.futility", "Give up below", {
          kind: "percent",
          hint: "chance to still find the effect; empty: never",
        }),
      ),
      checkField(draft, "plan.cuped", "Use what members did before to narrow the intervals (CUPED)"),
    ),
    problemPlace("plan"),
  );
}

// The form's variants: shares of members, and what each changes.

import { h } from "./dom.js";
import { checksField, inputField, problemPlace } from "./fields.js";
import { button, remove, section } from "./form_parts.js";
import { words } from "./format.js";

export function variants(draft, vocabulary) {
  return section(
    "3",
    "What is different?",
    "The first variant is the control: members see what they see today.",
    draft.variants.map((variant, index) => variantFields(draft, index, vocabulary)),
    problemPlace("variants"),
    h("p", { class: "buttons" }, button("add-variant", "Add a variant"), button("even-weights", "Split evenly")),
  );
}

function variantFields(draft, index, { row_kinds: kinds }) {
  const path = `variants.${index}`;
  const { patch } = draft.variants[index];
  const deep =
    patch.rows !== null ||
    Object.keys(patch.row_weights).length ||
    patch.params.length ||
    patch.page_ttl_s !== null ||
    draft.variants[index].value;
  return h(
    "div",
    { class: "variant" },
    h(
      "header",
      {},
      h("h3", {}, index === 0 ? "Control" : `Treatment${draft.variants.length > 2 ? ` ${index}` : ""}`),
      draft.variants.length > 2 && index ? remove("remove-variant", index, `variant ${index + 1}`) : null,
    ),
    h(
      "div",
      { class: "row" },
      inputField(draft, `${path}.key`, "Key", { maxlength: 64, required: true }),
      inputField(draft, `${path}.weight`, "Share of members", { kind: "percent", min: 0, max: 100 }),
      inputField(draft, `${path}.patch.model`, "Model", {
        list: "models",
        placeholder: "as by default",
        hint: "an alias or a version",
      }),
    ),
    inputField(draft, `${path}.description`, "What members see", {
      placeholder: index === 0 ? "The homepage as it is" : "",
      maxlength: 500,
    }),
    problemPlace(`${path}.patch`),
    h(
      "details",
      { open: Boolean(deep) },
      h("summary", {}, "Rows, cache, page parameters, value for apps"),
      rowFields(draft, path, kinds),
      h(
        "div",
        { class: "row" },
        inputField(draft, `${path}.patch.page_ttl_s`, "Page kept for", {
          kind: "number",
          min: 0,
          placeholder: "as by default",
          hint: "seconds in the page cache",
        }),
        inputField(draft, `${path}.value`, "Value for apps", {
          placeholder: "the key",
          hint: "text, number, true, false or JSON, read with any OpenFeature SDK",
        }),
      ),
      paramFields(draft, path, index),
    ),
  );
}

function rowFields(draft, path, kinds) {
  const only = draft.variants[path.split(".")[1]].patch.rows !== null;
  const box = h("input", {
    type: "checkbox",
    id: `rows-${path.replaceAll(".", "-")}`,
    "data-do": "choose-rows",
    "data-at": path.split(".")[1],
  });
  box.checked = only;
  return [
    h("div", { class: "field" }, h("label", { class: "check" }, box, "Only some kinds of rows")),
    only ? checksField(draft, `${path}.patch.rows`, "Kinds of rows", kinds) : problemPlace(`${path}.patch.rows`),
    h(
      "div",
      { class: "row" },
      kinds.map((kind) =>
        inputField(draft, `${path}.patch.row_weights.${kind}`, `Weight of ${words(kind)}`, {
          kind: "number",
          min: 0,
          placeholder: "1",
        }),
      ),
    ),
    problemPlace(`${path}.patch.row_weights`),
  ];
}

function paramFields(draft, path, index) {
  const { params } = draft.variants[index].patch;
  return [
    params.map((param, at) =>
      h(
        "div",
        { class: "row" },
        inputField(draft, `${path}.patch.params.${at}.name`, "Parameter", { list: "page-params" }),
        inputField(draft, `${path}.patch.params.${at}.value`, "Value", { kind: "number" }),
        h(
          "div",
          { class: "field" },
          h("span", { class: "label", "aria-hidden": "true" }, "\u00a0"),
          h(
            "button",
            {
              type: "button",
              class: "plain",
              "data-do": "remove-param",
              "data-at": index,
              "data-param": at,
              "aria-label": "Remove this parameter",
            },
            "Remove",
          ),
        ),
      ),
    ),
    problemPlace(`${path}.patch.params`),
    h("p", { class: "buttons" }, button("add-param", "Set a page parameter", { "data-at": index })),
  ];
}

// Parts that sections of an experiment's page share.

import { h } from "./dom.js";
import { colour } from "./plot.js";

export const panel = (id, heading, note, ...children) =>
  h(
    "section",
    { class: "panel", "aria-labelledby": `${id}-title` },
    h("header", {}, h("h2", { id: `${id}-title` }, heading), note ? h("p", { class: "dim" }, note) : null),
    ...children,
  );

export function variantName(experiment, key) {
  const index = experiment.definition.variants.findIndex((variant) => variant.key === key);
  return [h("span", { class: `swatch ${colour(Math.max(0, index))}`, "aria-hidden": "true" }), key];
}

// A table that scrolls in itself. head: labels; those that begin with `#` are of numbers. rows: elements.
export function tableOf(head, rows, { kind = "", foot = null } = {}) {
  const cell = (label) =>
    h("th", { scope: "col", class: label.startsWith("#") ? "number" : null }, label.replace(/^#/, ""));
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: kind },
      h("thead", {}, h("tr", {}, head.map(cell))),
      h("tbody", {}, rows),
      foot ? h("tfoot", {}, foot) : null,
    ),
  );
}

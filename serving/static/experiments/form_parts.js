// Parts that sections of the form share.

import { h } from "./dom.js";

export const section = (step, title, hint, ...children) =>
  h(
    "fieldset",
    { class: "panel" },
    h("legend", {}, h("span", { class: "step", "aria-hidden": "true" }, step), title),
    hint ? h("p", { class: "dim" }, hint) : null,
    ...children,
  );

export const button = (action, label, data = {}) => h("button", { type: "button", "data-do": action, ...data }, label);
export const remove = (action, index, what) =>
  h(
    "button",
    { type: "button", class: "plain", "data-do": action, "data-at": index, "aria-label": `Remove ${what}` },
    "Remove",
  );

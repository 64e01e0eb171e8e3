// A question before something is done: what it does, what it wants to know, and two buttons.

import { $, h } from "./dom.js";

let answer = () => {};

// fields: [{name, label, type, value, hint, required, min, max}]. Resolves to their values by name, or null if cancelled.
export function ask({ title, lines = [], fields = [], confirm, danger = false }) {
  const inputs = fields.map(inputOf);
  const cancel = h("button", { type: "button", value: "cancel" }, "Cancel");
  cancel.addEventListener("click", () => finish(null));
  $("ask-form").replaceChildren(
    h("h2", { id: "ask-title" }, title),
    ...lines.map((line) => h("p", {}, line)),
    ...inputs.map((input, at) => fieldOf(fields[at], input)),
    h(
      "div",
      { class: "buttons" },
      cancel,
      h("button", { class: danger ? "danger" : "main", id: "ask-confirm" }, confirm),
    ),
  );
  $("ask").showModal();
  (inputs[0] ?? $("ask-confirm")).focus();
  return new Promise((resolve) => {
    answer = resolve;
    $("ask-form").onsubmit = (submit) => {
      submit.preventDefault();
      finish(Object.fromEntries(fields.map(({ name }, at) => [name, inputs[at].value.trim()])));
    };
    $("ask").onclose = () => finish(null);
  });
}

function finish(values) {
  const resolve = answer;
  answer = () => {};
  if ($("ask").open) $("ask").close();
  resolve(values);
}

function inputOf({ name, type = "text", value = "", required = true, options, ...rest }) {
  const attributes = { id: `ask-${name}`, name, required };
  if (options) {
    const select = h(
      "select",
      attributes,
      options.map(([key, label]) => h("option", { value: key }, label)),
    );
    select.value = value || options[0][0];
    return select;
  }
  const input =
    type === "area"
      ? h("textarea", { ...attributes, maxlength: 1000 })
      : h("input", { ...attributes, type, step: "any", min: rest.min, max: rest.max });
  input.value = value;
  return input;
}

function fieldOf({ name, label, hint }, input) {
  return h(
    "div",
    { class: "field" },
    h("label", { for: `ask-${name}` }, label),
    input,
    hint ? h("span", { class: "hint" }, hint) : null,
  );
}

// Form fields bound to a place in the form's state by a path such as `variants.1.weight`.

import { h } from "./dom.js";

const SHARE_DIGITS = 10;

export const at = (state, path) => path.split(".").reduce((value, key) => value?.[key], state);

export function put(state, path, value) {
  const keys = path.split(".");
  const last = keys.pop();
  keys.reduce((object, key) => object[key], state)[last] = value;
}

// How values are shown in an input, and read from it. An empty number is null.
const KINDS = {
  text: { show: (value) => value ?? "", read: (text) => text },
  number: { show: (value) => value ?? "", read: (text) => (text === "" ? null : Number(text)) },
  percent: {
    show: (value) => (value === null || value === undefined ? "" : Number((value * 100).toFixed(SHARE_DIGITS - 2))),
    read: (text) => (text === "" ? null : Number((Number(text) / 100).toFixed(SHARE_DIGITS))),
  },
  days: {
    show: (value) => (value === null || value === undefined ? "" : value / 86_400),
    read: (text) => (text === "" ? null : Math.round(Number(text) * 86_400)),
  },
  hours: {
    show: (value) => (value === null || value === undefined ? "" : value / 3600),
    read: (text) => (text === "" ? null : Math.round(Number(text) * 3600)),
  },
  list: {
    show: (value) => (value ?? []).join(", "),
    read: (text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean),
  },
};
const UNITS = { percent: "%", days: "days", hours: "hours" };

export const idOf = (path) => `f-${path.replaceAll(".", "-")}`;

// Reads an input into the state; returns whether it is bound at all.
export function take(state, input) {
  const { path, kind, item } = input.dataset;
  if (!path) return false;
  if (kind === "check") put(state, path, input.checked);
  else if (kind === "item") put(state, path, toggled(at(state, path) ?? [], item, input.checked));
  else put(state, path, KINDS[kind].read(input.value));
  return true;
}

const toggled = (list, item, on) =>
  on ? [...list.filter((other) => other !== item), item] : list.filter((other) => other !== item);

const problemOf = (path) =>
  h("span", { class: "problem", id: `${idOf(path)}-problem`, "data-problem": path, role: "alert" });

function labelled(path, label, hint, control) {
  const about = [hint ? `${idOf(path)}-hint` : "", `${idOf(path)}-problem`].filter(Boolean).join(" ");
  control.querySelector?.("input, select, textarea")?.setAttribute("aria-describedby", about);
  if (control.matches("input, select, textarea")) control.setAttribute("aria-describedby", about);
  return h(
    "div",
    { class: "field" },
    h("label", { for: idOf(path) }, label),
    control,
    hint ? h("span", { class: "hint", id: `${idOf(path)}-hint` }, hint) : null,
    problemOf(path),
  );
}

export function inputField(state, path, label, { kind = "text", hint = "", ...attributes } = {}) {
  const type = kind === "text" || kind === "list" ? "text" : "number";
  const input = h("input", {
    id: idOf(path),
    type,
    step: type === "number" ? "any" : null,
    spellcheck: "false",
    "data-path": path,
    "data-kind": kind,
    ...attributes,
  });
  input.value = KINDS[kind].show(at(state, path));
  return labelled(
    path,
    label,
    hint,
    UNITS[kind] ? h("div", { class: "unit" }, input, h("span", {}, UNITS[kind])) : input,
  );
}

export function textField(state, path, label, { hint = "", ...attributes } = {}) {
  const area = h("textarea", { id: idOf(path), "data-path": path, "data-kind": "text", ...attributes });
  area.value = at(state, path) ?? "";
  return labelled(path, label, hint, area);
}

// options: [[value, label]].
export function selectField(state, path, label, options, { hint = "", ...attributes } = {}) {
  const select = h(
    "select",
    { id: idOf(path), "data-path": path, "data-kind": "text", ...attributes },
    options.map(([value, name]) => h("option", { value }, name)),
  );
  select.value = at(state, path) ?? "";
  return labelled(path, label, hint, select);
}

export function checkField(state, path, label, hint = "") {
  const box = h("input", { id: idOf(path), type: "checkbox", "data-path": path, "data-kind": "check" });
  box.checked = Boolean(at(state, path));
  return h(
    "div",
    { class: "field" },
    h("label", { class: "check" }, box, label),
    hint ? h("span", { class: "hint" }, hint) : null,
    problemOf(path),
  );
}

// A list of which some are chosen.
export function checksField(state, path, label, items) {
  const chosen = new Set(at(state, path) ?? []);
  const boxes = items.map((item) => {
    const box = h("input", {
      id: `${idOf(path)}-${item}`,
      type: "checkbox",
      "data-path": path,
      "data-kind": "item",
      "data-item": item,
    });
    box.checked = chosen.has(item);
    return h("label", { class: "check" }, box, item.replaceAll("_", " "));
  });
  return h(
    "div",
    { class: "field", role: "group", "aria-label": label },
    h("span", { class: "label" }, label),
    h("div", { class: "checks" }, boxes),
    problemOf(path),
  );
}

// A place for problems of something that is no single input.
export const problemPlace = (path) => h("div", { class: "field" }, problemOf(path));

// Shows each problem ({field, fix}) at the input that its field names, or at the nearest there is. Returns those that
// have no place.
export function showProblems(root, problems) {
  for (const place of root.querySelectorAll("[data-problem]")) place.textContent = "";
  for (const input of root.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  return problems.filter(({ field, fix }) => {
    const place = placeOf(root, field);
    if (!place) return true;
    place.textContent = [place.textContent, fix].filter(Boolean).join("; ");
    root.querySelector(`#${CSS.escape(idOf(place.dataset.problem))}`)?.setAttribute("aria-invalid", "true");
    return false;
  });
}

// `variants[1].patch.model` and `variants.1.patch.model` are the same place.
export const normal = (field) =>
  field
    .replace(/^\$\.?/, "")
    .replace(/\[["']?([^\]"']*)["']?\]/g, ".$1")
    .replace(/^\.|^(definition|body)\./, "");

export function placeOf(root, field) {
  const keys = normal(field).split(".");
  while (keys.length) {
    const place = root.querySelector(`[data-problem="${CSS.escape(keys.join("."))}"]`);
    if (place) return place;
    keys.pop();
  }
  return null;
}

// Whether a definition can be run: asked of the server, and shown at the fields and in a list.

import { post } from "./api.js";
import { definitionOf } from "./definition.js";
import { $, h, morphChildren } from "./dom.js";
import { normal, placeOf, showProblems } from "./fields.js";
import { count } from "./format.js";
import { may, whoReads } from "./shell.js";

// All that is wrong with a definition, as [{field, fix}].
export async function check(definition) {
  try {
    return (await post("/v1/experiments/validate", definition)).errors;
  } catch (problem) {
    if (problem.status === 422) return problemsOf(problem);
    return [{ field: "", fix: problem.message }];
  }
}

export const problemsOf = (problem) =>
  problem.errors.length ? problem.errors : [{ field: problem.field, fix: problem.fix || problem.message }];

// Shows problems: those that `isShown` at their fields, all of them in a list. What has not been written yet is no
// mistake until one wants to save.
export function showCheck(draft, problems, isShown) {
  const shown = problems.filter(({ field }) => isShown(normal(field)) || !isUnwritten(draft, normal(field)));
  showProblems(
    $("fields"),
    shown.map((problem) => ({ ...problem, field: homeOf(draft, problem.field) })),
  );
  const left = problems.length;
  const lines = left
    ? [
        h("p", {}, left === 1 ? "One thing is missing or wrong:" : `${count(left)} things are missing or wrong:`),
        h(
          "ul",
          { class: "problems" },
          problems.map((problem) => problemLine(draft, problem)),
        ),
      ]
    : [h("p", { class: "good" }, "Everything is in order.")];
  const saveable = !whoReads()
    ? h("p", { class: "dim" }, "Saving needs an editor’s key: sign in above.")
    : may("editor")
      ? null
      : h(
          "p",
          { class: "dim" },
          `A ${whoReads().role}’s key cannot save: ask an editor, and send them the JSON below.`,
        );
  morphChildren($("check"), [...lines, saveable].filter(Boolean));
}

const isUnwritten = (draft, field) => ["id", "hypothesis", "owner"].includes(field) && !draft[field];

// In the definition metrics are a list of those in use, and guardrails a list: in the form they stand elsewhere.
function homeOf(draft, field) {
  const [first, index, ...rest] = normal(field).split(".");
  if (first !== "metrics" || index === undefined) return field;
  const name = definitionOf(draft).metrics[Number(index)]?.name;
  const own = draft.custom.findIndex((metric) => metric.name === name);
  return own < 0 ? "metrics" : ["custom", own, ...rest].join(".");
}

function problemLine(draft, { field, fix }) {
  const place = placeOf($("fields"), homeOf(draft, field));
  const name = nameOf(place) || normal(field).replaceAll(".", " ").replaceAll("_", " ");
  const text = name ? `${name}: ${fix}` : fix;
  return h(
    "li",
    {},
    place
      ? h("a", { href: `#${place.id}`, "data-to": place.dataset.problem }, text)
      : h("span", { class: "warn" }, text),
  );
}

// What the form calls a place, as `Treatment, model`.
function nameOf(place) {
  const label = place?.closest(".field")?.querySelector("label, .label")?.textContent ?? "";
  const group = place?.closest(".variant")?.querySelector("h3")?.textContent ?? "";
  return [group, label && group ? label.toLowerCase() : label].filter(Boolean).join(", ").trim();
}

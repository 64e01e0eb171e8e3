// The form that writes a definition: checked by the server while it is written, with how long it would take.

import { call, experimentPath, get, listExperiments, post, Problem } from "./api.js";
import { ACTIONS, renameMetric } from "./draft_actions.js";
import { definitionOf, draftOf, newDraft } from "./definition.js";
import { $, h, morphChildren, toast } from "./dom.js";
import { normal, placeOf, put, showProblems, take } from "./fields.js";
import { sectionsOf } from "./form_sections.js";
import { count, percent, significant } from "./format.js";
import { numbersOf, plotIn } from "./plot.js";
import { drawPower } from "./power_by_duration.js";
import { experimentOf } from "./shapes.js";
import { askToSignIn, may, notice, startShell, whoReads } from "./shell.js";

const WAIT_MS = 400;

const query = new URLSearchParams(location.search);
const editing = query.get("edit");
const form = $("definition");
const plotPower = plotIn($("design-plot"), drawPower);
let vocabulary = { event_types: [], row_kinds: [], page_params: {}, models: [], layers: [] };
let draft = newDraft();
let revision = null;
let started = false;
let timer = 0;
let asked = 0;
let touched = new Set();
let tried = false;

function render() {
  const focused = document.activeElement?.id;
  const open = [...$("fields").querySelectorAll("details")].map((details) => details.open);
  $("fields").replaceChildren(...sectionsOf(draft, vocabulary, { fixedId: Boolean(editing) }), ...lists());
  [...$("fields").querySelectorAll("details")].forEach((details, at) => (details.open ||= Boolean(open[at])));
  if (started) fixFields();
  if (focused) document.getElementById(focused)?.focus();
}

// After the start only words and testers change.
function fixFields() {
  const open = /^(hypothesis|forced(\..*)?|variants\.\d+\.description|custom\.\d+\.description)$/;
  for (const input of $("fields").querySelectorAll("input, select, textarea, button")) {
    input.disabled = !open.test(input.dataset.path ?? "") && !/tester$/.test(input.dataset.do ?? "");
  }
}

function lists() {
  const list = (id, values) =>
    h(
      "datalist",
      { id },
      values.map((value) => h("option", { value })),
    );
  return [
    list("models", vocabulary.models),
    list("page-params", Object.keys(vocabulary.page_params)),
    list("layers", vocabulary.layers),
    list("attributes", ["country", "device"]),
  ];
}

// Sends the definition to be checked and designed once the writer pauses; late answers to earlier ones are dropped.
function changed() {
  $("json").textContent = JSON.stringify(definitionOf(draft), null, 2);
  clearTimeout(timer);
  timer = setTimeout(consult, WAIT_MS);
}

async function consult() {
  const number = ++asked;
  const definition = definitionOf(draft);
  const [problems, design] = await Promise.all([
    check(definition),
    post("/v1/experiments/design", definition).catch((problem) => problem),
  ]);
  if (number !== asked) return;
  showCheck(problems);
  showDesign(design);
}

// All that is wrong with a definition, as [{field, fix}].
async function check(definition) {
  try {
    return (await post("/v1/experiments/validate", definition)).errors;
  } catch (problem) {
    if (problem.status === 422) return problemsOf(problem);
    return [{ field: "", fix: problem.message }];
  }
}

const problemsOf = (problem) =>
  problem.errors.length ? problem.errors : [{ field: problem.field, fix: problem.fix || problem.message }];

// What has not been written yet is no mistake until one wants to save.
function showCheck(problems) {
  const shown = problems.filter(
    ({ field }) =>
      tried || touched.has(normal(field)) || ![...EMPTY].some((name) => normal(field) === name && !draft[name]),
  );
  const homeless = showProblems(
    $("fields"),
    shown.map((problem) => ({ ...problem, field: homeOf(problem.field) })),
  );
  const left = problems.length;
  const lines = left
    ? [
        h("p", {}, left === 1 ? "One thing is missing or wrong:" : `${count(left)} things are missing or wrong:`),
        h(
          "ul",
          { class: "problems" },
          problems.map((problem) => problemLine(problem, homeless)),
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

const EMPTY = new Set(["id", "hypothesis", "owner"]);

// In the definition metrics are a list of those in use, and guardrails a list: in the form they stand elsewhere.
function homeOf(field) {
  const [first, index, ...rest] = normal(field).split(".");
  if (first !== "metrics" || index === undefined) return field;
  const name = definitionOf(draft).metrics[Number(index)]?.name;
  const own = draft.custom.findIndex((metric) => metric.name === name);
  return own < 0 ? "metrics" : ["custom", own, ...rest].join(".");
}

function problemLine({ field, fix }) {
  const place = placeOf($("fields"), homeOf(field));
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

function showDesign(design) {
  if (design instanceof Problem) {
    $("needs").textContent = "Not known yet";
    $("design-note").textContent =
      design.status === 422
        ? "The plot appears once the definition is complete enough to reckon with."
        : design.message;
    return;
  }
  const shape = designOf(design);
  $("needs").textContent = Number.isFinite(shape.days)
    ? `Needs about ${count(Math.ceil(shape.days))} day${Math.ceil(shape.days) === 1 ? "" : "s"}`
    : "Cannot find this effect in any sensible time";
  $("design-note").textContent = shape.note;
  if (!shape.points.length) return;
  plotPower({ points: shape.points, power: draft.plan.power, days: shape.days });
  morphChildren($("design-numbers"), [
    numbersOf(
      "Power by duration",
      ["Days", "Power", "Members"],
      shape.points.map(({ days, power, members }) => [significant(days), percent(power), count(members)]),
    ),
  ]);
}

function designOf(design) {
  return { days: design.days, points: design.curve ?? [], note: design.sentence ?? "" };
}

form.addEventListener("input", (event) => {
  const input = event.target;
  const { guard, part, rename } = input.dataset;
  if (guard !== undefined)
    draft.guardrails[guard][part] =
      part === "stops" ? input.checked : input.value === "" ? null : Number((Number(input.value) / 100).toFixed(10));
  else if (rename !== undefined) renameOwn(Number(rename), input.value);
  else if (!take(draft, input)) return;
  if (input.dataset.path) touched.add(input.dataset.path);
  if (input.dataset.shape !== undefined) reshape(input);
  changed();
});

// A ratio is of two measures, other kinds of one.
function reshape(input) {
  const metric = input.dataset.path.match(/^custom\.(\d+)\.kind$/);
  if (metric) {
    const { [metric[1]]: own } = draft.custom;
    own.per = own.kind === "ratio" ? (own.per ?? { types: ["view"] }) : null;
    own.quantile = own.kind === "percentile" ? (own.quantile ?? 0.5) : null;
    own.after_s = own.kind === "retention" ? own.after_s || 7 * 86_400 : 0;
    own.measure.of =
      { count: "events", sum: "value", conversion: "events", retention: "events" }[own.kind] ??
      own.measure.of ??
      "events";
    if (!["count", "sum", "ratio"].includes(own.kind)) own.cap = null;
  }
  render();
}

function renameOwn(index, name) {
  renameMetric(draft, draft.custom[index].name, name);
  put(draft, `custom.${index}.name`, name);
}

form.addEventListener("change", (event) => event.target.dataset.rename !== undefined && render());

form.addEventListener("click", (event) => {
  const to = event.target.closest("[data-to]");
  if (to) {
    event.preventDefault();
    const field = document.getElementById(`f-${to.dataset.to.replaceAll(".", "-")}`);
    field?.closest("details")?.setAttribute("open", "");
    (field ?? placeOf(form, to.dataset.to)).scrollIntoView({ block: "center" });
    field?.focus();
  }
  const element = event.target.closest("[data-do]");
  if (!element || !ACTIONS[element.dataset.do]) return;
  ACTIONS[element.dataset.do](draft, element.dataset);
  render();
  changed();
});

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("json").textContent);
    toast("The definition is in the clipboard.");
  } catch {
    getSelection().selectAllChildren($("json"));
    toast("Selected: copy it with your keyboard.");
  }
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  tried = true;
  if (!whoReads()) return askToSignIn();
  const definition = definitionOf(draft);
  $("save").disabled = true;
  try {
    const saved = editing
      ? await call("PUT", experimentPath(editing), definition, { revision })
      : await post("/v1/experiments", definition);
    location.assign(`/experiments/${encodeURIComponent(experimentOf(saved).definition.id)}`);
  } catch (problem) {
    if (problem.status === 422) await refused(problem, definition);
    else notice(problem);
  } finally {
    $("save").disabled = false;
  }
  return undefined;
});

// Shows all that is wrong, and goes to the first of it.
async function refused(problem, definition) {
  const all = await check(definition);
  showCheck(all.length ? all : problemsOf(problem));
  $("check").querySelector("a")?.click();
}

async function start() {
  await startShell(() => consult());
  vocabulary = { ...vocabulary, ...(await get("/static/experiments/vocabulary.json")) };
  const source = editing ?? query.get("copy");
  try {
    if (source) {
      const experiment = experimentOf(await get(experimentPath(source)));
      draft = draftOf(experiment.definition);
      revision = experiment.revision;
      started = Boolean(editing) && experiment.status !== "draft";
      if (!editing) draft.id = "";
    }
    const { experiments } = await listExperiments();
    vocabulary.layers = [...new Set(experiments.map((body) => experimentOf(body).definition.layer).filter(Boolean))];
  } catch (problem) {
    notice(problem);
  }
  if (!draft.owner && whoReads()) draft.owner = whoReads().name;
  if (editing) {
    $("form-title").textContent = `Edit ${editing}`;
    $("form-note").textContent = started
      ? "It has started: the hypothesis, descriptions and testers may still change, all else is fixed."
      : "A draft may change in everything but its id.";
    $("save").textContent = "Save";
  }
  render();
  changed();
}

await start();

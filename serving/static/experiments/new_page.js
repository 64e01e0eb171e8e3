// The form that writes a definition: checked by the server while it is written, with how long it would take.

import { call, experimentPath, get, listExperiments, post, Problem } from "./api.js";
import { check, problemsOf, showCheck } from "./check_view.js";
import { definitionOf, draftOf, newDraft } from "./definition.js";
import { designOf, isBaseline, showDesign } from "./design_view.js";
import { $, h, toast } from "./dom.js";
import { ACTIONS, renameMetric } from "./draft_actions.js";
import { idOf, placeOf, put, take } from "./fields.js";
import { sectionsOf } from "./form_sections.js";
import { experimentOf } from "./shapes.js";
import { askToSignIn, notice, startShell, whoReads } from "./shell.js";

const WAIT_MS = 400;

const query = new URLSearchParams(location.search);
const editing = query.get("edit");
const form = $("definition");
let vocabulary = { event_types: [], row_kinds: [], page_params: {}, models: [], layers: [] };
let draft = newDraft();
let revision = null;
let started = false;
let timer = 0;
const [askedToCheck, askedToDesign] = [turns(), turns()];
const touched = new Set();
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

// Returns a function that begins a turn and returns whether it still is the last one: a late answer to an earlier
// question is dropped.
function turns() {
  let last = 0;
  return () => {
    const turn = ++last;
    return () => turn === last;
  };
}

// Sends the definition to be checked and designed once the writer pauses.
function changed() {
  $("json").textContent = JSON.stringify(definitionOf(draft), null, 2);
  clearTimeout(timer);
  timer = setTimeout(consult, WAIT_MS);
}

const isShown = (field) => tried || touched.has(field);

async function consult() {
  const definition = definitionOf(draft);
  const [isLastCheck, isLastDesign] = [askedToCheck(), askedToDesign()];
  await Promise.all([
    check(definition).then((problems) => isLastCheck() && showCheck(draft, problems, isShown)),
    designOf(definition).then((design) => isLastDesign() && showDesign(design, draft.plan)),
  ]);
}

form.addEventListener("input", (event) => {
  const input = event.target;
  if (isBaseline(input)) return changed();
  const { guard, part, rename } = input.dataset;
  if (guard !== undefined)
    draft.guardrails[guard][part] =
      part === "stops" ? input.checked : input.value === "" ? null : Number((Number(input.value) / 100).toFixed(10));
  else if (rename !== undefined) renameOwn(Number(rename), input.value);
  else if (!take(draft, input)) return undefined;
  if (input.dataset.path) touched.add(input.dataset.path);
  if (input.dataset.shape !== undefined) reshape(input);
  return changed();
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
    const field = document.getElementById(idOf(to.dataset.to));
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
    if (problem.status === 409 && problem.field === "revision") notice(overtaken());
    else if ([409, 422].includes(problem.status)) await refused(problem, definition);
    else notice(problem);
  } finally {
    $("save").disabled = false;
  }
  return undefined;
});

// Somebody else has saved meanwhile: nothing is lost, and nothing of theirs is overwritten.
function overtaken() {
  return new Problem(409, {
    detail: "Somebody changed this experiment while you were writing. Nothing of yours was saved.",
    fix: "Copy your definition from the JSON on this page, open the experiment anew, and put in what is missing.",
  });
}

// Shows all that is wrong, and goes to the first of it, unless the writer has gone on meanwhile.
async function refused(problem, definition) {
  const isLast = askedToCheck();
  const all = await check(definition);
  if (!isLast()) return;
  showCheck(draft, all.length ? all : problemsOf(problem), isShown);
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

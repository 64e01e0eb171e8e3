// All experiments at a glance.

import { listExperiments } from "./api.js";
import { $, h, morphChildren } from "./dom.js";
import { forestRow, reachOf } from "./forest.js";
import { change, count, duration, interval, title, VERDICTS, words } from "./format.js";
import { readReports, resultsFor } from "./list_results.js";
import { daysOf, experimentOf, headline, metricOf, signOf } from "./shapes.js";
import { notice, repeat, startShell } from "./shell.js";

const STATUSES = ["draft", "running", "stopped", "decided", "promoted", "archived"];
const REFRESH_S = 5;
const PLOT_WIDTH = 130;

let refresh = () => {};

async function show() {
  try {
    const { experiments, whole } = await listExperiments();
    const all = experiments.map(experimentOf);
    notice(null);
    render(all, whole);
    await readReports(all.filter(isWanted), () => render(all, whole));
  } catch (problem) {
    notice(problem);
    if ($("list").getAttribute("aria-busy"))
      $("list").replaceChildren(h("p", { class: "dim" }, "Nothing could be read yet."));
  }
}

const chosen = () => new URLSearchParams(location.search).get("status");
const isWanted = ({ status }) => !chosen() || status === chosen();

function render(all, whole) {
  const wanted = chosen();
  const shown = all.filter(isWanted).map((experiment) => ({ ...experiment, ...resultsFor(experiment) }));
  morphChildren($("filters"), filters(all, wanted));
  $("list").removeAttribute("aria-busy");
  if (!all.length) return morphChildren($("list"), [emptyState()]);
  if (!shown.length)
    return morphChildren($("list"), [h("p", { class: "dim" }, `No experiment is ${words(wanted)} now.`)]);
  return morphChildren(
    $("list"),
    [
      table(shown),
      whole ? null : h("p", { class: "dim" }, "There are more; `marquee experiments list` shows all."),
    ].filter(Boolean),
  );
}

function filters(all, wanted) {
  const link = (status, label, number) =>
    h(
      "a",
      {
        href: status ? `/experiments?status=${status}` : "/experiments",
        "data-status": status ?? "",
        "aria-current": (wanted ?? "") === (status ?? "") ? "true" : null,
      },
      label,
      h("b", {}, count(number)),
    );
  return [
    link(null, "All", all.length),
    ...STATUSES.map((status) => link(status, status, all.filter((each) => each.status === status).length)),
  ];
}

function table(experiments) {
  const reach = reachOf(experiments.map(({ report }) => headline(report)).filter(Boolean));
  const head = ["Experiment", "Status", "Primary metric", "Members", "Days", "Verdict", "Owner"];
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "stack" },
      h("caption", { class: "unseen" }, "Experiments"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((name) =>
            h("th", { scope: "col", class: ["Members", "Days"].includes(name) ? "number" : "" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        experiments.map((experiment) => line(experiment, reach)),
      ),
    ),
  );
}

function line(experiment, reach) {
  const { definition, status, report, verdict } = experiment;
  return h(
    "tr",
    { "data-experiment": definition.id },
    h(
      "td",
      {},
      h("a", { class: "name", href: `/experiments/${encodeURIComponent(definition.id)}` }, definition.id),
      h("div", { class: "hypothesis" }, definition.hypothesis),
    ),
    h("td", {}, h("span", { class: `chip ${status}` }, status)),
    h("td", {}, effect(experiment, reach)),
    h("td", { class: "number", "data-label": "Members" }, report ? count(report.members) : "–"),
    h("td", { class: "number", "data-label": "Days" }, days(experiment)),
    h(
      "td",
      {},
      verdict ? h("div", {}, VERDICTS[verdict]) : soFar(experiment),
      report?.srm?.found ? h("span", { class: "tag warn", title: report.srm.sentence ?? "" }, "shares are off") : null,
    ),
    h("td", { "data-label": "Owner" }, definition.owner),
  );
}

// What the rules say while nothing is decided.
function soFar({ status, decision }) {
  return decision && status !== "draft" ? h("small", {}, `so far: ${VERDICTS[decision.verdict].toLowerCase()}`) : null;
}

function effect({ definition, report, status }, reach) {
  const found = headline(report);
  if (!found) return h("small", {}, `${title(definition.primary)}${status === "draft" ? "" : ": no effect known yet"}`);
  const sign = signOf(metricOf(report, report.primary));
  const label = `${words(report.primary)}, ${found.variant}`;
  return h(
    "div",
    { class: "effect" },
    forestRow(found, { reach, width: PLOT_WIDTH, height: 22, sign, label }),
    h(
      "span",
      {},
      h("small", {}, title(report.primary)),
      h("br"),
      h("b", {}, change(found.estimate, 1)),
      " ",
      h("small", {}, interval(found.low, found.high, 1)),
    ),
  );
}

function days(experiment) {
  const run = daysOf(experiment, Date.now());
  if (!experiment.started_at_ms) return "–";
  return run < 1 ? duration(Math.max(60, run * 86_400)) : `${run.toFixed(run < 10 ? 1 : 0)}`;
}

function emptyState() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "No experiment yet"),
    h("p", { class: "dim" }, "An experiment shows some members something new and tells you whether it was better."),
    h(
      "ol",
      {},
      h(
        "li",
        {},
        h("b", {}, "Write down"),
        " what you believe, and the one metric that decides. The form says how many days it needs.",
      ),
      h(
        "li",
        {},
        h("b", {}, "Start it."),
        " Members are split by chance; apps and pages take the variant within seconds.",
      ),
      h("li", {}, h("b", {}, "Watch"), " as often as you like: the intervals hold at every look."),
      h(
        "li",
        {},
        h("b", {}, "Decide and ship."),
        " The rules you fixed give a verdict with its reasons; shipping can be undone.",
      ),
    ),
    h("a", { class: "button main", href: "/experiments/new" }, "Write the first one"),
  );
}

$("filters").addEventListener("click", (click) => {
  const link = click.target.closest("a");
  if (!link || click.ctrlKey || click.metaKey || click.shiftKey || click.button) return;
  click.preventDefault();
  history.pushState(null, "", link.href);
  refresh();
});
addEventListener("popstate", () => refresh());
await startShell(() => refresh());
refresh = repeat(show, REFRESH_S);

// One experiment: what is known of it now, kept up to date, and what may be done next.

import { experimentPath, get, Problem } from "./api.js";
import { actionButtons, act } from "./actions.js";
import { $, delegate, h, morphChildren } from "./dom.js";
import { drawEffectOverTime } from "./effect_over_time.js";
import { drawExposures } from "./exposures_by_day.js";
import { auditSection, definitionSection, head } from "./fact_sections.js";
import { ago, change, count, interval, moment, title, words } from "./format.js";
import { colour, numbersOf, plotIn } from "./plot.js";
import { guardrails, metricsForest, segments } from "./metric_sections.js";
import { decisionCard, figures, warnings } from "./summary_sections.js";
import { armsOverTime, exposureDays, experimentOf, metricOf, reportOf, signOf } from "./shapes.js";
import { banner, notice, repeat, startShell } from "./shell.js";

const REFRESH_S = 3;
const TABLE_ROWS = 200;

const id = decodeURIComponent(location.pathname.split("/").pop());
const state = { experiment: null, report: null, decision: null, looks: [], days: [], audit: {}, readAt: 0 };
let refresh = () => {};
let conflict = null;

const plotEffect = plotIn($("over-time-plot"), drawEffectOverTime);
const plotExposures = plotIn($("exposures-plot"), drawExposures);

// A part that is not there yet leaves the page as it was.
async function part(path, fallback) {
  try {
    return await get(experimentPath(id, path));
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 404) return fallback;
    throw problem;
  }
}

async function read() {
  try {
    const body = await get(experimentPath(id));
    const experiment = experimentOf(body);
    const [results, history, exposures, audit] = await Promise.all([
      part("/results", {}),
      part(`/results/history?metric=${encodeURIComponent(experiment.definition.primary)}`, {}),
      part("/exposures", {}),
      part("/audit?order=newest", {}),
    ]);
    Object.assign(state, {
      experiment,
      report: reportOf(results.report),
      decision: results.decision ?? null,
      looks: history.looks ?? [],
      days: exposureDays(exposures.days ?? []),
      audit: { rows: audit.entries ?? [], whole: !audit.next },
      readAt: Date.now(),
    });
    notice(null);
    render();
  } catch (problem) {
    notice(problem);
    if (problem.status === 404)
      $("head").replaceChildren(
        h("h1", {}, "There is no such experiment"),
        h("p", {}, h("a", { href: "/experiments" }, "See all experiments")),
      );
  }
  pulse();
}

function render() {
  const { experiment, report, decision } = state;
  document.title = `${experiment.definition.id} · Marquee`;
  morphChildren($("head"), [head(experiment, actionButtons(experiment))]);
  morphChildren(
    $("warnings"),
    [conflict, ...warnings(report)].filter(Boolean).map((node) => node.cloneNode(true)),
  );
  morphChildren($("summary"), [decisionCard(experiment, decision), figures(experiment, report, Date.now())]);
  renderOverTime();
  morphChildren(
    $("metrics"),
    report ? [metricsForest(experiment, report), guardrails(experiment, report)].filter(Boolean) : [],
  );
  renderExposures();
  morphChildren($("segments"), [report && segments(report)].filter(Boolean));
  morphChildren($("definition"), [definitionSection(experiment)]);
  morphChildren($("audit"), [auditSection(id, state.audit)]);
}

function renderOverTime() {
  const { experiment, report, looks } = state;
  const arms = armsOverTime(looks, experiment);
  $("over-time").hidden = !arms.length;
  if (!arms.length) return;
  const metric = metricOf(report, experiment.definition.primary);
  $("over-time-title").textContent = `${title(experiment.definition.primary)} over time`;
  $("over-time-note").textContent =
    { sequential: "Difference from the control. The band is valid at all looks together: stop when you like." }[
      experiment.definition.plan.method
    ] ?? "Difference from the control, at the planned looks.";
  morphChildren($("over-time-legend"), legend(arms));
  plotEffect({ metric: words(experiment.definition.primary), arms, mde: signOf(metric) * experiment.definition.mde });
  const rows = arms
    .flatMap((arm) =>
      arm.points.map((point) => [moment(point.atMs), arm.key, change(point.estimate), interval(point.low, point.high)]),
    )
    .slice(-TABLE_ROWS);
  morphChildren($("over-time-numbers"), [
    numbersOf("Effect on the primary metric at each look", ["Look", "Variant", "Effect", "Interval"], rows),
  ]);
}

function renderExposures() {
  const { experiment, report, days } = state;
  $("exposures").hidden = !days.length;
  if (!days.length) return;
  const variants = experiment.definition.variants.map(({ key }) => key);
  $("exposures-note").textContent = (report?.exposures ?? [])
    .map(
      ({ variant, members, degraded }) =>
        `${variant} ${count(members)}${degraded ? ` (${count(degraded)} on degraded pages)` : ""}`,
    )
    .join(" · ");
  morphChildren($("exposures-legend"), legend(variants.map((key, index) => ({ key, index }))));
  plotExposures({ days, variants });
  morphChildren($("exposures-numbers"), [
    numbersOf(
      "Members by day of their first exposure",
      ["Day", ...variants],
      days.map(({ label, counts }) => [label, ...variants.map((key) => count(counts[key] ?? 0))]),
    ),
  ]);
}

const legend = (arms) =>
  arms.map(({ key, index }) =>
    h("li", {}, h("span", { class: `swatch ${colour(index)}`, "aria-hidden": "true" }), key),
  );

function pulse() {
  const data = state.report?.data_ms;
  $("pulse").textContent = state.readAt
    ? `Read ${ago(state.readAt, Date.now())}${data ? `; newest data ${ago(data, Date.now())}` : ""}. Refreshed every ${REFRESH_S} seconds.`
    : "";
}

async function does(button) {
  const seen = state.experiment;
  conflict = null;
  try {
    if (!(await act(button.dataset.do, seen, state.decision))) return;
  } catch (problem) {
    if (problem.status !== 409) return notice(problem);
    await refresh();
    conflict = conflictOf(problem, seen);
  }
  await refresh();
}

// Somebody else was first: who, and what to do now.
function conflictOf(problem, seen) {
  const last = state.audit.rows[0];
  const newer = state.experiment.revision !== seen.revision;
  const who = newer && last ? `${last.actor} did “${words(last.action)}” at ${moment(last.at_ms)}. ` : "";
  return banner(
    "warning",
    newer ? "Somebody changed this experiment while you were looking" : "That cannot be done now",
    `${who}${newer ? `You saw revision ${seen.revision}, it is ${state.experiment.revision} now. Nothing of yours was done: look at the page as it is now, and do it again if you still want to.` : problem.message}`,
    newer ? "" : problem.fix,
  );
}

delegate(
  $("head"),
  "click",
  Object.fromEntries(
    ["sign-in", "edit", "start", "ramp", "stop", "decide", "ship", "undo", "archive"].map((name) => [name, does]),
  ),
);
await startShell(() => refresh());
refresh = repeat(read, REFRESH_S);

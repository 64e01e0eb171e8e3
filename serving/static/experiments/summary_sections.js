// What an experiment comes to: warnings, the verdict with its reasons, and the figures at a glance.

import { h, svg } from "./dom.js";
import { count, day, duration, percent, pValue, significant, VERDICTS, words } from "./format.js";
import { panel } from "./parts.js";
import { daysOf } from "./shapes.js";
import { banner } from "./shell.js";

// What a reader must know before any number.
export function warnings(report) {
  if (!report) return [];
  const { srm } = report;
  const shares = srm?.found
    ? Object.entries(srm.observed)
        .map(([key, n]) => `${key} ${count(n)} (${percent(srm.expected[key], 0)} declared)`)
        .join(", ")
    : "";
  return [
    srm?.found
      ? banner(
          "warning",
          "The arms are not comparable: members do not come in the declared shares",
          srm.sentence,
          `${shares}. Chance of this if all were well: ${pValue(srm.p_value)}.`,
        )
      : null,
    ...report.warnings.map((warning) => banner("", warning)),
  ].filter(Boolean);
}

// The verdict, with its reasons: the one that was made, or what the rules say by now.
export function decisionCard(experiment, decision) {
  const made = experiment.verdict !== null;
  const { verdict, reasons = [], variant } = made ? experiment : (decision ?? {});
  if (!verdict)
    return panel(
      "decision",
      "Decision",
      "",
      h(
        "p",
        {},
        experiment.status === "draft"
          ? "Not started. The verdict will follow the plan below, with its reasons."
          : "No results yet: they come a few seconds after the first members.",
      ),
    );
  const ship = verdict === "ship" ? (experiment.shipped ?? experiment.best ?? variant) : null;
  return h(
    "section",
    { class: `panel decision ${verdict}`, "aria-labelledby": "decision-title" },
    h(
      "header",
      {},
      h("h2", { id: "decision-title" }, made ? "Decided" : "By the rules, as of now"),
      experiment.decided_at_ms ? h("p", { class: "dim" }, day(experiment.decided_at_ms)) : null,
    ),
    h("p", { class: "verdict" }, VERDICTS[verdict] ?? words(verdict), ship ? `: ${ship}` : ""),
    h(
      "ul",
      { class: "reasons" },
      reasons.map((reason) => h("li", {}, reason)),
    ),
  );
}

export function figures(experiment, report, now) {
  const { plan, traffic } = experiment.definition;
  const run = daysOf(experiment, now);
  const exposures = report?.exposures ?? [];
  const sum = (name) => exposures.reduce((total, arm) => total + arm[name], 0);
  const members = report?.members ?? 0;
  const figure = (label, value, note, share = null) =>
    h(
      "div",
      {},
      h("dt", {}, label),
      h("dd", {}, value, note ? h("small", {}, note) : null, share === null ? null : meter(label, share)),
    );
  return h(
    "dl",
    { class: "panel figures" },
    figure(
      "Running for",
      experiment.started_at_ms
        ? run < 1
          ? duration(Math.max(60, Math.round(run * 1440) * 60))
          : `${run.toFixed(1)} days`
        : "–",
      `plan: ${significant(plan.min_days)} to ${significant(plan.max_days)} days`,
      run / plan.max_days,
    ),
    figure(
      "Members",
      count(members),
      `plan: at least ${count(plan.min_members)}`,
      members / Math.max(1, plan.min_members),
    ),
    figure(
      "Traffic",
      percent(experiment.traffic, 0),
      `of ${percent(traffic, 0)} declared`,
      traffic ? experiment.traffic / traffic : 0,
    ),
    figure(
      "On degraded pages",
      sum("members") ? percent(sum("degraded") / sum("members")) : "–",
      `first exposure; ${{ include: "counted", exclude: "left out", stratify: "compared apart" }[plan.degraded]}${sum("crossed") ? `; ${count(sum("crossed"))} saw two variants, left out` : ""}`,
    ),
  );
}

function meter(label, share) {
  const width = (Math.max(0, Math.min(1, share)) * 100).toFixed(1);
  return h(
    "div",
    { class: "meter" },
    svg(
      "svg",
      { viewBox: "0 0 100 4", preserveAspectRatio: "none", role: "img", "aria-label": `${label}: ${width} %` },
      svg("rect", { class: "fill c1", width, height: 4 }),
    ),
  );
}

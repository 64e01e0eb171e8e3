// How long an experiment would take, by the platform's own history of its primary metric.

import { call, Problem } from "./api.js";
import { $, morphChildren } from "./dom.js";
import { change, count, percent, significant } from "./format.js";
import { numbersOf, plotIn } from "./plot.js";
import { drawPower } from "./power_by_duration.js";

const plotPower = plotIn($("design-plot"), drawPower);

const PATIENCE_MS = 60_000; // the first look at a metric reads weeks of events

export const isBaseline = (input) => input.id.startsWith("baseline-");

// Returns how long a definition takes, or the Problem that there is instead.
export async function designOf(definition) {
  try {
    const query = baseline().toString();
    return await call("POST", `/v1/experiments/design${query && "?"}${query}`, definition, { timeoutMs: PATIENCE_MS });
  } catch (problem) {
    return problem;
  }
}

// The numbers given by hand.
function baseline() {
  const query = new URLSearchParams();
  const give = (name, value) => value && Number.isFinite(Number(value)) && query.set(name, value);
  give("mean", $("baseline-mean").value);
  give("members_a_day", $("baseline-members").value);
  const spread = Number($("baseline-spread").value);
  if (spread > 0) query.set("variance", spread ** 2);
  return query;
}

// design: the server's answer, or the Problem that there was instead.
export function showDesign(design, { power, max_days: most }) {
  const known = !(design instanceof Problem);
  for (const part of ["design-plot", "design-numbers"]) $(part).hidden = !known;
  $("needs").textContent = known ? needs(design.days) : "Not known yet";
  $("design-note").textContent = known
    ? `${design.sentence}${tooLong(design.days, most)} ${reckonedFrom(design.baseline)}`
    : excuse(design);
  if (!known) return;
  plotPower({ points: design.curve, power, days: design.days });
  const row = ({ days, power: chance, members, mde }) => [
    significant(days),
    percent(chance),
    count(members),
    change(mde),
  ];
  const head = ["Days", "Power", "Members", "Smallest effect"];
  morphChildren($("design-numbers"), [numbersOf("Power by duration", head, design.curve.map(row))]);
}

function needs(days) {
  if (days === null) return "Needs more than a year";
  const whole = Math.ceil(days);
  return `Needs about ${count(whole)} ${whole === 1 ? "day" : "days"}`;
}

const tooLong = (days, most) =>
  days !== null && days > most ? ` That is longer than the ${significant(most)} days that the plan gives it.` : "";

const reckonedFrom = ({ mean, variance, members_a_day: members }) =>
  `Reckoned with a mean of ${significant(mean)}, a standard deviation of ${significant(Math.sqrt(variance))}, and ${count(members)} new members a day.`;

const excuse = (problem) =>
  problem.status === 422 ? `It can be told once this is right: ${problem.fix || problem.message}.` : problem.message;

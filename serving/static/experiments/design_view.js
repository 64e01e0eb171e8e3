// How long an experiment would take, by the platform's own history of its primary metric.

import { Problem } from "./api.js";
import { $, morphChildren } from "./dom.js";
import { change, count, percent, significant } from "./format.js";
import { numbersOf, plotIn } from "./plot.js";
import { drawPower } from "./power_by_duration.js";

const plotPower = plotIn($("design-plot"), drawPower);

// design: the server's answer, or the Problem that there was instead.
export function showDesign(design, { power, max_days: most }) {
  const known = !(design instanceof Problem);
  for (const part of ["design-plot", "design-numbers"]) $(part).hidden = !known;
  $("needs").textContent = known ? needs(design.days) : "Not known yet";
  $("design-note").textContent = known ? `${design.sentence}${tooLong(design.days, most)}` : excuse(design);
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

const excuse = (problem) =>
  problem.status === 422 ? `It can be told once this is right: ${problem.message}.` : problem.message;

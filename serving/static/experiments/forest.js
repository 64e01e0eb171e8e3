// Forest plots: effects and their intervals on one scale, with the line of no effect.

import { change, interval } from "./format.js";
import { picture, scale, ticks } from "./plot.js";
import { svg } from "./dom.js";

const LEAST_REACH = 0.005;

// How far a scale must reach to both sides to show these effects; those far wider than the rest are cut off.
export function reachOf(effects, marks = []) {
  const ends = effects
    .map(({ low, high }) => Math.max(Math.abs(low), Math.abs(high)))
    .filter((end) => Number.isFinite(end) && end > 0)
    .sort((a, b) => a - b);
  const points = [...effects.map(({ estimate }) => estimate), ...marks].filter(Number.isFinite).map(Math.abs);
  const middle = ends[Math.floor(ends.length / 2)] ?? 0;
  const widest = ends.filter((end) => end <= 2.5 * middle).pop() ?? 0;
  return Math.max(LEAST_REACH, widest, ...points) * 1.12;
}

// Whether an effect is surely good, surely bad, or neither; `sign` is -1 where less is better.
export function standing({ low, high }, sign = 1) {
  if (!Number.isFinite(low) || !Number.isFinite(high) || (low <= 0 && high >= 0)) return "";
  return low > 0 === sign > 0 ? "good" : "warn";
}

// One effect as a line with a dot. mark: a further place on the scale, such as the harm that is accepted.
export function forestRow(effect, { reach, width = 260, height = 26, sign = 1, mark = null, label = "effect" }) {
  const x = scale([-reach, reach], [6, width - 6]);
  const middle = height / 2;
  const held = (value) => x(Math.max(-reach, Math.min(reach, value)));
  const parts = [svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: height })];
  if (Number.isFinite(mark))
    parts.push(svg("line", { class: "aim", x1: held(mark), x2: held(mark), y1: 0, y2: height }));
  if (Number.isFinite(effect.low) && Number.isFinite(effect.high)) {
    parts.push(
      svg("line", {
        class: "stroke",
        "stroke-width": 3,
        "stroke-linecap": "round",
        x1: held(effect.low),
        x2: held(effect.high),
        y1: middle,
        y2: middle,
      }),
    );
    if (effect.low < -reach) parts.push(svg("path", { class: "fill", d: `M0 ${middle}l7 -5v10z` }));
    if (effect.high > reach) parts.push(svg("path", { class: "fill", d: `M${width} ${middle}l-7 -5v10z` }));
  }
  if (Number.isFinite(effect.estimate))
    parts.push(svg("circle", { class: "fill", cx: held(effect.estimate), cy: middle, r: 4.5 }));
  return picture(
    width,
    height,
    `${label}: ${change(effect.estimate)}, ${interval(effect.low, effect.high)}`,
    "The dot is the estimate, the line its interval, the upright line no effect.",
    svg("g", { class: standing(effect, sign) }, parts),
  );
}

// The scale under the rows.
export function forestAxis(reach, width = 260) {
  const x = scale([-reach, reach], [6, width - 6]);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} 20`, width, height: 20, "aria-hidden": "true" },
    ticks(-reach, reach, 4).map((mark) =>
      svg("text", { x: x(mark), y: 14, "text-anchor": "middle" }, change(mark).replace(/\.0+ %/, " %")),
    ),
  );
}

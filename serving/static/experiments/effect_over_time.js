// The effect on the primary metric as it was seen at each look, in the band that holds the truth at all looks at once.

import { change, DAY_MS, day, interval, moment } from "./format.js";
import { colour, path, picture, ribbon, scale, ticks, timeTicks, xAxis, yAxis } from "./plot.js";
import { svg } from "./dom.js";

const HEIGHT = 300;
const FEW = 12; // points that each want a dot
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 14, 14, HEIGHT - 30];

// arms: [{key, index, points: [{atMs, estimate, low, high}]}] in order of time; mde: signed, the effect worth finding.
export function drawEffectOverTime({ metric, arms, mde }, width) {
  const all = arms.flatMap((arm) => arm.points);
  const times = [...new Set(all.map((point) => point.atMs))].sort((a, b) => a - b);
  const [begin, end] = [times[0] ?? 0, Math.max(times.at(-1) ?? 1, (times[0] ?? 0) + 60_000)];
  const x = scale([begin, end], [LEFT, width - RIGHT]);
  const [low, high] = reach(arms, mde);
  const y = scale([low, high], [BOTTOM, TOP]);
  const marks = timeTicks(begin, end, Math.max(2, Math.floor((width - LEFT) / 80)));
  const image = picture(
    width,
    HEIGHT,
    `Effect on ${metric} over time`,
    description(arms),
    svg(
      "defs",
      {},
      svg(
        "clipPath",
        { id: "effect-frame" },
        svg("rect", { x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: BOTTOM - TOP }),
      ),
    ),
    yAxis(ticks(low, high, 5), y, LEFT, width - RIGHT, (mark) => change(mark).replace(/\.0+ %/, " %")),
    xAxis(marks, x, BOTTOM, (mark) => (mark % DAY_MS === 0 ? day(mark) : moment(mark).slice(-9, -4))),
    svg("line", { class: "zero", x1: LEFT, x2: width - RIGHT, y1: y(0), y2: y(0) }),
    Number.isFinite(mde) && mde !== 0
      ? [
          svg("line", { class: "aim", x1: LEFT, x2: width - RIGHT, y1: y(mde), y2: y(mde) }),
          svg(
            "text",
            { class: "aim", x: width - RIGHT - 4, y: y(mde) - 5, "text-anchor": "end" },
            `worth finding: ${change(mde)}`,
          ),
        ]
      : null,
    svg(
      "g",
      { "clip-path": "url(#effect-frame)" },
      arms.map((arm) => armShape(arm, x, y)),
    ),
  );
  return { image, xs: times.map(x), top: TOP, bottom: BOTTOM, tip: (at) => readings(arms, times[at]) };
}

function armShape({ index, points }, x, y) {
  const known = points.filter(({ low, high }) => Number.isFinite(low) && Number.isFinite(high));
  const line = points
    .filter(({ estimate }) => Number.isFinite(estimate))
    .map((point) => [x(point.atMs), y(point.estimate)]);
  return svg(
    "g",
    { class: colour(index) },
    svg("path", {
      class: "band",
      d: ribbon(
        known.map((p) => [x(p.atMs), y(p.high)]),
        known.map((p) => [x(p.atMs), y(p.low)]),
      ),
    }),
    svg("path", { class: "stroke", "stroke-width": 2, "stroke-linejoin": "round", d: path(line) }),
    line.length <= FEW ? line.map(([cx, cy]) => svg("circle", { class: "fill", cx, cy, r: 3 })) : null,
    line.length ? svg("circle", { class: "fill", cx: line.at(-1)[0], cy: line.at(-1)[1], r: 4 }) : null,
  );
}

// The first intervals are very wide: the axis shows the later two thirds whole, and the first as far as they fit.
function reach(arms, mde) {
  const later = arms.flatMap(({ points }) => points.slice(Math.floor(points.length / 3)));
  const values = [0, mde ?? 0, ...later.flatMap((point) => [point.estimate, point.low, point.high])].filter(
    Number.isFinite,
  );
  const last = arms.map(({ points }) => points.at(-1)).filter((point) => Number.isFinite(point?.high));
  const bound =
    4 * Math.max(0.01, Math.abs(mde ?? 0), ...last.flatMap((point) => [Math.abs(point.low), Math.abs(point.high)]));
  const [low, high] = [Math.max(Math.min(...values), -bound), Math.min(Math.max(...values), bound)];
  const room = Math.max(high - low, 0.002) * 0.08;
  return [low - room, high + room];
}

function readings(arms, atMs) {
  const lines = arms.map((arm) => [arm, arm.points.find((point) => point.atMs === atMs)]).filter(([, point]) => point);
  return [
    moment(atMs),
    ...lines.map(([arm, point]) => `${arm.key}: ${change(point.estimate)} (${interval(point.low, point.high)})`),
  ];
}

function description(arms) {
  const last = arms.map((arm) => [arm.key, arm.points.at(-1)]).filter(([, point]) => point);
  const says = last.map(
    ([key, point]) =>
      `${key} stands at ${change(point.estimate)}, with an interval of ${interval(point.low, point.high)}`,
  );
  return `One line an arm with its band, against the control. At the last look ${says.join("; ") || "nothing was known"}.`;
}

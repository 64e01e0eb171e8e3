// The chance to find the declared effect, against how long the experiment runs.

import { count, percent, significant } from "./format.js";
import { path, picture, ribbon, scale, ticks, xAxis, yAxis } from "./plot.js";
import { svg } from "./dom.js";

const HEIGHT = 230;
const [LEFT, RIGHT, TOP, BOTTOM] = [48, 16, 14, HEIGHT - 40];

// points: [{days, power, members}] by days; power: the chance that is wanted; days: when it is reached, or null.
export function drawPower({ points, power, days }, width) {
  const x = scale([0, Math.max(1, points.at(-1)?.days ?? 1)], [LEFT, width - RIGHT]);
  const y = scale([0, 1], [BOTTOM, TOP]);
  const line = points.map((point) => [x(point.days), y(point.power)]);
  const reached = Number.isFinite(days) && days <= (points.at(-1)?.days ?? 0);
  const image = picture(
    width,
    HEIGHT,
    "Power against duration",
    `The chance to find the effect rises to ${percent(points.at(-1)?.power, 0)} after ${significant(points.at(-1)?.days)} days.`,
    yAxis([0, 0.25, 0.5, 0.75, 1], y, LEFT, width - RIGHT, (mark) => percent(mark, 0)),
    xAxis(ticks(0, points.at(-1)?.days ?? 1, 6), x, BOTTOM, (mark) => significant(mark)),
    svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "days"),
    svg("line", { class: "aim", x1: LEFT, x2: width - RIGHT, y1: y(power), y2: y(power) }),
    svg(
      "g",
      { class: "c1" },
      svg("path", {
        class: "band",
        d: ribbon(
          line,
          line.map(([at]) => [at, BOTTOM]),
        ),
      }),
      svg("path", { class: "stroke", "stroke-width": 2.5, d: path(line) }),
      reached
        ? [
            svg("line", { class: "now", x1: x(days), x2: x(days), y1: y(power), y2: BOTTOM }),
            svg("circle", { class: "fill", cx: x(days), cy: y(power), r: 5 }),
          ]
        : null,
    ),
  );
  return { image, xs: line.map(([at]) => at), top: TOP, bottom: BOTTOM, tip: (at) => readings(points[at]) };
}

function readings({ days, power, members }) {
  return [
    `after ${significant(days)} days`,
    `power ${percent(power, 0)}`,
    Number.isFinite(members) ? `${count(members)} members` : "",
  ].filter(Boolean);
}

// Members who met each variant for the first time, by day: bars beside one another.

import { count } from "./format.js";
import { colour, picture, scale, ticks, xAxis, yAxis } from "./plot.js";
import { svg } from "./dom.js";

const HEIGHT = 220;
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 10, HEIGHT - 28];

// days: [{label, counts: {variant: members}}] in order; variants: keys in the definition's order.
export function drawExposures({ days, variants }, width) {
  const most = Math.max(1, ...days.flatMap(({ counts }) => variants.map((key) => counts[key] ?? 0)));
  const marks = ticks(0, most, 4).filter(Number.isInteger);
  const y = scale([0, most * 1.05], [BOTTOM, TOP]);
  const slot = (width - LEFT - RIGHT) / Math.max(1, days.length);
  const bar = Math.min(26, (slot * 0.78) / Math.max(1, variants.length));
  const middle = (at) => LEFT + slot * (at + 0.5);
  const every = Math.ceil(days.length / Math.max(1, Math.floor((width - LEFT) / 62)));
  const shown = days.map((_, at) => at).filter((at) => at % every === 0);
  const bars = days.map(({ counts }, at) =>
    variants.map((key, index) => {
      const members = counts[key] ?? 0;
      const x = middle(at) + (index - variants.length / 2) * bar;
      return svg("rect", {
        class: `fill ${colour(index)}`,
        x: x.toFixed(1),
        y: y(members).toFixed(1),
        width: Math.max(1, bar - 1).toFixed(1),
        height: Math.max(0, BOTTOM - y(members)).toFixed(1),
        rx: 1.5,
      });
    }),
  );
  const image = picture(
    width,
    HEIGHT,
    "New members by day and variant",
    `Bars of ${variants.join(", ")} for ${days.length} days.`,
    yAxis(marks, y, LEFT, width - RIGHT, count),
    xAxis(shown, middle, BOTTOM, (at) => days[at].label),
    bars,
  );
  return {
    image,
    xs: days.map((_, at) => middle(at)),
    top: TOP,
    bottom: BOTTOM,
    tip: (at) => [days[at].label, ...variants.map((key) => `${key}: ${count(days[at].counts[key] ?? 0)}`)],
  };
}

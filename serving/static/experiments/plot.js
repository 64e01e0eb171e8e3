// What every plot here shares: scales, ticks, a drawing that follows its data and width, a pointer that reads values.

import { h, morph, morphChildren, svg } from "./dom.js";

const MIN_WIDTH = 260;

export function scale([from, to], [begin, end]) {
  const span = to - from || 1;
  return (value) => begin + ((value - from) / span) * (end - begin);
}

// About `wanted` round numbers from `from` to `to`.
export function ticks(from, to, wanted = 5) {
  const raw = (to - from) / wanted;
  if (!(raw > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? 10 * power;
  const found = [];
  for (let at = Math.ceil(from / step - 1e-9); at * step <= to + step * 1e-9; at++) found.push(at * step || 0);
  return found;
}

const MINUTE_MS = 60_000;
const TIME_STEPS = [1, 5, 15, 60, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440, 28 * 1440].map(
  (minutes) => minutes * MINUTE_MS,
);

// At most `most` round times (UTC) from `from` to `to`.
export function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((size) => (to - from) / size <= most) ?? TIME_STEPS.at(-1);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
}

export const path = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// Two paths along the same places, as one outline.
export const ribbon = (upper, lower) =>
  upper.length ? `${path(upper)}${path([...lower].reverse()).replace("M", "L")}Z` : "";

// An image that says in words what it shows.
export function picture(width, height, title, desc, ...children) {
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title },
    svg("title", {}, title),
    svg("desc", {}, desc),
    ...children,
  );
}

export function yAxis(marks, y, left, right, label) {
  return marks.map((mark) =>
    svg(
      "g",
      {},
      svg("line", { class: "grid", x1: left, x2: right, y1: y(mark), y2: y(mark) }),
      svg("text", { x: left - 8, y: y(mark) + 4, "text-anchor": "end" }, label(mark)),
    ),
  );
}

export function xAxis(marks, x, bottom, label) {
  return marks.map((mark) => svg("text", { x: x(mark), y: bottom + 18, "text-anchor": "middle" }, label(mark)));
}

// Draws into `container`, again whenever the data or the width changes. draw(data, width) returns {image, xs, top,
// bottom, tip}: the picture, where along it there is something to read, and the lines to show there.
export function plotIn(container, draw) {
  let data = null;
  let drawn = null;
  let at = null;
  const tip = h("div", { class: "tip", hidden: true, "aria-live": "polite" });
  const pointer = svg("line", { class: "pointer", visibility: "hidden" });
  container.replaceChildren(svg("svg"), tip);
  container.classList.add("plot");
  container.tabIndex = 0;

  function render() {
    if (data === null || container.clientWidth === 0) return;
    drawn = draw(data, Math.max(MIN_WIDTH, container.clientWidth));
    pointer.remove();
    morph(container.firstChild, drawn.image);
    container.firstChild.append(pointer);
    point(at);
  }

  function point(index) {
    at = index === null || !drawn?.xs.length ? null : Math.max(0, Math.min(index, drawn.xs.length - 1));
    tip.hidden = at === null;
    pointer.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at === null) return;
    const x = drawn.xs[at];
    for (const [name, value] of [
      ["x1", x],
      ["x2", x],
      ["y1", drawn.top],
      ["y2", drawn.bottom],
    ])
      pointer.setAttribute(name, value);
    morphChildren(
      tip,
      drawn.tip(at).map((line) => h("div", {}, line)),
    );
    const room = container.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(x + 14, x + 14 > room ? x - tip.offsetWidth - 14 : room))}px`;
    tip.style.top = `${drawn.top}px`;
  }

  function nearest(event) {
    const x = event.clientX - container.getBoundingClientRect().left;
    const distances = drawn.xs.map((place) => Math.abs(place - x));
    point(distances.indexOf(Math.min(...distances)));
  }

  container.addEventListener("pointermove", (event) => drawn?.xs.length && nearest(event));
  container.addEventListener("pointerleave", () => point(null));
  container.addEventListener("blur", () => point(null));
  container.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !drawn) return;
    event.preventDefault();
    point(at === null ? (step > 0 ? 0 : drawn.xs.length - 1) : at + step);
  });
  new ResizeObserver(render).observe(container);
  return (next) => {
    data = next;
    render();
  };
}

// The numbers of a plot for who would rather read them.
export function numbersOf(caption, head, rows) {
  return h(
    "details",
    {},
    h("summary", {}, "Show as a table"),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        {},
        h("caption", {}, caption),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((name, at) => h("th", { scope: "col", class: at ? "number" : "" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) =>
            h(
              "tr",
              {},
              row.map((cell, at) => h(at ? "td" : "th", { class: at ? "number" : "", scope: at ? null : "row" }, cell)),
            ),
          ),
        ),
      ),
    ),
  );
}

export const colour = (index) => `c${index % 6}`;

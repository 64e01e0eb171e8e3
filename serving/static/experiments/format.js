// Numbers and times as a product manager reads them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZone: "UTC",
});
export const DAY_MS = 86_400_000;

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
export const count = (value) => (isNumber(value) ? WHOLE.format(value) : "–");
export const day = (ms) => DAY.format(new Date(ms));
export const moment = (ms) => `${MOMENT.format(new Date(ms))} UTC`;
export const minus = (text) => text.replace("-", "−");

export function significant(value, digits = 3) {
  if (!isNumber(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return minus(value.toExponential(digits - 1));
  return minus(String(Number(value.toPrecision(digits))));
}

export function percent(share, digits = 1) {
  return isNumber(share) ? `${minus(String(Number((share * 100).toFixed(digits))))} %` : "–";
}

// A relative change, always with its sign.
export function change(relative, most = 2) {
  if (!isNumber(relative)) return "–";
  const digits = Math.abs(relative) < 0.0995 ? most : 1;
  const text = (relative * 100).toFixed(digits);
  return `${Number(text) > 0 ? "+" : ""}${minus(Number(text) === 0 ? "0" : text)} %`;
}

export const interval = (low, high, most = 2) =>
  isNumber(low) && isNumber(high) ? `${change(low, most)} to ${change(high, most)}` : "no interval yet";

export function pValue(value) {
  if (!isNumber(value)) return "–";
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

export function duration(seconds) {
  for (const [name, size] of [
    ["day", 86_400],
    ["hour", 3600],
    ["minute", 60],
  ]) {
    if (seconds >= size) {
      const whole = Number((seconds / size).toFixed(1));
      return `${whole} ${name}${whole === 1 ? "" : "s"}`;
    }
  }
  return `${significant(seconds)} seconds`;
}

export function ago(ms, now) {
  const s = Math.max(0, (now - ms) / 1000);
  return s < 2 ? "just now" : `${duration(s < 60 ? Math.round(s) : s)} ago`;
}

export const VERDICTS = {
  ship: "Ship it",
  do_not_ship: "Don’t ship",
  continue: "Keep it running",
  inconclusive: "Inconclusive",
};
export const words = (name) => String(name).replaceAll("_", " ");
export const title = (name) => words(name).replace(/^./, (letter) => letter.toUpperCase());

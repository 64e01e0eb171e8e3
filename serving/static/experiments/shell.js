// What all pages of experiments share: who reads them, signing in, and what went wrong.

import { call, get, Problem, saveKey, savedKey } from "./api.js";
import { $, h, morphChildren } from "./dom.js";

const RANKS = { viewer: 1, editor: 2, approver: 3 };

let reader = null;
let changed = () => {};

// {name, role} of the key, or null without one.
export const whoReads = () => reader;
export const may = (role) => (RANKS[reader?.role] ?? 0) >= RANKS[role];

// Shows which page this is and who reads; calls `onChange` whenever that is somebody else.
export async function startShell(onChange = () => {}) {
  changed = onChange;
  for (const link of document.querySelectorAll("body > header nav a"))
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
  $("sign-in-cancel").addEventListener("click", () => $("sign-in").close());
  $("sign-in-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    signIn($("key").value.trim());
  });
  if (savedKey()) {
    try {
      reader = await get("/v1/keys/mine");
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) saveKey("");
    }
  }
  showReader();
}

async function signIn(key) {
  const place = $("key-problem");
  place.textContent = "";
  if (!/^[\x21-\x7e]+$/.test(key)) {
    place.textContent = "A key has no spaces and only plain characters: paste it whole.";
    return;
  }
  try {
    reader = await call("GET", "/v1/keys/mine", undefined, { key });
  } catch (problem) {
    place.textContent =
      problem.status === 401 || problem.status === 403
        ? "This key is not known, or was revoked. Ask an approver for another."
        : problem.message;
    return;
  }
  saveKey(key);
  $("key").value = "";
  $("sign-in").close();
  showReader();
  changed();
}

function signOut() {
  saveKey("");
  reader = null;
  showReader();
  changed();
}

export function askToSignIn() {
  $("key-problem").textContent = "";
  $("sign-in").showModal();
  $("key").focus();
}

function showReader() {
  const button = h(
    "button",
    { type: "button", id: reader ? "sign-out" : "sign-in-open" },
    reader ? "Sign out" : "Sign in",
  );
  button.addEventListener("click", reader ? signOut : askToSignIn);
  $("reader").replaceChildren(
    ...(reader
      ? [h("span", { class: "dim" }, `${reader.name} `, h("b", { class: "tag", id: "role" }, reader.role))]
      : []),
    button,
  );
}

export function banner(kind, title, ...lines) {
  return h(
    "div",
    { class: `banner ${kind}`, role: kind === "warning" ? "alert" : "note" },
    h(
      "div",
      {},
      h("strong", {}, title),
      lines.filter(Boolean).map((line) => h("p", {}, line)),
    ),
  );
}

// Says what went wrong above the page, without touching what is shown; null takes it away again.
export function notice(problem) {
  if (!problem) return $("notice").replaceChildren();
  const known = problem instanceof Problem;
  if (!known) console.warn(problem);
  const fix = known && problem.fix && !problem.message.includes(problem.fix) ? problem.fix : "";
  if (problem.status === 401 || problem.status === 403) {
    return morphChildren($("notice"), [
      banner("warning", reader ? "Your key may not do this" : "A key is needed here", problem.message, fix),
    ]);
  }
  return morphChildren($("notice"), [
    banner("warning", known ? problem.message : "This page failed; its console says why.", fix),
  ]);
}

// Calls `work` now and every `seconds` while the page is seen; never twice at once. Returns a function whose promise is
// kept once `work` was done that had not begun before the call.
export function repeat(work, seconds) {
  let timer = 0;
  let running = null;
  let queued = null;
  function tick() {
    if (running) return (queued ??= running.then(again));
    clearTimeout(timer);
    running = work().finally(() => {
      running = null;
      if (!document.hidden) timer = setTimeout(tick, seconds * 1000);
    });
    return running;
  }
  function again() {
    queued = null;
    return tick();
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : tick()));
  tick();
  return tick;
}

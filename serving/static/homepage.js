// The demonstration page: shows a member's homepage, sends what is clicked as events, and shows the page change.

const CHANGE_TIMEOUT_MS = 5000;
const CHANGE_POLL_MS = 15;
const OFFSET_SPAN = 2 ** 48; // a position is the topic's epoch above a 48-bit offset

const $ = (id) => document.getElementById(id);
let page = null;
let shown = new Set();

async function getJson(url, options) {
  const answer = await fetch(url, { cache: "no-store", ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
  return body;
}

function homepageUrl() {
  const query = new URLSearchParams({ member_id: $("member").value.trim() });
  if ($("country").value) query.set("country", $("country").value.trim().toUpperCase());
  if ($("device").value) query.set("device", $("device").value);
  return `/homepage?${query}`;
}

async function show() {
  try {
    render(await getJson(homepageUrl()), false);
    history.replaceState(null, "", `/?member_id=${encodeURIComponent($("member").value.trim())}`);
  } catch (error) {
    say("change", error.message, "failed");
  }
}

function render(next, marksNew) {
  page = next;
  const before = marksNew ? shown : null;
  shown = new Set(next.rows.flatMap((row) => row.items.map((item) => item.item_id)));
  $("rows").replaceChildren(...next.rows.map((row) => rowElement(row, before)));
  showFreshness(next.served);
  $("features").href = `/v1/members/${encodeURIComponent(next.member_id)}/features`;
  $("replay").href = `/v1/pages/${encodeURIComponent(next.served.page_id)}`;
}

function rowElement(row, before) {
  const section = element("section", { "data-row": row.row_id });
  section.append(element("h2", {}, row.title), element("span", { class: "reason" }, ` ${row.reason}`));
  const list = element("ol", {});
  row.items.forEach((item, position) => list.append(card(item, row, position, before)));
  section.append(list);
  return section;
}

function card(item, row, position, before) {
  const isNew = before && !before.has(item.item_id);
  const li = element("li", { class: isNew ? "card new" : "card", "data-item": item.item_id, title: `item id ${item.item_id}` });
  const poster = element("div", { class: "poster" });
  poster.style.setProperty("--hue", hue(item.genres[0] ?? "") + (hue(item.title) % 50));
  poster.append(element("strong", {}, item.title), element("small", {}, [item.year || "", ...item.genres.slice(0, 2)].filter(Boolean).join(" · ")));
  const actions = element("div", { class: "actions" });
  for (const [type, label] of [["play", "▶"], ["like", "♥"], ["skip", "✕"]]) {
    const button = element("button", { type: "button", class: type, "aria-label": `${type} ${item.title}`, title: type }, label);
    button.addEventListener("click", () => act(type, item, row, position));
    actions.append(button);
  }
  const ask = element("button", { type: "button", class: "ask", "aria-label": `why ${item.title}`, title: "why?" }, "?");
  ask.addEventListener("click", () => explain(item.item_id, item.title));
  actions.append(ask);
  li.append(poster, element("div", { class: item.reason === row.reason ? "why same" : "why" }, item.reason), actions);
  return li;
}

async function act(type, item, row, position) {
  const started = performance.now();
  const event = {
    event_id: crypto.randomUUID(), type, member_id: page.member_id, item_id: item.item_id, event_time_ms: Date.now(),
    page_id: page.served.page_id, row_id: row.row_id, position, context: { device: $("device").value || "web" },
  };
  try {
    const answer = await getJson("/v1/events", { method: "POST", body: JSON.stringify(event), headers: { "content-type": "application/json" } });
    const next = await pageIncluding(answer.results[0].offset, started);
    const took = Math.round(performance.now() - started);
    const fresh = next.rows.flatMap((r) => r.items).filter((i) => !shown.has(i.item_id)).length;
    render(next, true);
    say("change", `${type} “${item.title}”: the homepage changed ${took} ms after the click; ${fresh} titles are new.`, "");
  } catch (error) {
    say("change", error.message, "failed");
  }
}

async function pageIncluding(offset, started) {
  while (performance.now() - started < CHANGE_TIMEOUT_MS) {
    const next = await getJson(homepageUrl());
    if (next.served.feature_position % OFFSET_SPAN >= offset && next.served.step === "fresh") return next;
    await new Promise((resume) => setTimeout(resume, CHANGE_POLL_MS));
  }
  throw new Error(`The event is in the log, but the homepage has not taken it in after ${CHANGE_TIMEOUT_MS / 1000} s: are the agents running?`);
}

async function explain(itemId, title) {
  const body = $("why-body");
  title ||= page.rows.flatMap((row) => row.items).find((item) => item.item_id === itemId)?.title;
  $("why-title").textContent = title ? `Why “${title}”?` : `Why (not) title ${itemId}?`;
  body.textContent = "…";
  if (!$("why").open) $("why").showModal();
  try {
    const answer = await getJson(`/v1/pages/${encodeURIComponent(page.served.page_id)}?item_id=${encodeURIComponent(itemId)}`);
    body.replaceChildren(...explanationElements(answer.explanation));
  } catch (error) {
    body.textContent = error.message;
  }
}

function explanationElements(explanation) {
  const table = element("table", {});
  for (const standing of explanation.standings ?? []) {
    const line = element("tr", {});
    line.append(element("td", {}, standing.row_id), element("td", {}, standing.why_not));
    table.append(line);
  }
  for (const [name, value] of Object.entries(explanation.parts ?? {})) {
    const line = element("tr", {});
    line.append(element("td", {}, name), element("td", {}, value.toFixed(3)));
    table.append(line);
  }
  return [element("p", {}, explanation.sentence), table];
}

function showFreshness(served) {
  const age = served.feature_age_ms === null ? "no events yet" : `newest event ${duration(served.feature_age_ms)} ago`;
  const line = $("freshness");
  line.className = served.degraded ? "degraded" : "";
  line.replaceChildren(element("b", {}, served.step), ` · cache ${served.cache}${served.cache === "hit" ? ` (${duration(served.cache_age_ms)} old)` : ""}`,
    ` · features at offset ${served.feature_position % OFFSET_SPAN}, ${age} · model ${served.model_version?.slice(0, 8) ?? "none"} · page ${served.page_id}`,
    served.degraded ? ` · ${served.degraded}` : "");
}

function say(id, text, kind) {
  $(id).textContent = text;
  $(id).className = kind;
}

function element(name, attributes, text) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120e3) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7200e3) return `${Math.round(ms / 60e3)} min`;
  return ms < 172800e3 ? `${Math.round(ms / 3600e3)} h` : `${Math.round(ms / 86400e3)} days`;
}

function hue(text) {
  let hash = 7;
  for (const char of text) hash = (hash * 31 + char.codePointAt(0)) % 3600;
  return (hash * 137) % 360;
}

async function start() {
  const { members } = await getJson("/v1/members?limit=200").catch(() => ({ members: [] }));
  $("members").replaceChildren(...members.map((id) => element("option", { value: id })));
  const pick = () => members[Math.floor(Math.random() * members.length)] ?? "1";
  $("member").value = new URLSearchParams(location.search).get("member_id") || pick();
  $("picker").addEventListener("submit", (submit) => { submit.preventDefault(); show(); });
  $("random").addEventListener("click", () => { $("member").value = pick(); show(); });
  $("absent").addEventListener("submit", (submit) => { submit.preventDefault(); explain($("absent-item").value.trim(), ""); });
  await show();
}

start();

// The REST API: calls with the reader's key, and problems that say what to do.

const KEY = "marquee.key";
const TIMEOUT_MS = 15_000;
const PAGE = 500;
const MOST = 2000;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the server answered ${status}`);
    this.status = status;
    this.field = body.field ?? "";
    this.fix = body.fix ?? "";
    this.errors = body.errors ?? [];
  }
}

// The key lives as long as the tab, and travels in a header alone: never in a URL.
export const savedKey = () => sessionStorage.getItem(KEY) ?? "";

export function saveKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

// Returns the decoded answer; raises Problem, whose status is 0 where no server answered.
export async function call(method, path, body, { key = savedKey(), revision, timeoutMs = TIMEOUT_MS } = {}) {
  const headers = { accept: "application/json" };
  if (revision !== undefined) headers["if-match"] = `"${revision}"`;
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer, text;
  try {
    answer = await fetch(path, {
      method,
      headers,
      cache: "no-store",
      credentials: "omit",
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await answer.text();
  } catch {
    throw new Problem(0, { detail: "The server does not answer. What is shown may be old." });
  }
  let decoded = {};
  try {
    decoded = text ? JSON.parse(text) : {};
  } catch {
    throw new Problem(answer.status, {
      detail: "The answer is not JSON: is something between this page and the server?",
    });
  }
  if (!answer.ok) throw new Problem(answer.status, decoded);
  return decoded;
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body);

// All experiments, page by page; `whole` is false where there are more than a person would look through.
export async function listExperiments() {
  const experiments = [];
  let after = "";
  do {
    const page = await get(`/v1/experiments?limit=${PAGE}&after=${encodeURIComponent(after)}`);
    experiments.push(...page.experiments);
    after = page.next;
  } while (after && experiments.length < MOST);
  return { experiments, whole: !after };
}

export const experimentPath = (id, part = "") => `/v1/experiments/${encodeURIComponent(id)}${part}`;

// What may be done with an experiment, by its status and the reader's role, and doing it.

import { experimentPath, post } from "./api.js";
import { ask } from "./ask.js";
import { h, toast } from "./dom.js";
import { percent, VERDICTS } from "./format.js";
import { patchLines } from "./fact_sections.js";
import { askToSignIn, may, whoReads } from "./shell.js";

// label, the role it needs, and whether an experiment is where it can be done.
const ACTIONS = {
  edit: {
    label: "Edit",
    role: "editor",
    when: ({ status }) => ["draft", "running", "stopped", "decided"].includes(status),
  },
  start: { label: "Start", role: "editor", main: true, when: ({ status }) => status === "draft" },
  ramp: { label: "Ramp up", role: "editor", when: ({ status, traffic }) => status === "running" && traffic < 1 },
  stop: { label: "Stop", role: "editor", danger: true, when: ({ status }) => status === "running" },
  decide: { label: "Decide", role: "approver", main: true, when: ({ status }) => status === "stopped" },
  ship: {
    label: "Ship",
    role: "approver",
    main: true,
    when: ({ status, verdict }) => status === "decided" && verdict === "ship",
  },
  undo: { label: "Undo shipping", role: "approver", danger: true, when: ({ status }) => status === "promoted" },
  archive: { label: "Archive", role: "editor", when: ({ status }) => ["draft", "stopped", "decided"].includes(status) },
};

export function actionButtons(experiment) {
  const possible = Object.entries(ACTIONS).filter(([, action]) => action.when(experiment));
  const allowed = possible.filter(([, { role }]) => may(role));
  const others = possible.filter(([, { role }]) => !may(role));
  const buttons = allowed.map(([name, { label, main, danger }]) =>
    h("button", { type: "button", "data-do": name, class: main ? "main" : danger ? "danger" : null }, label),
  );
  const missing =
    others.length && whoReads()
      ? h("small", {}, `${others.map(([, { label }]) => label).join(", ")}: needs the key of an ${others[0][1].role}.`)
      : null;
  const signIn =
    others.length && !whoReads()
      ? [
          h("button", { type: "button", "data-do": "sign-in" }, "Sign in to act"),
          h("small", {}, `Next: ${others.map(([, { label }]) => label.toLowerCase()).join(", ")}.`),
        ]
      : null;
  return h(
    "div",
    { class: "buttons", id: "actions" },
    buttons,
    missing,
    signIn,
    h("a", { class: "button", href: `/experiments/new?copy=${encodeURIComponent(experiment.definition.id)}` }, "Copy"),
  );
}

// Asks what there is to ask, and does it; returns whether anything may have changed.
export async function act(name, experiment, decision) {
  if (name === "sign-in") return (askToSignIn(), false);
  if (name === "edit")
    return (location.assign(`/experiments/new?edit=${encodeURIComponent(experiment.definition.id)}`), false);
  const values = await ask(QUESTIONS[name](experiment, decision));
  if (values === null) return false;
  const body = { revision: experiment.revision, ...BODIES[name]?.(values) };
  if (!(await send(experimentPath(experiment.definition.id, `/${name}`), body))) return false;
  toast(DONE[name]);
  return true;
}

// What stands against it is asked about, each thing once, and overridden only by who says so.
async function send(path, body) {
  try {
    await post(path, body);
    return true;
  } catch (problem) {
    const [, against] = /^override\.(\w+)$/.exec(problem.field ?? "") ?? [];
    if (!against || body.override?.includes(against)) throw problem;
    const values = await ask({
      title: "Something stands against it",
      confirm: "Ship it all the same",
      danger: true,
      lines: [`${problem.fix.split(". ")[0]}.`],
      fields: [{ ...REASON, label: "Why all the same?", value: body.reason }],
    });
    if (values === null) return false;
    return send(path, { ...body, ...values, override: [...(body.override ?? []), against] });
  }
}

const REASON = { name: "reason", type: "area", label: "Why?", hint: "It stays in the audit trail." };

const FINAL = ["ship", "do_not_ship", "inconclusive"];

const QUESTIONS = {
  start: ({ definition }) => ({
    title: `Start ${definition.id}?`,
    confirm: "Start",
    lines: [
      `${percent(firstTraffic(definition))} of ${definition.layer ? `layer ${definition.layer}` : "all members"} will take part within seconds. From then on metrics, variants and plan stay as they are.`,
    ],
  }),
  ramp: ({ definition, traffic }) => ({
    title: "Let more members take part",
    confirm: "Ramp up",
    lines: [`${percent(traffic)} take part now. The share only grows, and nobody changes variants.`],
    fields: [
      {
        name: "traffic",
        type: "number",
        label: "New share, in percent",
        value: Number((Math.min(1, Math.max(traffic * 2, Math.min(definition.traffic, 1))) * 100).toFixed(6)),
        min: Number((traffic * 100).toFixed(6)),
        max: 100,
      },
    ],
  }),
  stop: ({ definition }) => ({
    title: `Stop ${definition.id}?`,
    confirm: "Stop",
    danger: true,
    lines: ["Everybody goes back to the defaults within seconds. It cannot be started again."],
    fields: [REASON],
  }),
  decide: ({ definition }, decision) => ({
    title: `Decide on ${definition.id}`,
    confirm: "Decide",
    lines: [
      decision
        ? `The rules that were fixed beforehand say: ${VERDICTS[decision.verdict].toLowerCase()}.`
        : "No results are known.",
    ],
    fields: [
      {
        name: "verdict",
        label: "Verdict",
        options: [
          ["", "As the rules say"],
          ...FINAL.map((verdict) => [verdict, `Otherwise: ${VERDICTS[verdict].toLowerCase()}`]),
        ],
        required: false,
      },
      { ...REASON, label: "Why, if not as the rules say?", required: false },
    ],
  }),
  ship: ({ definition, best }, decision) => ({
    title: `Ship ${definition.id} to everybody?`,
    confirm: "Ship to everybody",
    lines: [
      "What it changes becomes the default for all members within seconds. It can be undone.",
      ...definition.variants.slice(1).map(shipping),
    ],
    fields: [
      {
        name: "variant",
        label: "Variant",
        value: best ?? decision?.variant ?? "",
        options: definition.variants.slice(1).map(({ key }) => [key, key]),
      },
      REASON,
    ],
  }),
  undo: ({ definition }) => ({
    title: `Undo the shipping of ${definition.id}?`,
    confirm: "Undo",
    danger: true,
    lines: ["The defaults go back to what they were before."],
    fields: [REASON],
  }),
  archive: ({ definition }) => ({
    title: `Archive ${definition.id}?`,
    confirm: "Archive",
    lines: ["It stays readable, with its results and its audit trail."],
    fields: [REASON],
  }),
};

const BODIES = {
  ramp: ({ traffic }) => ({ traffic: Number((Number(traffic) / 100).toFixed(10)) }),
  stop: ({ reason }) => ({ reason }),
  undo: ({ reason }) => ({ reason }),
  archive: ({ reason }) => ({ reason }),
  decide: ({ verdict, reason }) => ({ ...(verdict && { verdict }), ...(reason && { reason }) }),
  ship: (values) => values,
};

const DONE = {
  start: "Started: the first members are on their way.",
  ramp: "The share has grown.",
  stop: "Stopped.",
  decide: "Decided.",
  ship: "Shipped: it is the default now.",
  undo: "Undone: the defaults are back.",
  archive: "Archived.",
};

const firstTraffic = ({ traffic, ramp }) =>
  ramp.find(({ after_s: after }) => after === 0)?.traffic ??
  (ramp.length ? Math.min(traffic, ramp[0].traffic) : traffic);

function shipping({ key, patch }) {
  const lines = patchLines(patch).map(([name, value]) => `${name} ${value}`);
  return `${key}: ${lines.join("; ") || "changes nothing on pages"}.`;
}

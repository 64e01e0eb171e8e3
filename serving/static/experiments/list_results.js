// Reports of the experiments in a list: a few are asked for at once, and those that cannot change only once.

import { experimentPath, get } from "./api.js";
import { reportOf } from "./shapes.js";

const AT_ONCE = 4;
const FRESH_MS = 15_000;

const kept = new Map();

// Calls `shown` whenever another report has come. A report that cannot be had is tried again the next time.
export async function readReports(experiments, shown) {
  const now = Date.now();
  const wanted = experiments.filter((experiment) => experiment.status !== "draft" && !isFresh(experiment, now));
  async function worker() {
    for (let next = wanted.shift(); next; next = wanted.shift()) {
      try {
        const { report, decision } = await get(experimentPath(next.definition.id, "/results"));
        kept.set(next.definition.id, {
          revision: next.revision,
          report: reportOf(report),
          decision,
          readAt: Date.now(),
        });
        shown();
      } catch {
        // the list says that no effect is known
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function isFresh({ definition, revision, status }, now) {
  const entry = kept.get(definition.id);
  return entry?.revision === revision && (status !== "running" || now - entry.readAt < FRESH_MS);
}

// {report, decision}, null each while they are not known.
export const resultsFor = ({ definition }) => {
  const { report = null, decision = null } = kept.get(definition.id) ?? {};
  return { report, decision };
};

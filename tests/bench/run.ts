/**
 * Gives every subject its turn with every measure, round by round.
 *
 * @module
 */

import type { Bench } from "./bench.ts";
import type { Mode } from "./running.ts";
import type { Measure } from "./measure.ts";
import { type Failure, Rows } from "./report.ts";
import type { Subject } from "./subjects.ts";

/** What to run. */
export type Plan = {
  readonly measures: readonly Measure[];
  readonly modes: readonly Mode[];
  readonly subjects: readonly Subject[];
  /** In place of the scale's. */
  readonly rounds: number | undefined;
  /** Told what is about to be done. */
  readonly progress: (line: string) => void;
  /** Ends it between two turns; what is under way is the caller's to end. */
  readonly signal: AbortSignal;
};

/** What came of it. */
export type Outcome = { readonly rows: Rows; readonly failures: readonly Failure[] };

/** Runs it all. One subject that fails with one measure is left out there, and said to be. */
export async function runAll(bench: Bench, plan: Plan): Promise<Outcome> {
  const rows = new Rows();
  const failures: Failure[] = [];
  for (const measure of plan.measures) {
    for (const mode of measure.modes.filter((mode) => plan.modes.includes(mode))) {
      const usual = measure.long === true ? bench.scale.longRounds : bench.scale.rounds;
      let subjects = plan.subjects.filter(({ name }) => measure.subjects?.includes(name) ?? true);
      for (let round = 0; round < (plan.rounds ?? usual); round++) {
        // The order rotates, so that no subject always follows the same one.
        const order = subjects.map((_, n) => subjects[(n + round) % subjects.length]);
        for (const subject of order) {
          plan.signal.throwIfAborted();
          if (subject === undefined) continue;
          plan.progress(`${measure.name} ${mode} ${round + 1}: ${subject.name}`);
          try {
            rows.add(measure.name, mode, subject.name, await measure.run(bench, subject, mode));
          } catch (error) {
            plan.signal.throwIfAborted();
            const reason = error instanceof Error ? error.message : String(error);
            failures.push({ measure: measure.name, mode, subject: subject.name, reason });
            subjects = subjects.filter((other) => other !== subject);
            await bench.renewLoad();
          }
        }
      }
    }
  }
  return { rows, failures };
}

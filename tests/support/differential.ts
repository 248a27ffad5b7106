/**
 * Two judges over the same cases: where they differ, the difference is listed with its reason.
 *
 * @module
 */

import assert from "node:assert/strict";

/** What both say about a case; `ok` lets it in, anything else are words of refusal. */
export type VerdictPair = { readonly name: string; readonly we: string; readonly they: string };

/** Which cases they differ in, in what words the one that refuses does, and why they differ. */
export type Differences = readonly (readonly [
  name: RegExp,
  words: RegExp,
  reason: string,
  /** Where only some releases of the other one differ. */
  releases?: "some releases",
])[];

/** Fails where they differ and no reason is listed, and where a listed difference is none. */
export function assertExplained(
  results: readonly VerdictPair[],
  { laxer, stricter }: Readonly<Record<"laxer" | "stricter", Differences>>,
): void {
  const differing = results.filter(({ we, they }) => (we === "ok") !== (they === "ok"));
  const unexplained = differing.filter(({ name, we, they }) => {
    const [list, words] = we === "ok" ? [laxer, they] : [stricter, we];
    return !list.some(([flaw, pattern]) => flaw.test(name) && pattern.test(words));
  });
  assert.deepEqual(unexplained, []);
  // A difference that is gone should leave the list.
  for (const [flaw, , , releases] of [...laxer, ...stricter]) {
    if (releases !== undefined) continue;
    assert.ok(differing.some(({ name }) => flaw.test(name)), `${flaw} makes no difference`);
  }
}

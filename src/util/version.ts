/**
 * The version of mtlsd, and the versions of Deno that it supports. Imports nothing, because
 * `main.ts` uses it before it loads anything else.
 *
 * @module
 */

/** The version of mtlsd, as `mtlsd version` prints it; the same as in `deno.json`. */
export const VERSION = "0.1.0";

/** The oldest supported version of Deno, major and minor. */
export const OLDEST_DENO = "2.9";

/** The newest version of Deno that mtlsd was tested with. */
export const TESTED_DENO = "2.9.6";

/**
 * Why mtlsd cannot run on this runtime, on one line; `undefined` if it can.
 *
 * @param deno `Deno.version.deno`; `undefined` if the runtime is not Deno.
 */
export function unfitRuntime(deno: string | undefined): string | undefined {
  const advice = 'update it with "deno upgrade", or start mtlsd with ' +
    `"npx -y deno@${TESTED_DENO}" in place of "deno"`;
  if (deno === undefined) {
    return `Cannot run without Deno: mtlsd needs Deno ${OLDEST_DENO} or newer, and this is another ` +
      `runtime; start it with "deno run" or "npx -y deno@${TESTED_DENO} run"`;
  }
  return compare(deno, OLDEST_DENO) < 0
    ? `Cannot run on Deno ${deno}: mtlsd needs Deno ${OLDEST_DENO} or newer; ${advice}`
    : undefined;
}

/** Whether a Deno is newer than any that mtlsd was tested with. `deno` is `Deno.version.deno`. */
export function isUntested(deno: string): boolean {
  return compare(deno, TESTED_DENO) > 0;
}

/** Negative if `one` is older. Suffixes (`-rc.1`, `+abc`) are ignored. */
function compare(one: string, other: string): number {
  const [a, b] = [numbers(one), numbers(other)];
  for (const [index, number] of b.entries()) {
    const difference = (a[index] ?? 0) - number;
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbers(version: string): readonly number[] {
  return version.split(/[-+]/, 1).join("").split(".").map(Number);
}

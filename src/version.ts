/**
 * Which mtlsd this is, and which Deno it runs on. Imports nothing: `main.ts` asks before it loads
 * anything else.
 *
 * @module
 */

/** The version of mtlsd, as `mtlsd version` prints it; the same as in `deno.json`. */
export const VERSION = "0.1.0";

/** The oldest Deno that mtlsd runs on, major and minor version. */
export const OLDEST_DENO = "2.9";

/** The newest Deno that mtlsd was tested with. */
export const TESTED_DENO = "2.9.6";

/**
 * Why mtlsd cannot run on this runtime, on one line; `undefined` where it can.
 *
 * @param deno `Deno.version.deno`; `undefined` where the runtime is not Deno.
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

/** Whether a Deno is newer than those that mtlsd was tested with. `deno` is `Deno.version.deno`. */
export function isUntested(deno: string): boolean {
  return compare(deno, TESTED_DENO) > 0;
}

/** Below 0 where `one` is older. What follows the numbers (`-rc.1`, `+abc`) does not count. */
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

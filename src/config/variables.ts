/**
 * The names of the environment variables for settings.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";

/** The prefix of all variables. */
export const VARIABLE_PREFIX = "MTLSD_";

/** All of them, in the syntax of a Deno grant: `--allow-env=MTLSD_*`. */
export const ALL_VARIABLES: string = `${VARIABLE_PREFIX}*`;

/** The variable of a top-level key: `MTLSD_TLS_CERT` for `tls.cert`. */
export function variableOf(path: KeyPath): string {
  return VARIABLE_PREFIX + path.join("_").toUpperCase();
}

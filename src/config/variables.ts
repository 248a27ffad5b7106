/**
 * The names of the variables that settings may come from.
 *
 * @module
 */

import type { KeyPath } from "./problem.ts";

/** What the names of all variables begin with. */
export const VARIABLE_PREFIX = "MTLSD_";

/** All of them, as a grant names them: `--allow-env=MTLSD_*`. */
export const ALL_VARIABLES: string = `${VARIABLE_PREFIX}*`;

/** The variable of a key of the top level: `MTLSD_TLS_CERT` for `tls.cert`. */
export function variableOf(path: KeyPath): string {
  return VARIABLE_PREFIX + path.join("_").toUpperCase();
}

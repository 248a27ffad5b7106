/**
 * Which mtlsd this is.
 *
 * @module
 */

/** The version of mtlsd, as `mtlsd version` prints it; the same as in `deno.json`. */
export const VERSION = "0.1.0";

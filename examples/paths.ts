/**
 * Where the programs are, whatever directory the demo is started from.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** A path next to this file. */
export function fromFileUrl(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

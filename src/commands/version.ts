/**
 * `version`: prints the versions of mtlsd and its runtime.
 *
 * @module
 */

import { isNativeTested } from "../native/mod.ts";
import { isUntested, TESTED_DENO, VERSION } from "../util/version.ts";
import type { CommandIo } from "./load_config.ts";

/**
 * Prints the versions of mtlsd, Deno and V8, and whether native I/O is used. Returns exit status 0.
 */
export function version(io: CommandIo): number {
  const { deno, v8 } = Deno.version;
  io.stdout(
    `mtlsd ${VERSION} (Deno ${deno}, V8 ${v8}, native I/O ${
      isNativeTested() ? "in use" : "not in use"
    })`,
  );
  if (isUntested(deno)) {
    io.stderr(`warning: Deno ${deno} is newer than ${TESTED_DENO}, the newest that was tested`);
  }
  return 0;
}

/**
 * `schema`: prints the JSON Schema of the config, for editors.
 *
 * @module
 */

import { configJsonSchemaText } from "../config/schema.ts";
import type { CommandIo } from "./load_config.ts";

/** Prints the schema. Returns exit status 0. */
export function schema(io: CommandIo): number {
  io.stdout(configJsonSchemaText());
  return 0;
}

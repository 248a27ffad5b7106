/**
 * The shape of the file as a JSON Schema, for editors. Made of what validates, so that the two cannot
 * differ in keys and types; what belongs together, only the daemon knows.
 *
 * @module
 */

import * as z from "zod";
import { configSchema } from "./schema.ts";

/** As much of JSON Schema (draft 7) as there is in it. */
export type JsonSchema = {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
};

/**
 * The JSON Schema of the config. Draft 7 is what the YAML language server of the editors knows in
 * full. No key is required: each of them may come from the environment.
 */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema(), {
    io: "input",
    target: "draft-7",
    override: ({ zodSchema, jsonSchema }) => {
      // Zod leaves out defaults of values that are turned into others; ours are as the file has them.
      const shown = z.globalRegistry.get(zodSchema)?.default;
      if (shown !== undefined) jsonSchema.default = shown as typeof jsonSchema.default;
      // A union's own type would stand beside what is said better.
      if (jsonSchema.anyOf !== undefined) delete jsonSchema.type;
    },
  });
  const { $schema, ...rest } = schema as Record<string, unknown>;
  const title = "Configuration of mtlsd";
  return { ...{ $schema, title }, ...rest } as JsonSchema;
}

/** The schema as the text of a file. */
export function configJsonSchemaText(): string {
  return JSON.stringify(configJsonSchema(), null, 2);
}

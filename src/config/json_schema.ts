/**
 * The config as a JSON Schema, for editors. Generated from the validating schema, so keys and types
 * cannot differ. The rules between keys are checked by mtlsd only.
 *
 * @module
 */

import * as z from "zod";
import { configSchema } from "./schema.ts";

/** The parts of JSON Schema (draft 7) that the config needs. */
export type JsonSchema = {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly anyOf?: readonly JsonSchema[];
};

/**
 * The JSON Schema of the config. Draft 7, since the YAML language server in editors supports it
 * completely. No key is required, because each may come from the environment.
 */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema(), {
    io: "input",
    target: "draft-7",
    override: ({ zodSchema, jsonSchema }) => {
      // Zod omits defaults of transformed values. Ours are in config syntax.
      const shown = z.globalRegistry.get(zodSchema)?.default;
      if (shown !== undefined) jsonSchema.default = shown as typeof jsonSchema.default;
      // `anyOf` already gives the types of a union.
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

/**
 * The schema of the file, made of the table of keys: it validates each value on its own, and is
 * printed as a JSON Schema for editors. All keys are optional here, because each may come from the
 * environment; `checks.ts` checks the rules between keys.
 *
 * @module
 */

import * as z from "zod";
import type { ValueOf } from "./config.ts";
import { KEYS, TUNNELS } from "./keys.ts";
import { type Block, type Key, type Keys } from "./config.ts";
import type { KeyPath } from "./problem.ts";
import { type Value, valueOf } from "./values.ts";

/** The valid values of a block, by key. Defaults are not added yet. */
export type Raw<B extends Keys> = { -readonly [K in keyof B]?: ValueOf<B[K]> | undefined };

/** The blocks of a tunnel. */
export type RawBlocks = {
  tls?: Raw<typeof KEYS.tls.keys> | undefined;
  acl?: Raw<typeof KEYS.acl.keys> | undefined;
  proxy?: Raw<typeof KEYS.proxy.keys> | undefined;
  upstream_tls?: Raw<typeof KEYS.upstream_tls.keys> | undefined;
  upstream_acl?: Raw<typeof KEYS.upstream_acl.keys> | undefined;
};

/**
 * The valid values of a tunnel, from the top level, from an entry of `tunnels`, or merged from
 * both.
 */
export type RawTunnel =
  & RawBlocks
  & Raw<Pick<typeof TUNNELS.keys, "name" | "mode" | "listen" | "target" | "targets">>;

/** All valid values of a config. */
export type RawConfig = Omit<RawTunnel, "name"> & {
  tunnels?: RawTunnel[] | undefined;
  health?: Raw<typeof KEYS.health.keys> | undefined;
  metrics?: Raw<typeof KEYS.metrics.keys> | undefined;
  logging?: Raw<typeof KEYS.logging.keys> | undefined;
};

/** An invalid value; `reason` completes `Cannot use ...: `. */
export type InvalidValue = {
  readonly kind: "invalid";
  readonly path: KeyPath;
  readonly reason: string;
};

/** An unknown key. */
export type UnknownKey = { readonly kind: "unknown"; readonly path: KeyPath };

/** A problem that the schema found. */
export type SchemaIssue = InvalidValue | UnknownKey;

function keyType(key: Key): z.ZodType {
  const { description, default: shown } = key;
  return valueOf(key).meta({ description, ...(shown === undefined ? {} : { default: shown }) })
    .optional();
}

/** A block of keys; other keys are issues. */
function blockType({ description, error, keys }: Block): z.ZodType {
  return z.strictObject(shapeOf(keys), {
    error: error ?? "must be a block of keys, or be left out",
  }).meta({ description }).optional();
}

function shapeOf(entries: Readonly<Record<string, Key | Block>>): Record<string, z.ZodType> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) =>
      [name, "keys" in entry ? blockType(entry) : keyType(entry)] as const
    ),
  );
}

function configType(): Value<RawConfig> {
  const { health, metrics, logging, ...tunnel } = KEYS;
  const { description, error, empty, entryError, keys } = TUNNELS;
  const tunnels = z.array(z.strictObject(shapeOf(keys), { error: entryError }), { error })
    .min(1, { error: empty }).meta({ description }).optional();
  const type: Value<unknown> = z.strictObject({
    ...shapeOf(tunnel),
    tunnels,
    ...shapeOf({ health, metrics, logging }),
  });
  // The type of the values and what parses them are made of the same table.
  return type as Value<RawConfig>;
}

const SCHEMA = configType();

/** The type of a key's default; `undefined` if it has none. */
export type DefaultOf<K extends Key> = K extends { readonly default: unknown } ? ValueOf<K>
  : undefined;

/** The default of a key as a value. */
export function defaultOf<K extends Key>(key: K): DefaultOf<K> {
  const value = key.default === undefined ? undefined : valueOf(key).parse(key.default);
  // The parser of a kind makes values of its type.
  return value as DefaultOf<K>;
}

/**
 * Validates each value on its own. The result contains the valid ones, so that the rules between
 * keys can be checked despite other errors. Entries of `tunnels` keep their index.
 */
export function readSchema(
  value: unknown,
): { readonly raw: RawConfig; readonly issues: readonly SchemaIssue[] } {
  const result = SCHEMA.safeParse(value);
  if (result.success) return { raw: result.data, issues: [] };
  const issues: SchemaIssue[] = [];
  for (const issue of result.error.issues) {
    const path = issue.path.filter((part) => typeof part !== "symbol");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) issues.push({ kind: "unknown", path: [...path, key] });
    } else {
      issues.push({ kind: "invalid", path, reason: issue.message });
    }
  }
  return { raw: readSchema(without(value, issues.map(({ path }) => faulty(path)))).raw, issues };
}

/**
 * The path to leave out for an issue. For one target it is the whole list, because targets are
 * identified by their index.
 */
function faulty(path: KeyPath): KeyPath {
  const at = path.indexOf("targets");
  return at === -1 ? path : path.slice(0, at + 1);
}

/** A copy without the values at the paths. */
function without(value: unknown, paths: readonly KeyPath[]): unknown {
  const inside = Map.groupBy(paths, ([first]) => first);
  const gone = (part: string | number): boolean =>
    inside.get(part)?.some((path) => path.length === 1) ?? false;
  const rest = (part: string | number, item: unknown): unknown => {
    const deeper = inside.get(part)?.map((path) => path.slice(1));
    return deeper === undefined ? item : without(item, deeper);
  };
  if (Array.isArray(value)) {
    const kept = value.map((item, index) => gone(index) ? GONE : rest(index, item));
    // Tunnels are identified by their index, so an entry that is not a block becomes an empty one.
    const entries = kept.some((item) => typeof item === "object" && item !== null);
    return entries
      ? kept.map((item) => item === GONE ? {} : item)
      : kept.filter((item) => item !== GONE);
  }
  if (typeof value !== "object" || value === null) return value;
  const copy: Record<string, unknown> = Object.create(null);
  for (const [name, item] of Object.entries(value)) {
    if (!gone(name)) copy[name] = rest(name, item);
  }
  return copy;
}

/** Marks an item to be left out. */
const GONE = Symbol("gone");

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
  const schema = z.toJSONSchema(SCHEMA, {
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

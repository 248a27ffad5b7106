/**
 * The shape of the file: which keys there are and what each value may be, one by one. Everything is
 * optional here; what belongs together is judged in `checks.ts`.
 *
 * @module
 */

import { z } from "zod";
import { type Dimension, DIMENSIONS, parseRule, type Rule, type Side, SIDES } from "../acl/rule.ts";
import { parseAddress, parseServerName } from "./address.ts";
import { ACL_MODES, type Address, type ClientAuth, LOG_FORMATS, LOG_LEVELS } from "./config.ts";
import { parseDuration } from "./duration.ts";
import { either, type KeyPath, type Parsed, quote } from "./problem.ts";
import type { RawConfig, RuleListKey, SchemaIssue } from "./raw.ts";

/**
 * A string that `parse` turns into something better; `otherwise` is the reason where it is no string.
 */
function parsed<T>(
  parse: (text: string) => Parsed<T>,
  otherwise: string | ((input: unknown) => string),
): z.ZodType<T> {
  const error = ({ input }: { input?: unknown }) =>
    typeof otherwise === "string" ? otherwise : otherwise(input);
  return z.string({ error }).transform((text, context): T => {
    const result = parse(text);
    if (result.ok) return result.value;
    context.issues.push({ code: "custom", message: result.reason, input: text });
    return z.NEVER;
  });
}

/** One of a few words. */
function oneOf<const T extends readonly [string, ...string[]]>(words: T): z.ZodType<T[number]> {
  return z.enum(words, { error: `must be ${either(words)}` });
}

/** The path of a file, as far as that can be told without looking. */
function path(text: string): Parsed<string> {
  const refuse = (reason: string): Parsed<string> => ({ ok: false, reason });
  if (text === "") return refuse("must be the path of a file");
  if (text.trimStart().startsWith("-----BEGIN")) {
    return refuse("must be the path of a PEM file, not what is in it");
  }
  if (/\p{Cc}/u.test(text)) return refuse("a path has no control characters or line ends");
  if (/^~(\/|$)/.test(text)) return refuse('"~" has no meaning here: write the whole path');
  return { ok: true, value: text };
}

/** Milliseconds. Numbers are only understood where they need no unit: 0. */
function duration(zero: "0 is no limit" | "0 is an error"): z.ZodType<number> {
  const hint = 'must be a duration such as "10s"';
  return z.union([z.string(), z.number()], { error: hint }).transform((value, context): number => {
    const result = typeof value === "string" || value === 0
      ? parseDuration(String(value))
      : { ok: false as const, reason: `a duration needs a unit: write "${value}s" for seconds` };
    if (result.ok && (result.value > 0 || zero === "0 is no limit")) return result.value;
    const message = result.ok ? `must be more than 0, such as "10s"` : result.reason;
    context.issues.push({ code: "custom", message, input: value });
    return z.NEVER;
  });
}

/** Rules of one side and dimension. One given twice counts once. */
function rules(side: Side, dimension: Dimension): z.ZodType<Rule[]> {
  const item = parsed(
    (text): Parsed<Rule> => {
      const pattern = parseRule(dimension, text);
      return pattern.ok
        ? { ok: true, value: { side, dimension, text, pattern: pattern.value } }
        : pattern;
    },
    (input) =>
      typeof input === "object"
        ? 'must be a string, such as "frontend"'
        : "must be a string: put it in quotes",
  );
  return z.array(item, {
    error: ({ input }) =>
      typeof input === "string"
        ? `must be a list: write [${quote(input)}]`
        : "must be a list of strings",
  }).transform((list) => [...new Map(list.map((rule) => [rule.text, rule])).values()]);
}

/** A path or a list of paths; one given twice counts once. */
function paths(): z.ZodType<string[]> {
  return z.unknown().transform((value, context): string[] => {
    const list = typeof value === "string" ? [value] : value;
    if (!Array.isArray(list)) {
      const message = "must be the path of a file or a list of them";
      context.issues.push({ code: "custom", message, input: value });
      return z.NEVER;
    }
    const found = new Set<string>();
    for (const [index, item] of list.entries()) {
      const result = typeof item === "string" ? path(item) : { ok: false as const, reason: FILE };
      if (result.ok) {
        found.add(result.value);
        continue;
      }
      // Where the value is one path, it is the value that is wrong.
      const at = list === value ? [index] : [];
      context.issues.push({ code: "custom", message: result.reason, input: item, path: at });
    }
    return [...found];
  });
}

/** A block of keys; a key that the shape does not have is an issue. */
function block<T extends z.ZodRawShape>(
  shape: T,
  error = "must be a block of keys, or be left out",
): z.ZodOptional<z.ZodObject<T, z.core.$strict>> {
  return z.strictObject(shape, { error }).optional();
}

const ADDRESS = 'must be host:port, such as "127.0.0.1:8080"';
/** The reason where a path is no string. */
const FILE = "must be the path of a file, as a string";

/** An address to listen on or to reach. */
function address(role: "listen" | "target"): z.ZodOptional<z.ZodType<Address>> {
  return parsed(
    (text) => parseAddress(text, role),
    (input) =>
      typeof input === "number" && role === "listen"
        ? `must be host:port: write ":${input}"`
        : ADDRESS,
  ).optional();
}

/** True or false, without quotes. */
function boolean(): z.ZodType<boolean> {
  return z.boolean({
    error: ({ input }) =>
      input === "true" || input === "false"
        ? "must be true or false, without quotes"
        : "must be true or false",
  });
}

/** A whole number; 0 is no limit. */
function count(): z.ZodType<number> {
  const error = "must be a whole number, 0 (no limit) or more";
  return z.number({
    error: ({ input }) =>
      typeof input === "string" && /^\d+$/.test(input) ? `${error}, without quotes` : error,
  }).refine((value) => Number.isSafeInteger(value) && value >= 0, { error });
}

/** The fourteen lists. */
function ruleLists(): Record<RuleListKey, z.ZodOptional<z.ZodType<Rule[]>>> {
  const entries = SIDES.flatMap((side) =>
    DIMENSIONS.map((dimension) =>
      [`${side}_${dimension}`, rules(side, dimension).optional()] as const
    )
  );
  return Object.fromEntries(entries) as ReturnType<typeof ruleLists>;
}

const CLIENT_AUTH = oneOf(["required", "optional", "none", "require", "request"]);

function makeSchema() {
  const endpoint = () => block({ enabled: boolean().optional(), listen: address("listen") });
  return z.strictObject({
    mode: oneOf(["server", "client"]).optional(),
    listen: address("listen"),
    target: address("target"),
    tls: block({
      cert: parsed(path, FILE).optional(),
      key: parsed(path, FILE).optional(),
      ca: parsed(path, FILE).optional(),
      client_auth: CLIENT_AUTH.transform((word): ClientAuth =>
        word === "require" ? "required" : word === "request" ? "optional" : word
      ).optional(),
      server_name: parsed(parseServerName, "must be a DNS name or an IP address, as a string")
        .optional(),
      min_version: oneOf(["TLS1.2", "TLS1.3"]).optional(),
      max_version: oneOf(["TLS1.2", "TLS1.3"]).optional(),
      handshake_timeout: duration("0 is an error").optional(),
      crl: paths().optional(),
    }, 'must be a block with "cert", "key" and "ca"'),
    acl: block({
      ...ruleLists(),
      mode: oneOf(ACL_MODES).optional(),
      allow_anonymous: boolean().optional(),
    }),
    proxy: block({
      dial_timeout: duration("0 is an error").optional(),
      idle_timeout: duration("0 is no limit").optional(),
      close_timeout: duration("0 is no limit").optional(),
      max_connections: count().optional(),
      shutdown_timeout: duration("0 is no limit").optional(),
      max_lifetime: duration("0 is no limit").optional(),
      max_connections_per_peer: count().optional(),
    }),
    health: endpoint(),
    metrics: endpoint(),
    logging: block({ level: oneOf(LOG_LEVELS).optional(), format: oneOf(LOG_FORMATS).optional() }),
  });
}

const SCHEMA = makeSchema();

/** The keys that the block at the path may have; none where there is no such block. */
export function knownKeys(path: KeyPath): readonly string[] {
  if (path.length === 0) return Object.keys(SCHEMA.shape);
  const [name] = path;
  const section = Object.entries(SCHEMA.shape).find(([key]) => key === name)?.[1].unwrap();
  return section instanceof z.ZodObject ? Object.keys(section.shape) : [];
}

/**
 * Judges each value on its own. The result holds those that are valid, so that what belongs together
 * can be judged even where something else is wrong.
 */
export function readSchema(
  value: unknown,
): { readonly raw: RawConfig; readonly issues: readonly SchemaIssue[] } {
  const result = SCHEMA.safeParse(value);
  if (result.success) return { raw: result.data satisfies RawConfig, issues: [] };
  const issues: SchemaIssue[] = [];
  for (const issue of result.error.issues) {
    const path = issue.path.filter((part) => typeof part !== "symbol");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) issues.push({ kind: "unknown", path: [...path, key] });
    } else {
      issues.push({ kind: "invalid", path, reason: issue.message });
    }
  }
  return { raw: readSchema(without(value, issues.map(({ path }) => path))).raw, issues };
}

/** A copy without what stands at the paths. */
function without(value: unknown, paths: readonly KeyPath[]): unknown {
  const inside = Map.groupBy(paths, ([first]) => first);
  const gone = (part: string | number): boolean =>
    inside.get(part)?.some((path) => path.length === 1) ?? false;
  if (Array.isArray(value)) return value.filter((_, index) => !gone(index));
  if (typeof value !== "object" || value === null) return value;
  const copy: Record<string, unknown> = Object.create(null);
  for (const [key, item] of Object.entries(value)) {
    const rest = inside.get(key)?.map((path) => path.slice(1));
    if (!gone(key)) copy[key] = rest === undefined ? item : without(item, rest);
  }
  return copy;
}

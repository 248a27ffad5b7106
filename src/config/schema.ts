/**
 * The shape of the file: which keys there are and what each value may be, one by one. Everything is
 * optional here; what belongs together is judged in `checks.ts`.
 *
 * @module
 */

import { z } from "zod";
import { parseAddress, parseServerName } from "./address.ts";
import {
  type Address,
  type ClientAuth,
  LOG_FORMATS,
  LOG_LEVELS,
  type LogFormat,
  type LogLevel,
  type Mode,
  type TlsVersion,
} from "./config.ts";
import { parseDuration } from "./duration.ts";
import { either, type KeyPath, type Parsed, quote } from "./problem.ts";

/** The `tls` block as far as it is valid. */
export type RawTls = {
  cert?: string | undefined;
  key?: string | undefined;
  ca?: string | undefined;
  client_auth?: ClientAuth | undefined;
  server_name?: string | undefined;
  min_version?: TlsVersion | undefined;
  max_version?: TlsVersion | undefined;
  handshake_timeout?: number | undefined;
};

/** The `acl` block as far as it is valid. */
export type RawAcl = {
  allow_cn?: string[] | undefined;
  allow_org?: string[] | undefined;
};

/** The `proxy` block as far as it is valid; durations in milliseconds. */
export type RawProxy = {
  dial_timeout?: number | undefined;
  idle_timeout?: number | undefined;
  close_timeout?: number | undefined;
  max_connections?: number | undefined;
  shutdown_timeout?: number | undefined;
};

/** The `health` or `metrics` block as far as it is valid. */
export type RawEndpoint = { enabled?: boolean | undefined; listen?: Address | undefined };

/** The `logging` block as far as it is valid. */
export type RawLogging = { level?: LogLevel | undefined; format?: LogFormat | undefined };

/** The file as far as each value is valid on its own; what is missing has no default yet. */
export type RawConfig = {
  mode?: Mode | undefined;
  listen?: Address | undefined;
  target?: Address | undefined;
  tls?: RawTls | undefined;
  acl?: RawAcl | undefined;
  proxy?: RawProxy | undefined;
  health?: RawEndpoint | undefined;
  metrics?: RawEndpoint | undefined;
  logging?: RawLogging | undefined;
};

/** A value that cannot be used; `reason` completes `Cannot use ...: `. */
export type InvalidValue = {
  readonly kind: "invalid";
  readonly path: KeyPath;
  readonly reason: string;
};

/** A key that there is not. */
export type UnknownKey = { readonly kind: "unknown"; readonly path: KeyPath };

/** What the schema finds wrong. */
export type SchemaIssue = InvalidValue | UnknownKey;

/** A string that `parse` turns into something better. */
function parsed<T>(
  parse: (text: string) => Parsed<T>,
  otherwise: string | ((input: unknown) => string),
) {
  const error = ({ input }: { input?: unknown }) =>
    typeof otherwise === "string" ? otherwise : otherwise(input);
  return z.string({ error }).transform((text, context): T => {
    const result = parse(text);
    if (result.ok) return result.value;
    context.issues.push({ code: "custom", message: result.reason, input: text });
    return z.NEVER;
  });
}

function oneOf<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words, { error: `must be ${either(words)}` });
}

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

function rule(text: string): Parsed<string> {
  if (text === "") return { ok: false, reason: "a rule must not be empty" };
  return /\p{Cc}/u.test(text)
    ? { ok: false, reason: "a rule has no control characters or line ends" }
    : { ok: true, value: text };
}

/** Milliseconds. Numbers are only understood where they need no unit: 0. */
function duration(zero: "0 is no limit" | "0 is an error") {
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

/** Rules: exact strings, at least one character each. One given twice counts once. */
function rules() {
  const item = parsed(
    rule,
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
  }).transform((list) => [...new Set(list)]);
}

/** A block of keys; a key that the shape does not have is an issue. */
function block<T extends z.ZodRawShape>(
  shape: T,
  error = "must be a block of keys, or be left out",
) {
  return z.strictObject(shape, { error }).optional();
}

const ADDRESS = 'must be host:port, such as "127.0.0.1:8080"';
const FILE = "must be the path of a file, as a string";
const CLIENT_AUTH = oneOf(["required", "optional", "none", "require", "request"]);

const address = (role: "listen" | "target") =>
  parsed(
    (text) => parseAddress(text, role),
    (input) =>
      typeof input === "number" && role === "listen"
        ? `must be host:port: write ":${input}"`
        : ADDRESS,
  ).optional();

const boolean = () =>
  z.boolean({
    error: ({ input }) =>
      input === "true" || input === "false"
        ? "must be true or false, without quotes"
        : "must be true or false",
  });

const count = () => {
  const error = "must be a whole number, 0 (no limit) or more";
  return z.number({
    error: ({ input }) =>
      typeof input === "string" && /^\d+$/.test(input) ? `${error}, without quotes` : error,
  }).refine((value) => Number.isSafeInteger(value) && value >= 0, { error });
};

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
    }, 'must be a block with "cert", "key" and "ca"'),
    acl: block({ allow_cn: rules().optional(), allow_org: rules().optional() }),
    proxy: block({
      dial_timeout: duration("0 is an error").optional(),
      idle_timeout: duration("0 is no limit").optional(),
      close_timeout: duration("0 is no limit").optional(),
      max_connections: count().optional(),
      shutdown_timeout: duration("0 is no limit").optional(),
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

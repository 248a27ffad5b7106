/**
 * The kinds of values in the config. Each validates one value on its own, and describes itself for
 * the JSON Schema.
 *
 * @module
 */

import * as z from "zod";
import { type IpPattern, parseIpRule } from "../acl/ip.ts";
import { type Dimension, parseRule, type Rule, type Side } from "../acl/rule.ts";
import { type AddressRole, parseAddress } from "./address.ts";
import { parseAlpn, parseSocketMode, parseTunnelName } from "./names.ts";
import type { Address, TcpAddress } from "./config.ts";
import { parseDuration } from "../util/duration.ts";
import { either, type Parsed, quote } from "../util/text.ts";

/**
 * Validates one value. Its error says what would be valid.
 *
 * @internal
 */
export type Value<T> = z.ZodType<T>;

/** A string that `parse` converts; `otherwise` is the reason for values that are not strings. */
export function parsed<T>(
  parse: (text: string) => Parsed<T>,
  otherwise: string | ((input: unknown) => string),
): Value<T> {
  const error = ({ input }: { input?: unknown }) =>
    typeof otherwise === "string" ? otherwise : otherwise(input);
  return z.string({ error }).transform((text, context): T => {
    const result = parse(text);
    if (result.ok) return result.value;
    context.issues.push({ code: "custom", message: result.reason, input: text });
    return z.NEVER;
  });
}

/** One of a few fixed words. */
export function oneOf<const T extends readonly [string, ...string[]]>(
  words: T,
): Value<T[number]> {
  return z.enum(words, { error: `must be ${either(words)}` });
}

/** The reason for a path that is not a string. */
const FILE = "must be the path of a file, as a string";

function parsePath(text: string): Parsed<string> {
  const refuse = (reason: string): Parsed<string> => ({ ok: false, reason });
  if (text === "") return refuse("must be the path of a file");
  if (text.trimStart().startsWith("-----BEGIN")) {
    return refuse("must be the path of a PEM file, not what is in it");
  }
  if (/\p{Cc}/u.test(text)) return refuse("a path has no control characters or line ends");
  if (/^~(\/|$)/.test(text)) return refuse('"~" has no meaning here: write the whole path');
  return { ok: true, value: text };
}

/** The path of a file, validated without accessing it. */
export function path(): Value<string> {
  return parsed(parsePath, FILE);
}

/** A path or a list of paths, without duplicates. */
export function paths(): Value<string[]> {
  return z.unknown().transform((value, context): string[] => {
    const list = typeof value === "string" ? [value] : value;
    if (!Array.isArray(list)) {
      const message = "must be the path of a file or a list of them";
      context.issues.push({ code: "custom", message, input: value });
      return z.NEVER;
    }
    const found = new Set<string>();
    for (const [index, item] of list.entries()) {
      const result = typeof item === "string"
        ? parsePath(item)
        : { ok: false as const, reason: FILE };
      if (result.ok) {
        found.add(result.value);
        continue;
      }
      // If the value is a single path, the issue is about the value itself.
      const at = list === value ? [index] : [];
      context.issues.push({ code: "custom", message: result.reason, input: item, path: at });
    }
    return [...found];
  }).meta({ anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] });
}

/** An approximate pattern of a duration, for editors. */
const DURATION = "^[-+]?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$";

/** A duration in milliseconds. The only number accepted without a unit is 0. */
export function duration(zero: "0 is no limit" | "0 is an error"): Value<number> {
  const hint = 'must be a duration such as "10s"';
  const text = { type: "string", pattern: DURATION };
  return z.union([z.string(), z.number()], { error: hint }).transform((value, context): number => {
    const result = typeof value === "string" || value === 0
      ? parseDuration(String(value))
      : { ok: false as const, reason: `a duration needs a unit: write "${value}s" for seconds` };
    if (result.ok && (result.value > 0 || zero === "0 is no limit")) return result.value;
    const message = result.ok ? `must be more than 0, such as "10s"` : result.reason;
    context.issues.push({ code: "custom", message, input: value });
    return z.NEVER;
  }).meta({ anyOf: zero === "0 is no limit" ? [text, { const: 0 }] : [text] });
}

/** Rules of one side and dimension, without duplicates. */
export function rules(
  side: Side,
  dimension: Dimension,
  where: Pick<Rule, "block"> = {},
): Value<Rule[]> {
  const item = parsed(
    (text): Parsed<Rule> => {
      const pattern = parseRule(dimension, text);
      return pattern.ok
        ? { ok: true, value: { ...where, side, dimension, text, pattern: pattern.value } }
        : pattern;
    },
    (input) =>
      typeof input === "object"
        ? 'must be a string, such as "frontend"'
        : "must be a string: put it in quotes",
  );
  return list(item).transform((all) => [...new Map(all.map((rule) => [rule.text, rule])).values()]);
}

/** A list of strings. */
function list<T>(item: z.ZodType<T>): z.ZodArray<z.ZodType<T>> {
  return z.array(item, {
    error: ({ input }) =>
      typeof input === "string"
        ? `must be a list: write [${quote(input)}]`
        : "must be a list of strings",
  });
}

const ADDRESS = 'must be host:port, such as "127.0.0.1:8080"';

/** The reason for an address that is not a string. */
function noAddress(role: AddressRole): (input: unknown) => string {
  return (input) =>
    typeof input === "number" && role === "listen"
      ? `must be host:port: write ":${input}"`
      : ADDRESS;
}

/** An address to listen on or to connect to, including UNIX sockets. */
export function address(role: AddressRole): Value<Address> {
  return parsed((text) => parseAddress(text, role), noAddress(role));
}

/** The listen address of an endpoint. */
export function tcpAddress(): Value<TcpAddress> {
  return parsed((text): Parsed<TcpAddress> => {
    const result = parseAddress(text, "listen");
    if (!result.ok) return result;
    const { value } = result;
    return value.kind === "tcp" ? { ok: true, value } : {
      ok: false,
      reason: 'this is served over TCP only: must be host:port, such as "127.0.0.1:9000"',
    };
  }, noAddress("listen"));
}

/** Addresses to forward to, at least one. */
export function targets(): Value<Address[]> {
  const error = ({ input }: { input?: unknown }) =>
    typeof input === "string"
      ? `must be a list: write [${quote(input)}], or "target"`
      : 'must be a list of addresses, such as ["10.0.0.1:8080", "10.0.0.2:8080"]';
  return z.array(address("target"), { error }).min(1, { error: "must have at least one address" });
}

/** True or false, without quotes. */
export function boolean(): Value<boolean> {
  return z.boolean({
    error: ({ input }) =>
      input === "true" || input === "false"
        ? "must be true or false, without quotes"
        : "must be true or false",
  });
}

/** A whole number; 0 means no limit. */
export function count(): Value<number> {
  const error = "must be a whole number, 0 (no limit) or more";
  return z.number({
    error: ({ input }) =>
      typeof input === "string" && /^\d+$/.test(input) ? `${error}, without quotes` : error,
  }).refine((value) => Number.isSafeInteger(value) && value >= 0, { error })
    .meta({ type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
}

/** ALPN protocol names in order of preference. */
export function alpn(): Value<string[]> {
  return list(parsed(parseAlpn, 'must be a protocol name as a string, such as "h2"'))
    .superRefine((names, context) => refuseTwice(names, context));
}

function refuseTwice(names: readonly string[], context: z.RefinementCtx<string[]>): void {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.size < seen.add(name).size) continue;
    const message = "it stands in the list already: remove it";
    context.addIssue({ code: "custom", message, input: name, path: [index] });
  }
}

/** Networks that connections may come from. */
export function networks(): Value<IpPattern[]> {
  return list(parsed((text): Parsed<IpPattern> => {
    const result = parseIpRule(text);
    if (!result.ok) return result;
    const { value } = result;
    return value.kind === "ip"
      ? { ok: true, value: { bytes: value.bytes, bits: value.bits } }
      : { ok: false, reason: "must be an IP address or a network" };
  }, 'must be an IP address or a network as a string, such as "10.0.0.0/8"'));
}

/** The mode of a UNIX socket. */
export function socketMode(): Value<number> {
  return parsed(
    parseSocketMode,
    (input) =>
      typeof input === "number"
        // YAML 1.2 reads 0600 as the decimal number 600.
        ? 'must be octal digits in quotes, such as "0600": without, it is a decimal number'
        : 'must be octal digits as a string, such as "0600"',
  );
}

/** The name of a tunnel. */
export function tunnelName(): Value<string> {
  return parsed(parseTunnelName, 'must be a name as a string, such as "grpc"');
}

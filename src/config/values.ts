/**
 * The kinds of values in the config: parsers that validate one value on its own, and describe it for
 * the JSON Schema.
 *
 * @module
 */

import * as z from "zod";
import { type IpPattern, parseIpRule } from "../acl/ip.ts";
import { parseRule, type Rule } from "../acl/rule.ts";
import { parseDuration } from "../util/duration.ts";
import { either, type Parsed, quote } from "../util/text.ts";
import { type AddressRole, parseAddress, parseServerName } from "./address.ts";
import type { Address, Kind, TcpAddress, ValueTypes } from "./config.ts";
import type { Key } from "./config.ts";

/**
 * Validates one value. Its error says what would be valid.
 *
 * @internal
 */
export type Value<T> = z.ZodType<T>;

/** A string that `parse` converts; `otherwise` is the reason for values that are not strings. */
function parsed<T>(
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

/** One of a few fixed words, or another spelling of one. */
function word({ words = [], aliases }: Key): Value<string> {
  const all = [...words, ...Object.keys(aliases ?? {})];
  const type = z.enum(all, { error: `must be ${either(all)}` });
  return aliases === undefined ? type : type.transform((written) => aliases[written] ?? written);
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
function path(): Value<string> {
  return parsed(parsePath, FILE);
}

/** A path or a list of paths, without duplicates. */
function paths(): Value<string[]> {
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
function duration(zero: "0 is no limit" | "0 is an error"): Value<number> {
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
function rules(about: NonNullable<Key["rules"]>): Value<Rule[]> {
  const item = parsed(
    (text): Parsed<Rule> => {
      const pattern = parseRule(about.dimension, text);
      return pattern.ok ? { ok: true, value: { ...about, text, pattern: pattern.value } } : pattern;
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
function address(role: AddressRole): Value<Address> {
  return parsed((text) => parseAddress(text, role), noAddress(role));
}

/** The listen address of an endpoint. */
function tcpAddress(): Value<TcpAddress> {
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
function targets(): Value<Address[]> {
  const error = ({ input }: { input?: unknown }) =>
    typeof input === "string"
      ? `must be a list: write [${quote(input)}], or "target"`
      : 'must be a list of addresses, such as ["10.0.0.1:8080", "10.0.0.2:8080"]';
  return z.array(address("target"), { error }).min(1, { error: "must have at least one address" });
}

/** True or false, without quotes. */
function boolean(): Value<boolean> {
  return z.boolean({
    error: ({ input }) =>
      input === "true" || input === "false"
        ? "must be true or false, without quotes"
        : "must be true or false",
  });
}

/** A whole number; 0 means no limit. */
function count(): Value<number> {
  const error = "must be a whole number, 0 (no limit) or more";
  return z.number({
    error: ({ input }) =>
      typeof input === "string" && /^\d+$/.test(input) ? `${error}, without quotes` : error,
  }).refine((value) => Number.isSafeInteger(value) && value >= 0, { error })
    .meta({ type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
}

/** ALPN protocol names in order of preference. */
function alpn(): Value<string[]> {
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
function networks(): Value<IpPattern[]> {
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
function socketMode(): Value<number> {
  return parsed(
    parseSocketMode,
    (input) =>
      typeof input === "number"
        // YAML 1.2 reads 0600 as the decimal number 600.
        ? 'must be octal digits in quotes, such as "0600": without, it is a decimal number'
        : 'must be octal digits as a string, such as "0600"',
  );
}

/** Longer names make log lines and metric labels unreadable. */
const MAX_NAME = 63;

/**
 * Parses the name of a tunnel, which must be usable in metric labels and log fields without
 * escapes.
 */
export function parseTunnelName(text: string): Parsed<string> {
  const refuse = (reason: string): Parsed<string> => ({ ok: false, reason });
  if (text === "") return refuse('must be a name, such as "grpc"');
  if (text.length > MAX_NAME) return refuse(`a name has at most ${MAX_NAME} characters`);
  if (/^[a-z0-9][a-z0-9._-]*$/i.test(text)) return { ok: true, value: text };
  return refuse(
    'a name has letters, digits, ".", "_" and "-", and starts with one of the first two',
  );
}

/** Common mistakes for registered protocol names. */
const MEANT: ReadonlyMap<string, string> = new Map([
  ["http/2", "h2"],
  ["http/2.0", "h2"],
  ["http2", "h2"],
  ["http1.1", "http/1.1"],
  ["http/1", "http/1.1"],
]);

/** The maximum length of a name in bytes (RFC 7301 section 3.1). */
const MAX_PROTOCOL = 255;

/**
 * Parses an ALPN protocol name (RFC 7301). Names are compared byte by byte, so a mistyped one never
 * matches.
 */
function parseAlpn(text: string): Parsed<string> {
  const refuse = (reason: string): Parsed<string> => ({ ok: false, reason });
  if (text === "") return refuse('must be a protocol name, such as "h2"');
  if (new TextEncoder().encode(text).length > MAX_PROTOCOL) {
    return refuse(`a protocol name has at most ${MAX_PROTOCOL} bytes`);
  }
  if (/\p{C}|\s/u.test(text)) return refuse("a protocol name has no spaces or control characters");
  const known = text.toLowerCase();
  const meant = MEANT.get(known) ??
    (["h2", "http/1.1"].find((name) => name === known && name !== text));
  return meant === undefined
    ? { ok: true, value: text }
    : refuse(`no client offers that: write "${meant}"`);
}

/** Parses permission bits in octal: `0600` or `600`. */
function parseSocketMode(text: string): Parsed<number> {
  if (/^0?[0-7]{3}$/.test(text)) return { ok: true, value: Number.parseInt(text, 8) };
  return {
    ok: false,
    reason: 'must be three octal digits, with a 0 in front or not, such as "0600"',
  };
}

/** The parser of each kind, except those that need to know their key. */
const PARSERS: { readonly [K in Exclude<Kind, "word" | "rules">]: () => Value<ValueTypes[K]> } = {
  path,
  paths,
  limit: () => duration("0 is no limit"),
  timeout: () => duration("0 is an error"),
  count,
  boolean,
  listen: () => address("listen"),
  target: () => address("target"),
  targets,
  endpoint: tcpAddress,
  server_name: () => parsed(parseServerName, "must be a DNS name or an IP address, as a string"),
  alpn,
  networks,
  socket_mode: socketMode,
  tunnel_name: () => parsed(parseTunnelName, 'must be a name as a string, such as "grpc"'),
};

/** What parses and validates the value of a key. */
export function valueOf(key: Key): Value<unknown> {
  switch (key.kind) {
    case "word":
      return word(key);
    case "rules":
      if (key.rules === undefined) throw new TypeError("Cannot parse rules about nothing");
      return rules(key.rules);
    default:
      return PARSERS[key.kind]();
  }
}

/**
 * DNS names in rules and certificates (RFC 5280 section 4.2.1.6, RFC 4343).
 *
 * @module
 */

import { dnsNameFault, parseIp } from "../util/ip.ts";
import type { ParsedRule } from "./rule.ts";

/** A parsed rule. With `wildcard`, exactly one label must stand in front of `name`. */
export type DnsPattern = { readonly name: string; readonly wildcard: boolean };

/** Lowercases ASCII only: Unicode case mapping would turn the Kelvin sign into a "k". */
function lower(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Lower case, without a trailing dot. */
function normalize(name: string): string {
  return lower(name).replace(/\.$/, "");
}

/** Parses a rule: a name, or `*.` and a name, where the star stands for exactly one label. */
export function parseDnsRule(text: string): ParsedRule {
  const name = normalize(text);
  const wildcard = name.startsWith("*.");
  const base = wildcard ? name.slice(2) : name;
  if (parseIp(base) !== undefined) {
    return {
      ok: false,
      reason: "an IP address is no DNS name: write it under allow_ip or deny_ip",
    };
  }
  if (base.includes("*")) {
    return {
      ok: false,
      reason: 'a star stands for the whole first label and nowhere else: "*.example.com"',
    };
  }
  // The star stands for at least one character, which counts towards the maximum length.
  const fault = dnsNameFault(wildcard ? `x.${base}` : base, { underscores: true });
  if (fault !== undefined) return { ok: false, reason: fault };
  return { ok: true, value: { kind: "dns", name: base, wildcard } };
}

/**
 * The name as allow rules see it; `undefined` if the value is not a valid name. A wildcard is not.
 */
export function dnsName(value: string): string | undefined {
  const name = normalize(value);
  return dnsNameFault(name, { underscores: true }) === undefined ? name : undefined;
}

function parentOf(name: string): string | undefined {
  const dot = name.indexOf(".");
  return dot === -1 ? undefined : name.slice(dot + 1);
}

/** Values by name and by the part of the name behind the first label. */
class Index {
  readonly #names = new Map<string, string>();
  readonly #parents = new Map<string, string>();

  add(name: string, value: string): void {
    if (!this.#names.has(name)) this.#names.set(name, value);
    const parent = parentOf(name);
    if (parent !== undefined && !this.#parents.has(parent)) this.#parents.set(parent, value);
  }

  find({ name, wildcard }: DnsPattern): string | undefined {
    return (wildcard ? this.#parents : this.#names).get(name);
  }
}

/** The names that allow rules see, indexed so that each rule costs one look-up. */
export class DnsNames {
  readonly #index = new Index();

  /** `values` are the names as they stand in the certificate. */
  constructor(values: readonly string[]) {
    for (const value of values) {
      const name = dnsName(value);
      if (name !== undefined) this.#index.add(name, value);
    }
  }

  /** The value that the pattern matches, as it stands in the certificate. */
  find(pattern: DnsPattern): string | undefined {
    return this.#index.find(pattern);
  }
}

/**
 * The ways a lenient parser may read a name: cut at a NUL, without control characters and blanks,
 * without trailing dots.
 */
function readings(value: string): readonly string[] {
  const texts = [value, value.replace(/\0.*$/s, "")].map((text) =>
    // deno-lint-ignore no-control-regex -- control characters are what it takes out
    lower(text.replace(/[\u0000-\u0020\u007f]/g, "")).replace(/\.+$/, "")
  );
  return [...new Set(texts)];
}

/** A label with stars, split at the stars. */
type Starred = { readonly pieces: readonly (readonly string[])[]; readonly value: string };

/** Whether a label with stars, given as the pieces between them, can stand for `label`. */
function labelCovers(label: string, pieces: readonly string[] = []): boolean {
  const [first = "", ...rest] = pieces;
  const last = rest.pop();
  if (last === undefined) return first === label;
  if (!label.startsWith(first) || label.length < first.length + last.length) return false;
  let at = first.length;
  const end = label.length - last.length;
  for (const piece of rest) {
    const found = label.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return label.endsWith(last);
}

/**
 * Maximum number of wildcard names that share the labels behind the last star and are compared one
 * by one. The next one is taken to match anything, so that a certificate full of wildcards is not
 * slow to check.
 */
const MAX_ALIKE = 32;

/** Key for wildcard names: the number of labels, and the labels behind the last star. */
function tailKey(labels: readonly string[], from: number): string {
  return `${labels.length} ${from} ${labels.slice(from).join(".")}`;
}

/** The wildcard names of a certificate. Each matches every name that it could stand for. */
class Wildcards {
  readonly #byTail = new Map<string, Starred[]>();

  add(name: string, value: string): void {
    const labels = name.split(".");
    const from = labels.findLastIndex((label) => label.includes("*")) + 1;
    const key = tailKey(labels, from);
    const alike = this.#byTail.get(key) ?? [];
    this.#byTail.set(key, alike);
    if (alike.length <= MAX_ALIKE) {
      alike.push({ pieces: labels.slice(0, from).map((label) => label.split("*")), value });
    }
  }

  find({ name, wildcard }: DnsPattern): string | undefined {
    if (this.#byTail.size === 0) return undefined;
    const labels = [...(wildcard ? ["*"] : []), ...name.split(".")];
    for (let from = 1; from <= labels.length; from++) {
      const alike = this.#byTail.get(tailKey(labels, from)) ?? [];
      const found = alike.find(({ pieces }, i) =>
        i >= MAX_ALIKE ||
        labels.slice(0, from).every((label, k) => label === "*" || labelCovers(label, pieces[k]))
      );
      if (found !== undefined) return found.value;
    }
    return undefined;
  }
}

/**
 * The names that deny rules see: every way in which a value can be read. A wildcard in the
 * certificate matches as itself and as every name that it could stand for.
 */
export class LaxDnsNames {
  readonly #index = new Index();
  readonly #wildcards = new Wildcards();

  /** `values` are the names as they stand in the certificate. */
  constructor(values: readonly string[]) {
    for (const value of values) {
      for (const name of readings(value)) {
        this.#index.add(name, value);
        if (name.includes("*")) this.#wildcards.add(name, value);
      }
    }
  }

  /** The value that the pattern matches, as it stands in the certificate. */
  find(pattern: DnsPattern): string | undefined {
    return this.#index.find(pattern) ?? this.#wildcards.find(pattern);
  }
}

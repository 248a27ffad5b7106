/**
 * DNS names in rules and certificates (RFC 5280 section 4.2.1.6, RFC 4343).
 *
 * @module
 */

import { dnsNameFault, parseIp } from "../config/ip.ts";
import type { ParsedRule } from "./rule.ts";

/** A rule: `wildcard` stands for one label in front of `name`. */
export type DnsPattern = { readonly name: string; readonly wildcard: boolean };

/** ASCII to lower case, and nothing else: the Kelvin sign is no K. */
function lower(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Lower case, without a final dot. */
function normalize(name: string): string {
  return lower(name).replace(/\.$/, "");
}

/** A rule: a name, or `*.` and a name, where the star is one label. */
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
  // The star stands for one character at least.
  const fault = dnsNameFault(wildcard ? `x.${base}` : base, { underscores: true });
  if (fault !== undefined) return { ok: false, reason: fault };
  return { ok: true, value: { kind: "dns", name: base, wildcard } };
}

/** The name as allow rules see it, or `undefined` where it is none: a wildcard is not a name. */
export function dnsName(value: string): string | undefined {
  const name = normalize(value);
  return dnsNameFault(name, { underscores: true }) === undefined ? name : undefined;
}

function parentOf(name: string): string | undefined {
  const dot = name.indexOf(".");
  return dot === -1 ? undefined : name.slice(dot + 1);
}

/** Names by themselves and by what is behind their first label; each leads to what was written. */
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

/** The names that allow rules see, ready to be asked for many rules. */
export class DnsNames {
  readonly #index = new Index();

  /** `values` as the certificate has them. */
  constructor(values: readonly string[]) {
    for (const value of values) {
      const name = dnsName(value);
      if (name !== undefined) this.#index.add(name, value);
    }
  }

  /** What the pattern matches, as the certificate has it. */
  find(pattern: DnsPattern): string | undefined {
    return this.#index.find(pattern);
  }
}

/** What a lax reader may take a name for: up to a NUL, without what is not seen, without dots. */
function readings(value: string): readonly string[] {
  const texts = [value, value.replace(/\0.*$/s, "")].map((text) =>
    // deno-lint-ignore no-control-regex -- control characters are what it takes out
    lower(text.replace(/[\u0000-\u0020\u007f]/g, "")).replace(/\.+$/, "")
  );
  return [...new Set(texts)];
}

/** A label with stars, as the pieces between them. */
type Starred = { readonly pieces: readonly (readonly string[])[]; readonly value: string };

/** Whether a label with stars, given by the pieces between them, may stand for `label`. */
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
 * Names with stars that are alike from some label on; when there are more than these, they are taken
 * to stand for anything, so that a certificate full of them costs no more than another.
 */
const MAX_ALIKE = 32;

/** By the number of labels, and those behind the last star. */
function tailKey(labels: readonly string[], from: number): string {
  return `${labels.length} ${from} ${labels.slice(from).join(".")}`;
}

/** Names of the certificate with stars in them: each counts for every name that it may stand for. */
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
 * The names that deny rules see: whatever a value may be taken for. A wildcard of the certificate
 * counts as itself and for every name that it may stand for.
 */
export class LaxDnsNames {
  readonly #index = new Index();
  readonly #wildcards = new Wildcards();

  /** `values` as the certificate has them. */
  constructor(values: readonly string[]) {
    for (const value of values) {
      for (const name of readings(value)) {
        this.#index.add(name, value);
        if (name.includes("*")) this.#wildcards.add(name, value);
      }
    }
  }

  /** What the pattern matches, as the certificate has it. */
  find(pattern: DnsPattern): string | undefined {
    return this.#index.find(pattern) ?? this.#wildcards.find(pattern);
  }
}

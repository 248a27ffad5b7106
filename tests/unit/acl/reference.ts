/**
 * The rules once more, slow and obvious, written from their prose and from nothing else: what the
 * property tests compare with.
 *
 * @module
 */

import type { PeerIdentity, SubjectValue } from "../../../src/identity.ts";

const ASCII_CONTROLS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(i));
const CONTROLS = new Set([
  ...ASCII_CONTROLS,
  ...Array.from({ length: 33 }, (_, i) => String.fromCharCode(0x7f + i)),
]);

/** CN, O, OU: the decoded string, exactly; nothing with a control character. */
export function textAllows(rule: string, values: readonly SubjectValue[], cn: boolean): boolean {
  if (cn && values.length !== 1) return false;
  for (const { text } of values) {
    if (text === undefined || text !== rule) continue;
    if (![...text].some((char) => CONTROLS.has(char) || char === "\ufffd")) return true;
  }
  return false;
}

/** Lower case and no final dot; `undefined` for what is no name: a wildcard, an empty label. */
function labelsOf(name: string): string[] | undefined {
  const plain = name.endsWith(".") ? name.slice(0, -1) : name;
  if (plain.length > 253) return undefined;
  const labels = plain.split(".");
  for (const label of labels) {
    if (label.length < 1 || label.length > 63) return undefined;
    for (const char of label) {
      if (!"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".includes(char)) {
        return undefined;
      }
    }
    if (label.startsWith("-") || label.endsWith("-")) return undefined;
  }
  // Names that end in a number are addresses.
  if (
    [..."0123456789"].includes(labels.at(-1)?.[0] ?? "") && Number.isInteger(Number(labels.at(-1)))
  ) {
    return undefined;
  }
  return labels.map((label) =>
    [...label].map((char) => char >= "A" && char <= "Z" ? char.toLowerCase() : char).join("")
  );
}

/** Exact unless the rule starts with `*.`, which is one label. */
export function dnsAllows(rule: string, names: readonly string[]): boolean {
  const star = rule.startsWith("*.");
  const wanted = labelsOf(star ? rule.slice(2) : rule);
  return names.some((name) => {
    const labels = labelsOf(name);
    if (labels === undefined || wanted === undefined) return false;
    const compared = star ? labels.slice(1) : labels;
    return labels.length === wanted.length + (star ? 1 : 0) && compared.join() === wanted.join();
  });
}

function bitsOf(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

/** IPv4-mapped addresses are the IPv4 ones. */
function plainBits(bytes: readonly number[]): string {
  const bits = bitsOf(bytes);
  const prefix = "0".repeat(80) + "1".repeat(16);
  return bits.length === 128 && bits.startsWith(prefix) ? bits.slice(96) : bits;
}

/** `network` is 4 bytes or 16, of which the first `length` bits count. */
export function ipMatches(
  network: readonly number[],
  length: number,
  addresses: readonly Uint8Array[],
): boolean {
  const rule = plainBits(network);
  const dropped = bitsOf(network).length - rule.length;
  return addresses.some((address) => {
    const bits = plainBits([...address]);
    return bits.length === rule.length &&
      bits.slice(0, length - dropped) === rule.slice(0, length - dropped);
  });
}

const SEGMENT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@%";

/** Why no allow rule may match the URI, by the list of what lets nobody in. */
export function uriIsPlain(uri: string): boolean {
  const colon = uri.indexOf("://");
  if (colon < 1) return false;
  const scheme = uri.slice(0, colon);
  if (![...scheme].every((char) => "abcdefghijklmnopqrstuvwxyz0123456789+.-".includes(char))) {
    return false;
  }
  if (!"abcdefghijklmnopqrstuvwxyz".includes(scheme[0] ?? " ")) return false;
  const [host = "", ...path] = uri.slice(colon + 3).split("/");
  const hostChars = SEGMENT.replace("%", "").replace("@", "") + "[]";
  if (host === "" || host !== host.toLowerCase()) return false;
  if (![...host].every((char) => hostChars.includes(char))) return false;
  if (path.at(-1) === "") path.pop(); // One final slash is up to the pattern.
  for (const segment of path) {
    if (segment === "" || segment === "." || segment === "..") return false;
    if (![...segment].every((char) => SEGMENT.includes(char))) return false;
    for (let i = 0; i < segment.length; i++) {
      if (segment[i] !== "%") continue;
      const hex = segment.slice(i + 1, i + 3);
      if (hex.length < 2 || ![...hex].every((c) => "0123456789abcdefABCDEF".includes(c))) {
        return false;
      }
      const byte = parseInt(hex, 16);
      if (byte < 0x20 || byte === 0x7f || "%#?*./\\".includes(String.fromCharCode(byte))) {
        return false;
      }
    }
    let text: string;
    try {
      text = decodeURIComponent(segment);
    } catch {
      return false; // Not UTF-8.
    }
    if ([...text].some((char) => CONTROLS.has(char))) return false;
  }
  return true;
}

/** `*` is one segment, `**` at the end any number, a final slash is as the pattern has it or less. */
export function uriAllows(rule: string, uris: readonly string[]): boolean {
  return uris.some((uri) => {
    if (!uriIsPlain(uri)) return false;
    if (uri.endsWith("/") && !rule.endsWith("/")) return false;
    const parts = (text: string) => text.replace(/\/$/, "").split("/");
    const [scheme, none, host, ...path] = parts(uri);
    const [wantedScheme, , wantedHost, ...pattern] = parts(rule);
    if (none !== "" || scheme !== wantedScheme) return false;
    if (wantedHost !== "*" && wantedHost !== host) return false;
    const match = (from: number): boolean => {
      const wanted = pattern[from];
      if (wanted === undefined) return path.length === from;
      if (wanted === "**") return true;
      const shown = path[from];
      return shown !== undefined && (wanted === "*" || wanted === shown) && match(from + 1);
    };
    return match(0);
  });
}

/** What an allow rule of the text says of the peer. */
export function allows(dimension: string, rule: string, peer: PeerIdentity): boolean {
  switch (dimension) {
    case "cn":
      return textAllows(rule, peer.commonNames, true);
    case "org":
      return textAllows(rule, peer.organizations, false);
    case "ou":
      return textAllows(rule, peer.organizationalUnits, false);
    case "dns":
      return dnsAllows(rule, peer.dnsNames);
    case "uri":
      return uriAllows(rule, peer.uris);
    case "spki":
      return rule === `sha256:${peer.spki}`;
    default:
      throw new Error(`no reference for ${dimension}`);
  }
}

/**
 * Checks that a server's certificate carries the expected name (RFC 9525). Names come from subject
 * alternative names only; the subject's CN never counts.
 *
 * @module
 */

import type { Certificate } from "./certificate.ts";

/** Parses an IPv4 or IPv6 address into its bytes; `undefined` when the text is not an address. */
export function parseIp(text: string): Uint8Array | undefined {
  const quad = parseIpv4(text);
  if (quad !== undefined) return quad;
  if (!/^[0-9a-f:.]+$/i.test(text) || !text.includes(":")) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, i) =>
    half === "" ? [] : ipv6Groups(half, i === halves.length - 1)
  );
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? Uint8Array.from(head) : undefined;
  if (tail === undefined) return undefined;
  const gap = 16 - head.length - tail.length;
  if (gap < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(gap).fill(0), ...tail]);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const parts = match.slice(1);
  // Some parsers read a leading zero as octal.
  const fine = parts.every((part) => Number(part) <= 255 && String(Number(part)) === part);
  return fine ? Uint8Array.from(parts, Number) : undefined;
}

/** Parses groups into bytes; the last group of an address may be dotted decimal. */
function ipv6Groups(half: string, isLast: boolean): number[] | undefined {
  const groups = half.split(":");
  const bytes: number[] = [];
  for (const [i, group] of groups.entries()) {
    if (group.includes(".")) {
      const quad = isLast && i === groups.length - 1 ? parseIpv4(group) : undefined;
      if (quad === undefined) return undefined;
      bytes.push(...quad);
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

/**
 * Labels of letters, digits, `-` and `_`. A last label of digits is rejected: it belongs to an
 * address.
 */
const HOST = /^([a-z0-9_-]+\.)*(?!\d+\.?$)[a-z0-9_-]+\.?$/i;

function dnsMatches(pattern: string, host: string): boolean {
  // Before lower-casing, which maps some non-ASCII letters to ASCII.
  if (!HOST.test(host)) return false;
  const presented = pattern.toLowerCase().replace(/\.$/, "");
  const wanted = host.toLowerCase().replace(/\.$/, "");
  if (!presented.startsWith("*.")) return presented === wanted;
  const suffix = presented.slice(1);
  const label = wanted.slice(0, -suffix.length);
  // A wildcard stands for one whole label, and never directly below the root: `*.com` matches
  // nothing.
  return suffix.indexOf(".", 1) !== -1 && !suffix.includes("*") && wanted.endsWith(suffix) &&
    label !== "" && !label.includes(".");
}

/**
 * Whether `certificate` carries `name`. An IP address must equal an IP SAN, a DNS name a DNS SAN,
 * in which `*.` may stand for one label. No certificate carries other names: a wildcard, an address
 * with a zone, a name that is not ASCII.
 */
export function carriesName(certificate: Certificate, name: string): boolean {
  const address = parseIp(name);
  return certificate.subjectAltNames.some((san) => {
    if (address !== undefined) {
      return san.kind === "ip" && san.value.length === address.length &&
        san.value.every((byte, i) => byte === address[i]);
    }
    return san.kind === "dns" && dnsMatches(san.value, name);
  });
}

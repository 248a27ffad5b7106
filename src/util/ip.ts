/**
 * IP address literals and DNS names, the two forms of a host.
 *
 * @module
 */

/** The four bytes of a dotted quad (decimal, no leading zeros), or `undefined`. */
function parseIpv4(text: string): number[] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const bytes: number[] = [];
  for (const part of match.slice(1)) {
    // Parsers disagree on whether a leading zero means octal.
    if ((part.length > 1 && part.startsWith("0")) || Number(part) > 255) return undefined;
    bytes.push(Number(part));
  }
  return bytes;
}

/** The bytes of groups of hex digits; the last group may be a dotted quad. */
function groupBytes(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const quad = mayEndInIpv4 && index === groups.length - 1 ? parseIpv4(group) : undefined;
    if (quad === undefined) return undefined;
    bytes.push(...quad);
  }
  return bytes;
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [left = "", right] = halves;
  const head = groupBytes(left, right === undefined);
  if (right === undefined) return head?.length === 16 ? head : undefined;
  const tail = groupBytes(right, true);
  if (head === undefined || tail === undefined) return undefined;
  // "::" stands for at least one group (RFC 4291 section 2.2).
  const missing = 16 - head.length - tail.length;
  return missing < 2 ? undefined : [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/**
 * The bytes of an IP address literal, 4 or 16 (RFC 4291 section 2.2, without zone or brackets), or
 * `undefined` if the text is not one. An IPv4-mapped IPv6 address keeps its 16 bytes.
 */
export function parseIp(text: string): Uint8Array | undefined {
  const bytes = text.includes(":") ? parseIpv6(text) : parseIpv4(text);
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

/**
 * Converts an IPv4-mapped address (`::ffff:127.0.0.1`, RFC 4291 section 2.5.5.2) to plain IPv4,
 * which is where a connection to it goes.
 */
export function unmapIp(bytes: Uint8Array): Uint8Array {
  const mapped = bytes.length === 16 && bytes.subarray(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff && bytes[11] === 0xff;
  return mapped ? bytes.subarray(12) : bytes;
}

/**
 * Why the text is not a DNS name (RFC 1123 section 2.1), or `undefined` if it is one. A single
 * label is a name. A numeric last label is rejected because it would be parsed as an IPv4 address.
 */
export function dnsNameFault(
  name: string,
  options: { readonly underscores: boolean },
): string | undefined {
  // deno-lint-ignore no-control-regex -- ASCII is exactly what is meant
  if (/[^\x00-\x7f]/.test(name)) return 'a DNS name is ASCII: write its "xn--" form';
  if (name.includes("*")) return "must be one name, without wildcards";
  if (name.length > 253) return "a DNS name has at most 253 characters";
  for (const label of name.split(".")) {
    if (label === "") return "a DNS name has no empty parts between its dots";
    if (label.length > 63) return "each part of a DNS name has at most 63 characters";
    if (!options.underscores && label.includes("_")) {
      return "a DNS name in a certificate has no underscores";
    }
    if (!/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/i.test(label)) {
      return "a DNS name has letters, digits and inner hyphens only";
    }
  }
  if (/(^|\.)\d+$/.test(name)) {
    return "not a valid IPv4 address: it is four decimal numbers from 0 to 255";
  }
  return undefined;
}

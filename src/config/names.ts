/**
 * Texts in the config that are not addresses: names of tunnels and ALPN protocols, socket modes.
 *
 * @module
 */

import type { Parsed } from "../util/text.ts";

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
export function parseAlpn(text: string): Parsed<string> {
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
export function parseSocketMode(text: string): Parsed<number> {
  if (/^0?[0-7]{3}$/.test(text)) return { ok: true, value: Number.parseInt(text, 8) };
  return {
    ok: false,
    reason: 'must be three octal digits, with a 0 in front or not, such as "0600"',
  };
}

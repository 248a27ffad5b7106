/**
 * What the system and Deno say about sockets, read for its meaning.
 *
 * @module
 */

import type { Address } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";

/** The system's code of an error, such as `ECONNRESET`; empty where it has none. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** The system's words, such as `Connection refused (os error 111)`. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether a host name has no address, or the look-up itself failed. */
export function isLookupFailure(error: unknown): boolean {
  return wordsOf(error).startsWith("failed to lookup address");
}

/**
 * What to do about a missing grant, for an error that is one: `not permitted: add --allow-net=...`,
 * with the address in Deno's own spelling.
 */
export function missingGrant(error: unknown, address: Address): string | undefined {
  if (!(error instanceof Deno.errors.NotCapable)) return undefined;
  const [, asked] = /access to "([^"]+)"/.exec(error.message) ?? [];
  return `not permitted: add --allow-net=${asked ?? formatAddress(address)}`;
}

/** `host:port`, with IPv4 in IPv6 (`::ffff:a.b.c.d`, from dual-stack listeners) as plain IPv4. */
export function formatNetAddr(addr: Deno.NetAddr): string {
  const host = addr.hostname.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return formatAddress({ host, port: addr.port });
}

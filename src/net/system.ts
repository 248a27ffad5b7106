/**
 * What the system and Deno say about sockets, read for its meaning.
 *
 * @module
 */

import type { RemoteAddress } from "../channel.ts";
import type { Address, HostPort } from "../config/config.ts";
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
 * with the address in Deno's own spelling. A UNIX socket takes three, and they are told at once.
 */
export function missingGrant(error: unknown, address: Address | HostPort): string | undefined {
  if (!(error instanceof Deno.errors.NotCapable)) return undefined;
  if ("path" in address) return `not permitted: add ${socketGrants(address.path).join(" ")}`;
  const [, asked] = /access to "([^"]+)"/.exec(error.message) ?? [];
  return `not permitted: add --allow-net=${asked ?? formatAddress(address)}`;
}

/** The flags that a UNIX socket takes; `files` are those that go with it. */
export function socketGrants(path: string, ...files: readonly string[]): readonly string[] {
  const paths = [path, ...files].join(",");
  return [`--allow-net=unix:${path}`, `--allow-read=${paths}`, `--allow-write=${paths}`];
}

/** `host:port`, with IPv4 in IPv6 (`::ffff:a.b.c.d`, from dual-stack listeners) as plain IPv4. */
export function formatNetAddr(addr: Deno.NetAddr): RemoteAddress {
  const host = addr.hostname.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return formatAddress({ host, port: addr.port });
}

/** `unix:` and the path; `unix:@` for an end without one, for which Deno has `null`. */
export function formatUnixAddr(addr: Deno.UnixAddr): RemoteAddress {
  const path: unknown = addr.path;
  return `unix:${typeof path === "string" && path !== "" ? path : "@"}`;
}

/**
 * Interprets what the system and Deno report about sockets.
 *
 * @module
 */

import type { RemoteAddress } from "./conn.ts";
import type { Address, HostPort } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import { messageOf } from "../util/errors.ts";

/** Whether a host name has no address, or its look-up failed. */
export function isLookupFailure(error: unknown): boolean {
  return messageOf(error).startsWith("failed to lookup address");
}

/**
 * How to add a missing grant: `not permitted: add --allow-net=...`, with the address as Deno spells
 * it. A UNIX socket needs three grants, and all are listed. `undefined` for any other error.
 */
export function missingGrant(error: unknown, address: Address | HostPort): string | undefined {
  if (!(error instanceof Deno.errors.NotCapable)) return undefined;
  if ("path" in address) return `not permitted: add ${socketGrants(address.path).join(" ")}`;
  const [, asked] = /access to "([^"]+)"/.exec(error.message) ?? [];
  return `not permitted: add --allow-net=${asked ?? formatAddress(address)}`;
}

/** The grants that a UNIX socket needs; `files` are further paths to read and write. */
export function socketGrants(path: string, ...files: readonly string[]): readonly string[] {
  const paths = [path, ...files].join(",");
  return [`--allow-net=unix:${path}`, `--allow-read=${paths}`, `--allow-write=${paths}`];
}

/**
 * `host:port`, with IPv4-mapped IPv6 (`::ffff:a.b.c.d`, from dual-stack listeners) as plain IPv4.
 */
export function formatNetAddr(addr: Deno.NetAddr): RemoteAddress {
  const host = addr.hostname.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return formatAddress({ host, port: addr.port });
}

/** `unix:` and the path; `unix:@` for an unnamed end, for which Deno has `null`. */
export function formatUnixAddr(addr: Deno.UnixAddr): RemoteAddress {
  const path: unknown = addr.path;
  return `unix:${typeof path === "string" && path !== "" ? path : "@"}`;
}

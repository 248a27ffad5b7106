/**
 * Why an address could not be bound, a target not reached or a connection not accepted, and what
 * the system's and Deno's errors say about it.
 *
 * @module
 */

import type { Address, HostPort } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** Why an address could not be bound. */
export type ListenReason =
  | "address in use"
  | "address not available"
  | "name not found"
  | "permission denied"
  | "not permitted"
  | "not found"
  | "other";

/** An address could not be bound. The message names the address and quotes the system's error. */
export class ListenError extends Error {
  /** The name of the class. */
  override readonly name = "ListenError";
  /**
   * The kind of failure. `permission denied` is the system's refusal, `not permitted` a missing
   * Deno permission; `not found` means that the directory of a UNIX socket does not exist.
   */
  readonly reason: ListenReason;

  /** The message says what failed; `cause` carries the system's error. */
  constructor(reason: ListenReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Advice that a {@linkcode ListenError} adds to the system's message. */
export const HINTS: { readonly [reason in ListenReason]?: string } = {
  "address in use": ", something else listens there",
  "address not available": ", no interface of this machine has it",
  "permission denied": ", ports below 1024 need root or CAP_NET_BIND_SERVICE",
};

/** Why a target could not be reached. */
export type DialReason =
  | "refused"
  | "timeout"
  | "unreachable"
  | "name not found"
  | "not found"
  | "permission denied"
  | "not permitted"
  | "aborted"
  | "other";

/** A target could not be reached. The message names the target and quotes the system's error. */
export class DialError extends Error {
  /** The name of the class. */
  override readonly name = "DialError";
  /**
   * The kind of failure. For a UNIX socket, `not found` means that the file does not exist, and
   * `permission denied` that its mode, or that of a parent directory, excludes us. `not permitted`
   * means that a Deno permission is missing.
   */
  readonly reason: DialReason;

  /** The message says what failed; `cause` carries the system's error. */
  constructor(reason: DialReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * Errors of `accept` about a connection that ended while it was queued. ENOTCONN: the peer reset
 * it, so Deno finds no address. The others are network errors that accept(2) may pass on; the next
 * connection may succeed.
 */
const PEER_GONE: readonly string[] = [
  "ENOTCONN",
  "ECONNABORTED",
  "ECONNRESET",
  "EPROTO",
  "ETIMEDOUT",
  "ENOPROTOOPT",
  "EOPNOTSUPP",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENONET",
];

/**
 * Whether accepting failed because of the peer's address: over a UNIX socket, a peer whose own
 * socket is bound to a name that is not UTF-8. Deno cannot represent the name, drops the connection
 * and throws.
 */
export function isUnnamed(error: unknown): boolean {
  return error instanceof Deno.errors.InvalidData;
}

/** A connection could not be accepted. The message is the system's. */
export class AcceptError extends Error {
  /** The name of the class. */
  override readonly name = "AcceptError";
  /** Only this peer is affected: it left before it was accepted. The listener itself works. */
  readonly peerGone: boolean;
  /** Only this peer is affected: its address cannot be represented. The listener itself works. */
  readonly peerUnnamed: boolean;

  /** Wraps the system's own error. */
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
    this.peerGone = PEER_GONE.includes(codeOf(cause));
    this.peerUnnamed = isUnnamed(cause);
  }
}

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

/**
 * How to fix a path that no grant can cover; `undefined` for any other error. Deno 2.9 refuses such
 * a path even though the grant for it is present.
 */
export function beyondGrants(error: unknown): string | undefined {
  if (!(error instanceof Deno.errors.NotCapable)) return undefined;
  if (!error.message.startsWith("Requires all access")) return undefined;
  return "not permitted: Deno keeps /dev, /proc and /sys to --allow-all: use another directory";
}

/** The grants that a UNIX socket needs; `files` are further paths to read and write. */
export function socketGrants(path: string, ...files: readonly string[]): readonly string[] {
  const paths = [path, ...files].join(",");
  return [`--allow-net=unix:${path}`, `--allow-read=${paths}`, `--allow-write=${paths}`];
}

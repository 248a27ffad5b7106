/**
 * Reaching a TCP address.
 *
 * @module
 */

import type { Address } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import { formatDuration } from "../config/duration.ts";
import type { Channel } from "../channel.ts";
import { openChannel } from "./open.ts";
import type { NativeTcp } from "./native.ts";
import { codeOf, isLookupFailure, missingGrant, wordsOf } from "./system.ts";

/** Why a target could not be reached, in short. */
export type DialReason =
  | "refused"
  | "timeout"
  | "unreachable"
  | "name not found"
  | "not permitted"
  | "aborted"
  | "other";

/** A target could not be reached; the message says which and has the system's words. */
export class DialError extends Error {
  /** The name of the class. */
  override readonly name = "DialError";
  /** The kind of failure. */
  readonly reason: DialReason;

  /** Says what failed; `cause` carries the system's own error. */
  constructor(reason: DialReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Settings of {@linkcode dialTcp}. */
export type DialOptions = {
  /** Give up after so many milliseconds, name look-up included. More than 0. */
  readonly timeout: number;
  /** Give up when this aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Carries the connection by a native handle. */
  readonly native?: NativeTcp | undefined;
};

/**
 * Connect. A name with several addresses is tried over both families (RFC 8305).
 *
 * @throws {DialError} when there is no connection; then nothing stays open.
 */
export async function dialTcp(address: Address, options: DialOptions): Promise<Channel> {
  const { timeout, signal } = options;
  const cannot = `Cannot connect to "${formatAddress(address)}"`;
  const giveUp = new AbortController();
  const abort = () => giveUp.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(abort, timeout);
  try {
    const { host: hostname, port } = address;
    const conn = await Deno.connect({ hostname, port, signal: giveUp.signal });
    if (!giveUp.signal.aborted) return openChannel(conn, options.native);
    // It came through in the very moment of giving up, and nobody waits for it any more.
    conn.close();
  } catch (error) {
    if (!giveUp.signal.aborted) throw dialError(cannot, address, error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
  throw signal?.aborted
    ? new DialError("aborted", `${cannot}: aborted`, { cause: signal.reason })
    : new DialError("timeout", `${cannot}: no answer within ${formatDuration(timeout)}`);
}

function dialError(cannot: string, address: Address, error: unknown): DialError {
  const grant = missingGrant(error, address);
  const reason = grant === undefined ? dialReason(error) : "not permitted";
  return new DialError(reason, `${cannot}: ${grant ?? wordsOf(error)}`, { cause: error });
}

function dialReason(error: unknown): DialReason {
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return "refused";
    case "ETIMEDOUT":
      return "timeout";
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
    case "ENETUNREACH":
    case "ENETDOWN":
      return "unreachable";
    default:
      return isLookupFailure(error) ? "name not found" : "other";
  }
}

/**
 * Reaching a TCP address, and what all that dials has in common.
 *
 * @module
 */

import type { Address, HostPort } from "../config/config.ts";
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
  | "not found"
  | "permission denied"
  | "not permitted"
  | "aborted"
  | "other";

/** A target could not be reached; the message says which and has the system's words. */
export class DialError extends Error {
  /** The name of the class. */
  override readonly name = "DialError";
  /**
   * The kind of failure. Of a UNIX socket: `not found`, there is no such file; `permission denied`, its
   * mode, or that of a directory above, keeps us out. `not permitted` is Deno's word.
   */
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
export function dialTcp(address: HostPort, options: DialOptions): Promise<Channel> {
  const { host: hostname, port } = address;
  return withinLimits(address, options, async (signal) => {
    const conn = await Deno.connect({ hostname, port, signal });
    let ours = true;
    try {
      if (isOwnEnd(conn)) throw Object.assign(new Error(OWN_END), { code: "ECONNREFUSED" });
      // It came through in the very moment of giving up, and nobody waits for it any more.
      if (signal.aborted) return undefined;
      ours = false;
    } finally {
      if (ours) conn.close();
    }
    return openChannel(conn, options.native);
  });
}

const OWN_END = "nobody listens there, the connection came back to itself";

/**
 * Whether both ends are one. The system picks a port to dial from, and where that is the very one that
 * is dialled, on this machine, TCP sees both ends open at once, which makes a connection although nobody
 * listens (RFC 9293 section 3.5). Whoever it is for would be answered with his own words, and the target
 * that comes back could not have its port.
 */
function isOwnEnd({ localAddr, remoteAddr }: Deno.TcpConn): boolean {
  return localAddr.port === remoteAddr.port && localAddr.hostname === remoteAddr.hostname;
}

/**
 * Runs an attempt to connect, which gives up when its signal aborts, and says what became of it.
 *
 * @throws {DialError} when it fails, in words about `address`.
 */
export async function withinLimits<T>(
  address: Address | HostPort,
  { timeout, signal }: Pick<DialOptions, "timeout" | "signal">,
  attempt: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T> {
  const cannot = `Cannot connect to "${formatAddress(address)}"`;
  const giveUp = new AbortController();
  const abort = () => giveUp.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(abort, timeout);
  try {
    const reached = await attempt(giveUp.signal);
    if (reached !== undefined) return reached;
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

/**
 * What to do about a path that no grant reaches, for an error over one: Deno 2.9 says that a grant is
 * there, and refuses all the same.
 */
export function beyondGrants(error: unknown): string | undefined {
  if (!(error instanceof Deno.errors.NotCapable)) return undefined;
  if (!error.message.startsWith("Requires all access")) return undefined;
  return "not permitted: Deno keeps /dev, /proc and /sys to --allow-all: use another directory";
}

function dialError(cannot: string, address: Address | HostPort, error: unknown): DialError {
  const grant = beyondGrants(error) ?? missingGrant(error, address);
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
    case "ENOENT":
    case "ENOTDIR":
      return "not found";
    case "EACCES":
      return "permission denied";
    default:
      return isLookupFailure(error) ? "name not found" : "other";
  }
}

/**
 * Connects to a TCP address, with the error type and time limit that UNIX sockets share.
 *
 * @module
 */

import type { Address, HostPort } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import { expiringSignal, type TimeLimits } from "../util/abort.ts";
import { formatDuration } from "../util/duration.ts";
import type { Conn } from "./conn.ts";
import { type AdoptTcp, openTcp } from "./socket_conn.ts";
import {
  beyondGrants,
  DialError,
  type DialReason,
  isLookupFailure,
  missingGrant,
} from "./errors.ts";
import { codeOf, messageOf } from "../util/errors.ts";

/** Settings of {@linkcode dialTcp}; the time limit includes the name look-up. */
export type DialOptions = TimeLimits & {
  /** Carries the connection; default the public interface. */
  readonly adopt?: AdoptTcp | undefined;
};

/**
 * Connects. A name with several addresses is tried over both families (RFC 8305).
 *
 * @throws {DialError} when the connection fails; nothing is left open then.
 */
export function dialTcp(address: HostPort, options: DialOptions): Promise<Conn> {
  const { host: hostname, port } = address;
  return withinLimits(address, options, async (signal) => {
    const socket = await Deno.connect({ hostname, port, signal });
    let ours = true;
    try {
      if (isOwnEnd(socket)) throw Object.assign(new Error(OWN_END), { code: "ECONNREFUSED" });
      // The connection was established just as the attempt was abandoned.
      if (signal.aborted) return undefined;
      ours = false;
    } finally {
      if (ours) socket.close();
    }
    return openTcp(socket, options.adopt);
  });
}

const OWN_END = "nothing listens there, the connection came back to itself";

/**
 * Whether the connection is connected to itself. When the ephemeral port that the system picks
 * equals the dialled port on this machine, TCP performs a simultaneous open (RFC 9293 section 3.5)
 * and the connection succeeds although no process listens. Our own bytes would be echoed back as
 * the answer, and the target could not bind its port when it restarts.
 */
function isOwnEnd({ localAddr, remoteAddr }: Deno.TcpConn): boolean {
  return localAddr.port === remoteAddr.port && localAddr.hostname === remoteAddr.hostname;
}

/**
 * Runs an attempt to connect, aborts it at the time limit or on the signal, and translates its
 * errors.
 *
 * @throws {DialError} when it fails, with a message about `address`.
 */
export async function withinLimits<T>(
  address: Address | HostPort,
  { timeout, signal }: TimeLimits,
  attempt: (signal: AbortSignal) => Promise<T | undefined>,
): Promise<T> {
  const cannot = `Cannot connect to "${formatAddress(address)}"`;
  using limit = expiringSignal({ timeout, signal });
  try {
    const reached = await attempt(limit.signal);
    if (reached !== undefined) return reached;
  } catch (error) {
    if (!limit.signal.aborted) throw dialError(cannot, address, error);
  }
  throw signal?.aborted
    ? new DialError("aborted", `${cannot}: aborted`, { cause: signal.reason })
    : new DialError("timeout", `${cannot}: no answer within ${formatDuration(timeout)}`);
}

function dialError(cannot: string, address: Address | HostPort, error: unknown): DialError {
  const grant = beyondGrants(error) ?? missingGrant(error, address);
  const reason = grant === undefined ? dialReason(error) : "not permitted";
  return new DialError(reason, `${cannot}: ${grant ?? messageOf(error)}`, { cause: error });
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

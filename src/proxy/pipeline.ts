/**
 * The path of one connection, for all modes:
 *
 *     accept ─▶ handshake ─▶ identity ─▶ authorize ─▶ dial ─▶ copy ─▶ outcome
 *
 * Server mode performs handshake and decision downstream (`receive`) and dials in plain. Client
 * mode accepts in plain and performs handshake and decision upstream (`reach`). A bridge does both,
 * and dials only with the downstream permit. In every mode no byte is forwarded without a
 * {@linkcode Permit}. From the first decision on, the connection's {@linkcode Connection} knows its peers
 * and may end it at any point.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import type { Conn, RemoteAddress } from "../net/conn.ts";
import type { ProxyConfig } from "../config/config.ts";
import type { Fields } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import type { TunnelMetrics } from "../metrics/mod.ts";
import type { TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Connection } from "./connection_table.ts";
import type { CloseReason } from "../outcome.ts";
import { networkOf } from "./peer_key.ts";
import { copyBidirectional } from "./copy.ts";
import { closeGracefully } from "./graceful_close.ts";

/** The result of a step that ended the connection; it has logged why, or `Connection.ending` says it. */
export type Stopped = {
  readonly stopped: CloseReason;
  /** Log fields about the peer, where it is known to differ from the accepted address. */
  readonly fields?: Fields;
};

/** The result of a step that was cut short, with the reason for that. */
export function cutShort(connection: Connection): Stopped {
  return { stopped: connection.ending?.reason ?? "error" };
}

/** The downstream end, ready to carry plaintext. */
export type Near = {
  readonly conn: Conn;
  /** The peer, for the log. */
  readonly fields: Fields;
  /** The client's address, and the address that it connected to. */
  readonly source: RemoteAddress;
  readonly destination: RemoteAddress;
  /** Facts about the client's TLS, where it uses TLS. */
  readonly tls?: (() => TlsFacts) | undefined;
};

/** The upstream end, and the permit to forward to it. */
export type Far = { readonly conn: Conn; readonly permit: Permit };

/** Prepares the downstream end of an accepted connection, which it owns from now on. */
export type NearEnd<N extends Near> = {
  receive(accepted: Conn, connection: Connection): Promise<N | Stopped>;
};

/** Connects upstream. */
export type FarEnd<N extends Near> = {
  reach(near: N, connection: Connection): Promise<Far | Stopped>;
};

/** What differs between the modes: which end uses TLS. */
export type Way<N extends Near> = {
  /** The start of log messages: `listener` or `dialer`. */
  readonly name: string;
  readonly near: NearEnd<N>;
  readonly far: FarEnd<N>;
};

/** The metrics of connections. */
export type SessionMetrics = Pick<
  TunnelMetrics,
  | "connectionAccepted"
  | "connectionClosed"
  | "bytesProxied"
  | "aclDecision"
  | "peerWithoutCertificate"
  | "handshakeDone"
  | "handshakeFailed"
  | "dialFailed"
>;

/** Dependencies of {@linkcode runSession}. */
export type SessionDeps = {
  readonly proxy: Pick<ProxyConfig, "idleTimeout" | "closeTimeout">;
  /** Rate-limits log lines about peers that were not admitted. */
  readonly limiter: LogLimiter;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
};

type Ended = {
  readonly reason: CloseReason;
  /** It ended before the downstream end was ready: no peer was admitted yet. */
  readonly refused: boolean;
  readonly fields: Fields;
};

/**
 * Carries one connection from accept to its outcome. Resolves when both ends are closed; never
 * rejects. It owns `life`, which can end it from outside at any time.
 */
export async function runSession<N extends Near>(
  accepted: Conn,
  way: Way<N>,
  deps: SessionDeps,
  connection: Connection,
): Promise<void> {
  const { limiter, metrics, monotonic } = deps;
  const start = monotonic();
  const { remote } = accepted;
  // A failure of our code ends this connection only.
  const failed = (error: unknown) => {
    if (!limiter.allows("error", "connection failed", { source: networkOf(remote) })) return;
    connection.logger.error(`${way.name}: connection failed`, {
      remote,
      error: error instanceof Error ? error.message : String(error),
    });
  };
  let ended: Ended = { reason: "error", refused: false, fields: { remote } };
  try {
    metrics.connectionAccepted();
    ended = await pass(accepted, way, deps, connection);
  } catch (error) {
    attempt(() => failed(error), () => {});
  }
  // Each of these runs even if an earlier one fails.
  attempt(() => accepted.close(), failed);
  attempt(() => connection[Symbol.dispose](), failed);
  const seconds = (monotonic() - start) / 1000;
  attempt(() => metrics.connectionClosed(ended.reason, seconds), failed);
  attempt(() => logClosed(way.name, ended, seconds, deps, connection), failed);
}

/**
 * Logs the end of a connection. Every admitted connection has this line, as it has one for its
 * start; lines about refused connections are rate-limited, since strangers can cause any number of
 * them.
 */
function logClosed(
  name: string,
  { reason, refused, fields }: Ended,
  seconds: number,
  { limiter }: SessionDeps,
  connection: Connection,
): void {
  // Health checks of load balancers and port scans.
  const level = reason === "no_data" ? "debug" : "info";
  if (refused && connection.admitted.length === 0) {
    const source = networkOf(String(fields.remote));
    if (!limiter.allows(level, "connection closed", { source })) return;
  }
  connection.logger[level](`${name}: connection closed`, {
    ...fields,
    ...(connection.ending?.reason === reason ? connection.ending.fields : {}),
    reason,
    duration: { seconds },
  });
}

/** Runs a step and logs its failure. Never throws. */
function attempt(step: () => void, failed: (error: unknown) => void): void {
  try {
    step();
  } catch (error) {
    try {
      failed(error);
    } catch {
      // The log fails too, so there is no place to report it.
    }
  }
}

async function pass<N extends Near>(
  accepted: Conn,
  way: Way<N>,
  deps: SessionDeps,
  connection: Connection,
): Promise<Ended> {
  const near = await way.near.receive(accepted, connection);
  if ("stopped" in near) {
    const { remote } = accepted;
    return { reason: near.stopped, refused: true, fields: near.fields ?? { remote } };
  }
  try {
    const far = await way.far.reach(near, connection);
    if ("stopped" in far) {
      // Nothing was forwarded. If we ended the connection, close it cleanly; otherwise reset it, so
      // that the failure does not look like a clean end.
      if (connection.ending === undefined) near.conn.reset();
      else await closeGracefully(near.conn);
      return { reason: far.stopped, refused: false, fields: near.fields };
    }
    try {
      return await join(far.permit, near, far, deps, connection.signal);
    } finally {
      far.conn.close();
    }
  } finally {
    near.conn.close();
  }
}

/** Copies between the two ends. Takes the permit only to prove that the peer was authorized. */
async function join(
  _permit: Permit,
  near: Near,
  far: Far,
  deps: SessionDeps,
  signal: AbortSignal,
): Promise<Ended> {
  const { metrics, proxy } = deps;
  const result = await copyBidirectional(near.conn, far.conn, {
    idleTimeout: proxy.idleTimeout,
    closeTimeout: proxy.closeTimeout,
    signal,
    onBytes: (direction, count) => metrics.bytesProxied(direction, count),
  });
  return {
    reason: result.reason,
    refused: false,
    fields: {
      ...near.fields,
      bytes_in: result.bytes.client_to_target,
      bytes_out: result.bytes.target_to_client,
      ended_without_close_notify: endedWithoutNotify(near.conn, far.conn),
      error: result.detail,
    },
  };
}

/** Which sides ended TLS with FIN alone, where that was accepted as an end; `undefined`: none. */
function endedWithoutNotify(client: Conn, target: Conn): string | undefined {
  const sides = [
    ...(client.endedWithoutNotify === true ? ["client"] : []),
    ...(target.endedWithoutNotify === true ? ["target"] : []),
  ];
  return sides.length === 0 ? undefined : sides.join(",");
}

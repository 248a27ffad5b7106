/**
 * The life of one connection, in all modes:
 *
 *     accept ─▶ PROXY header ─▶ handshake, authorize ─▶ dial ─▶ copy ─▶ outcome
 *
 * Server mode performs handshake and authorization downstream and dials in plain. Client mode
 * accepts in plain and performs handshake and authorization upstream. A bridge does both, and dials
 * only with the downstream permit. In every mode no byte is forwarded without a
 * {@linkcode Permit}. From its first authorization on, the {@linkcode Connection} knows its peers
 * and may be ended at any point.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import type { Fields } from "../log/mod.ts";
import type { Conn } from "../net/conn.ts";
import type { CloseReason } from "../outcome.ts";
import type { Connection } from "./connection.ts";
import type { Downstream, Stopped, TunnelContext, Upstream } from "./context.ts";
import { closeGracefully, copyBidirectional } from "./copy.ts";
import { acceptPlain, acceptTls } from "./downstream.ts";
import { networkOf } from "./peer_key.ts";
import { receiveProxyHeader } from "./proxy_header.ts";
import { dialPlain, dialTls } from "./upstream.ts";
import { messageOf } from "../util/errors.ts";

/** How a connection ended. */
type Outcome = {
  readonly reason: CloseReason;
  /** It ended before the downstream end was ready: no peer was admitted yet. */
  readonly refused: boolean;
  readonly fields: Fields;
};

/**
 * Carries one connection from accept to its outcome. Resolves when both ends are closed; never
 * rejects. It owns `accepted` and closes `connection`, which may be ended from outside at any time.
 */
export async function carryConnection(
  accepted: Conn,
  connection: Connection,
  tunnel: TunnelContext,
): Promise<void> {
  const { connections, metrics, monotonic } = tunnel;
  const start = monotonic();
  let outcome: Outcome = { reason: "error", refused: false, fields: { remote: accepted.remote } };
  const failed = (error: unknown) => logFailure(accepted, connection, tunnel, error);
  try {
    metrics.connectionAccepted();
    outcome = await carry(accepted, connection, tunnel);
  } catch (error) {
    // A failure of our code ends this connection only.
    failed(error);
  }
  // Each of these runs even if an earlier one fails.
  attempt(() => accepted.close(), failed);
  attempt(() => connections.close(connection), failed);
  const seconds = (monotonic() - start) / 1000;
  attempt(() => metrics.connectionClosed(outcome.reason, seconds), failed);
  attempt(() => logClosed(connection, tunnel, outcome, seconds), failed);
}

async function carry(
  accepted: Conn,
  connection: Connection,
  tunnel: TunnelContext,
): Promise<Outcome> {
  const { mode, tls: { handshakeTimeout } } = tunnel.config;
  const deadline = tunnel.monotonic() + handshakeTimeout;

  const arrival = await receiveProxyHeader(accepted, connection, tunnel, handshakeTimeout);
  if ("stopped" in arrival) return refusal(arrival, accepted);

  let downstream: Downstream | Stopped;
  switch (mode) {
    case "server":
    case "bridge":
      downstream = await acceptTls(arrival, connection, tunnel, deadline);
      break;
    case "client":
      downstream = await acceptPlain(arrival, connection, tunnel);
      break;
    default:
      return mode satisfies never;
  }
  if ("stopped" in downstream) return refusal(downstream, accepted);

  try {
    let upstream: Upstream | Stopped;
    switch (mode) {
      case "server":
        upstream = await dialPlain(downstream, connection, tunnel);
        break;
      case "client":
      case "bridge":
        upstream = await dialTls(downstream, connection, tunnel);
        break;
      default:
        return mode satisfies never;
    }
    if ("stopped" in upstream) {
      // Nothing was forwarded. If we ended the connection, close it cleanly; otherwise reset it, so
      // that the failure does not look like a clean end.
      if (connection.ending === undefined) downstream.conn.reset();
      else await closeGracefully(downstream.conn);
      return { reason: upstream.stopped, refused: false, fields: downstream.fields };
    }
    try {
      return await copy(upstream.permit, downstream, upstream.conn, connection, tunnel);
    } finally {
      upstream.conn.close();
    }
  } finally {
    downstream.conn.close();
  }
}

/** Copies between the two ends. Takes the permit only to prove that the peer was authorized. */
async function copy(
  _permit: Permit,
  downstream: Downstream,
  upstream: Conn,
  { signal }: Connection,
  { config: { proxy }, metrics }: TunnelContext,
): Promise<Outcome> {
  const { reason, bytes, detail } = await copyBidirectional(downstream.conn, upstream, {
    idleTimeout: proxy.idleTimeout,
    closeTimeout: proxy.closeTimeout,
    signal,
    onBytes: (direction, count) => metrics.bytesProxied(direction, count),
  });
  const unannounced = [
    ...(downstream.conn.endedWithoutNotify === true ? ["client"] : []),
    ...(upstream.endedWithoutNotify === true ? ["target"] : []),
  ];
  return {
    reason,
    refused: false,
    fields: {
      ...downstream.fields,
      bytes_in: bytes.client_to_target,
      bytes_out: bytes.target_to_client,
      ended_without_close_notify: unannounced.length === 0 ? undefined : unannounced.join(","),
      error: detail,
    },
  };
}

/** The outcome of a connection that ended before its downstream end was ready. */
function refusal({ stopped, fields }: Stopped, { remote }: Conn): Outcome {
  return { reason: stopped, refused: true, fields: fields ?? { remote } };
}

/**
 * Logs the end of a connection. Every admitted connection has this line, as it has one for its
 * start; lines about refused connections are rate-limited, since unauthenticated peers can cause
 * any number of them.
 */
function logClosed(
  connection: Connection,
  { name, limiter }: TunnelContext,
  { reason, refused, fields }: Outcome,
  seconds: number,
): void {
  // Health checks of load balancers and port scans.
  const level = reason === "no_data" ? "debug" : "info";
  if (refused && connection.peers.length === 0) {
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

/** Never throws: if the log fails too, there is no place to report it. */
function logFailure(
  { remote }: Conn,
  { logger }: Connection,
  { name, limiter }: TunnelContext,
  error: unknown,
): void {
  try {
    if (!limiter.allows("error", "connection failed", { source: networkOf(remote) })) return;
    logger.error(`${name}: connection failed`, {
      remote,
      error: messageOf(error),
    });
  } catch {
    // See above.
  }
}

/** Runs a step and reports its failure. Never throws. */
function attempt(step: () => void, failed: (error: unknown) => void): void {
  try {
    step();
  } catch (error) {
    failed(error);
  }
}

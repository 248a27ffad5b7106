/**
 * The upstream end of a connection: one of the tunnel's targets, plain in server mode; over TLS in
 * client and bridge mode, with handshake and authorization.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import { formatAddress } from "../config/address.ts";
import type { Fields } from "../log/mod.ts";
import { type Conn, ConnError } from "../net/conn.ts";
import { dial, DialError } from "../net/mod.ts";
import { encodeHeader } from "../proxy_protocol/encode.ts";
import { parseEndpoint } from "../proxy_protocol/endpoint.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake_error.ts";
import { onceExpired } from "../util/abort.ts";
import { formatDuration } from "../util/duration.ts";
import { authorizeNewPeer, basisFields, logDenied, peerFields } from "./authorization.ts";
import type { Connection } from "./connection.ts";
import {
  type Downstream,
  interrupted,
  type Stopped,
  type TunnelContext,
  type Upstream,
} from "./context.ts";
import { type Attempt, NoTarget, TargetDenied, type TargetFailure } from "./load_balancer.ts";

/**
 * Dials a target in plain, and sends it the PROXY header if configured. Needs the permit of the
 * downstream peer.
 */
export async function dialPlain(
  downstream: Downstream,
  connection: Connection,
  tunnel: TunnelContext,
): Promise<Upstream | Stopped> {
  const { permit, fields } = downstream;
  if (permit === undefined) throw new Error("Cannot dial: the client was not authorized");
  const header = proxyHeader(downstream, connection, tunnel);
  return await connectTarget(connection, tunnel, "target", fields, async (attempt) => {
    return { conn: await dialTarget(permit, attempt, header, tunnel), permit };
  });
}

/** Takes the permit only to prove that the downstream peer was authorized. */
async function dialTarget(
  _permit: Permit,
  attempt: Attempt,
  header: Uint8Array | undefined,
  { adopt }: TunnelContext,
): Promise<Conn> {
  const { address, timeout, signal } = attempt;
  const conn = await dial(address, { timeout, signal, adopt });
  if (header !== undefined) await sendHeader(conn, header, attempt);
  return conn;
}

/**
 * Dials a target over TLS and authorizes the server; no byte from downstream is sent before that. A
 * server that fails verification counts like one that is down.
 */
export async function dialTls(
  { source }: Downstream,
  connection: Connection,
  tunnel: TunnelContext,
): Promise<Upstream | Stopped> {
  const remote = { remote: source };
  return await connectTarget(connection, tunnel, "server", remote, async (attempt) => {
    const server = formatAddress(attempt.address);
    const fields = { server, ...remote };
    try {
      return await dialServer(attempt, connection, tunnel, fields);
    } catch (error) {
      if (error instanceof HandshakeError && !(error instanceof HandshakeCut)) {
        serverFailed(error, server, connection, tunnel, fields);
      }
      throw error;
    }
  });
}

/**
 * Tries targets until one accepts the connection, which then counts as open there until
 * `connection` is over. Logs the targets that could not be dialled; `dialOne` has logged the other
 * failures.
 *
 * @param field the name of the target's log field.
 */
async function connectTarget(
  connection: Connection,
  { balancer, config, metrics, name }: TunnelContext,
  field: "target" | "server",
  fields: Fields,
  dialOne: (attempt: Attempt) => Promise<Upstream>,
): Promise<Upstream | Stopped> {
  const { logger, signal } = connection;
  const several = config.targets.length > 1;
  const onFailure = ({ kind, address, error }: TargetFailure) => {
    if (kind !== "dial") return;
    const line = { ...fields, [field]: formatAddress(address), error: error.message };
    if (several) logger.warn(`${name}: dial failed`, line);
    else logger.error(`${name}: dial failed`, line);
  };
  let opened: Upstream | undefined;
  try {
    const connected = await balancer.connect(
      async (attempt) => opened = await dialOne(attempt),
      { signal, onFailure },
    );
    connection.own(connected);
    return connected.value;
  } catch (error) {
    // Our code failed in between, and no other code has a reference to this connection.
    opened?.conn.close();
    if (signal.aborted) return interrupted(connection);
    if (error instanceof DialError && error.reason === "aborted") return interrupted(connection);
    if (!(error instanceof NoTarget)) throw error;
    const { failures } = error;
    if (failures.some(({ kind }) => kind === "dial")) metrics.dialFailed();
    if (several) logger.error(`${name}: no target took the connection`, fields);
    const denied = failures.every(({ kind }) => kind === "denied");
    return { stopped: denied ? "denied" : "dial_failed" };
  }
}

/** Dials one server, performs the handshake and authorizes it. */
async function dialServer(
  { address, target: { serverName = "" }, timeout, signal }: Attempt,
  connection: Connection,
  tunnel: TunnelContext,
  fields: { readonly server: string; readonly remote: string },
): Promise<Upstream> {
  const { backoff, config, connections, limiter, metrics, monotonic } = tunnel;
  const { server, remote } = fields;
  const start = monotonic();
  const pause = backoff.pauseOf(server);
  if (pause > 0) {
    const left = formatDuration(Math.ceil(pause / 1000) * 1000);
    throw new DialError("other", `left alone for another ${left}: its certificates cost too much`);
  }
  const transport = await dial(address, { timeout, signal, adopt: tunnel.adopt });
  let opened = transport;
  try {
    const dialled = monotonic();
    // In a bridge, only the time of the attempt counts.
    const atMost = config.mode === "client" ? config.tls.handshakeTimeout : Infinity;
    const { conn, value: authorization, ...session } = await tunnel.tls.upstream(serverName).tls
      .connect(
        transport,
        (peer) => {
          // In one turn, so that no change of state comes between the decision and the
          // registration.
          const authorization = authorizeNewPeer(peer, tunnel.tls.upstreamAcl, metrics);
          const { admit } = authorization.decision;
          if (admit) connections.register(connection, { end: "upstream", peer, serverName });
          return { admit, value: authorization };
        },
        { timeout: Math.max(1, Math.min(atMost, timeout - (dialled - start))), signal },
      );
    opened = conn ?? transport;
    metrics.handshakeDone((monotonic() - dialled) / 1000);
    const { decision, identity } = authorization;
    const { protocol, resumed, alpn } = session;
    connection.describePeer("upstream", peerFields(identity));
    const log = { logger: connection.logger, limiter, name: "dialer", source: server };
    if (!decision.admit || conn === undefined) {
      logDenied(log, authorization, { ...fields, resumed });
      throw new TargetDenied("the rules keep the server out");
    }
    if (decision.wouldDeny) logDenied(log, authorization, { ...fields, resumed });
    connection.logger.info("dialer: connected", {
      server,
      ...peerFields(identity),
      remote,
      protocol,
      alpn,
      ...basisFields(decision.verdict),
    });
    return { conn, permit: decision.permit };
  } catch (error) {
    // No other code has a reference to this connection.
    opened.close();
    throw error;
  }
}

/** Counts and logs a failed handshake, and leaves the server alone where it cost too much CPU. */
function serverFailed(
  { reason, message, cpuSpent: cpu }: HandshakeError,
  server: string,
  { logger }: Connection,
  { backoff, limiter, metrics }: TunnelContext,
  fields: Fields,
): void {
  metrics.handshakeFailed(reason);
  if (limiter.allows("error", "handshake failed", { source: server })) {
    logger.error("dialer: handshake failed", { ...fields, reason, error: message });
  }
  const pause = backoff.failed(server, cpu);
  if (pause === 0) return;
  logger.error("dialer: leaving a server alone: its certificates cost too much", {
    server,
    cpu: formatDuration(Math.round(cpu)),
    pause: formatDuration(Math.round(pause)),
  });
}

/** The PROXY header for the target; `undefined` where none is configured. */
function proxyHeader(
  { source, destination, tls, fields }: Downstream,
  { logger }: Connection,
  { config: { proxy: { proxyProtocol } } }: TunnelContext,
): Uint8Array | undefined {
  if (proxyProtocol === "off") return undefined;
  const { bytes, omitted } = encodeHeader(proxyProtocol, {
    source: parseEndpoint(source),
    destination: parseEndpoint(destination),
    tls: tls?.(),
  });
  if (omitted.length > 0) {
    logger.debug("listener: PROXY header without all that is known", { ...fields, omitted });
  }
  return bytes;
}

/**
 * Sends the PROXY header before anything else: no target gets a connection without it. A target
 * that does not accept it within `timeout` milliseconds, or before the signal, counts as not
 * reached.
 *
 * @throws {DialError} then, or when sending fails; the connection is closed.
 */
export async function sendHeader(
  conn: Conn,
  header: Uint8Array,
  { timeout, signal }: Pick<Attempt, "timeout" | "signal">,
): Promise<void> {
  let expired = false;
  const giveUp = () => {
    expired = true;
    conn.close();
  };
  try {
    const sending = conn.write(header);
    // The header nearly always fits into the kernel's buffer, and then no timer is needed.
    if (sending === undefined) return;
    using _limit = onceExpired({ timeout, signal }, giveUp);
    await sending;
  } catch (error) {
    conn.close();
    if (!(error instanceof ConnError)) throw error;
    const message = `Cannot send the PROXY header: ${error.message}`;
    throw new DialError(expired ? "timeout" : "other", message, { cause: error });
  }
}

/**
 * The downstream end of a connection: over TLS in server and bridge mode, with handshake and
 * authorization; plain in client mode, where access to the listener's address is the only control.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import type { PeerIdentity } from "../identity.ts";
import { type Conn, ConnError, ReadAhead } from "../net/conn.ts";
import { closeReasonOf } from "../outcome.ts";
import { soleCommonName, type TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Session } from "../tls/handshake.ts";
import { HandshakeCut, HandshakeError, transportError } from "../tls/handshake_error.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";
import { onceExpired } from "../util/abort.ts";
import { formatDuration } from "../util/duration.ts";
import {
  authorizeNewPeer,
  basisFields,
  logDenied,
  type PeerAuthorization,
  peerFields,
} from "./authorization.ts";
import type { Connection } from "./connection.ts";
import {
  type Arrival,
  type Downstream,
  interrupted,
  type Stopped,
  type TunnelContext,
} from "./context.ts";
import { addressKey, certificateKey, networkOf } from "./peer_key.ts";

/** Prepares a plain downstream end. */
export async function acceptPlain(
  { conn, destination, fields }: Arrival,
  connection: Connection,
  { connections }: TunnelContext,
): Promise<Downstream | Stopped> {
  // While it waited for a PROXY header it counted as a handshake, which can be evicted.
  if (!await connections.establish(connection)) {
    conn.close();
    return interrupted(connection);
  }
  const { remote } = conn;
  return { conn, fields: { remote, ...fields }, source: remote, destination, permit: undefined };
}

/** The result of admitting one peer. */
type Admission =
  | {
    readonly kind: "admitted";
    readonly authorization: PeerAuthorization;
    readonly permit: Permit;
    readonly wouldDeny: boolean;
    /** Resolves when the connection counts as established. */
    readonly established: Promise<boolean>;
  }
  | { readonly kind: "denied"; readonly authorization: PeerAuthorization }
  | { readonly kind: "over limit"; readonly authorization: PeerAuthorization };

/**
 * Performs the handshake with the client, authorizes it and waits until the connection counts as
 * established. Owns the connection from now on: it is closed unless the result is a
 * {@linkcode Downstream}.
 *
 * @param deadline when the handshake must be complete, on the tunnel's monotonic clock.
 */
export async function acceptTls(
  { conn: transport, destination, fields }: Arrival,
  connection: Connection,
  tunnel: TunnelContext,
  deadline: number,
): Promise<Downstream | Stopped> {
  const { config: { proxy }, limiter, metrics, monotonic } = tunnel;
  const { remote } = transport;
  const who = { remote, ...fields };
  const source = networkOf(remote);
  const { signal } = connection;
  const start = monotonic();
  let opened: Conn | undefined;
  try {
    // TLS state is the largest cost of a connection, so it is not created before the peer sends a
    // byte.
    const first = await waitForBytes(transport, Math.max(1, deadline - start), signal);
    if (first === undefined) return { stopped: "no_data", fields: who };
    const { conn, value: admission, peer, ...session } = await tunnel.tls.downstream.tls.accept(
      first,
      (peer) => {
        const value = admit(peer, remote, connection, tunnel);
        return { admit: value.kind === "admitted", value };
      },
      { timeout: Math.max(1, deadline - monotonic()), signal },
    );
    opened = conn;
    const { protocol, resumed, alpn } = session;
    metrics.handshakeDone((monotonic() - start) / 1000);
    const { authorization } = admission;
    const { identity } = authorization;
    connection.describePeer("downstream", peerFields(identity));
    const log = { logger: connection.logger, limiter, name: "listener", source };
    if (admission.kind !== "admitted" || conn === undefined) {
      const { limit } = tunnel.perPeer;
      const reason = admission.kind === "over limit"
        ? `max_connections_per_peer: ${limit} connections of this peer are open`
        : undefined;
      logDenied(log, authorization, { ...who, resumed }, reason);
      return { stopped: "denied", fields: who };
    }
    if (!await admission.established) {
      conn.close();
      return { ...interrupted(connection), fields: who };
    }
    if (admission.wouldDeny) logDenied(log, authorization, { ...who, resumed });
    const peerAndWho = { ...peerFields(identity), ...who };
    connection.logger.info("listener: accepted connection", {
      ...peerAndWho,
      protocol,
      alpn,
      resumed,
      ...basisFields(authorization.decision.verdict),
    });
    return {
      conn,
      permit: admission.permit,
      fields: peerAndWho,
      source: remote,
      destination,
      // The facts are held as long as the connection, so only where the PROXY header needs them.
      ...(proxy.proxyProtocol === "v2-tls" ? { tls: () => tlsFacts(session, peer, identity) } : {}),
    };
  } catch (error) {
    // Our code failed after the handshake: the native TLS state has to be freed.
    opened?.close();
    if (!(error instanceof HandshakeError)) throw error;
    return { ...handshakeFailed(error, connection, tunnel, who, source), fields: who };
  }
}

/** Counts and logs a failed handshake. */
function handshakeFailed(
  error: HandshakeError,
  connection: Connection,
  { limiter, metrics }: TunnelContext,
  who: Downstream["fields"],
  source: string,
): Stopped {
  const ending = error instanceof HandshakeCut ? connection.ending : undefined;
  if (ending?.reason === "shutdown") return interrupted(connection);
  // A handshake is cut when it is evicted or a limit is reached, which counts as a timeout.
  const reason = ending === undefined ? error.reason : "timeout";
  metrics.handshakeFailed(reason);
  if (limiter.allows("warn", "handshake failed", { source })) {
    connection.logger.warn("listener: handshake failed", {
      ...who,
      reason,
      error: error.message,
      ...ending?.fields,
    });
  }
  return ending === undefined ? { stopped: closeReasonOf(error.reason) } : interrupted(connection);
}

/**
 * Waits for the first bytes of a connection, which it owns from now on and closes unless some
 * arrive. `timeout` is milliseconds from now. Returns the connection, which still yields those
 * bytes; `undefined` where the peer ended or reset it without sending any.
 *
 * @throws {HandshakeError} when they did not arrive in time, or the connection failed otherwise.
 */
async function waitForBytes(
  accepted: Conn,
  timeout: number,
  signal: AbortSignal,
): Promise<Conn | undefined> {
  let failure: HandshakeError | undefined;
  using _limit = onceExpired({ timeout, signal }, (limit) => {
    const late = `no handshake within ${formatDuration(timeout)}`;
    failure = limit === "aborted" ? new HandshakeCut() : new HandshakeError("timeout", late);
    // Settles the pending read.
    accepted.close();
  });
  try {
    const bytes = await accepted.read();
    if (failure !== undefined) throw failure;
    // Copied, because a connection reuses its buffers.
    if (bytes !== null) return new ReadAhead(accepted, accepted.remote, new Uint8Array(bytes));
    accepted.close();
    return undefined;
  } catch (error) {
    if (failure !== undefined) throw failure;
    accepted.close();
    if (error instanceof ConnError && error.fault === "reset") return undefined;
    throw transportError(error);
  }
}

/**
 * In one turn, so that no change of state comes in between: authorizes the peer, counts it towards
 * its limit, and registers the connection.
 */
function admit(
  peer: VerifiedPeer | undefined,
  remote: string,
  connection: Connection,
  { connections, metrics, perPeer, tls }: TunnelContext,
): Admission {
  const authorization = authorizeNewPeer(peer, tls.downstream.acl, metrics);
  const { decision } = authorization;
  if (!decision.admit) return { kind: "denied", authorization };
  if (perPeer.limit < Infinity) {
    const key = peer === undefined ? addressKey(remote) : certificateKey(peer.certificate);
    const lease = perPeer.take(key);
    if (lease === undefined) return { kind: "over limit", authorization };
    connection.own(lease);
  }
  const { permit, wouldDeny } = decision;
  const established = connections.establish(connection);
  connections.register(connection, { end: "downstream", peer });
  return { kind: "admitted", authorization, permit, wouldDeny, established };
}

/** The facts for a PROXY header. Only a verified certificate is included. */
function tlsFacts(
  { protocol, alpn, serverName, cipher, resumed }: Session,
  peer: VerifiedPeer | undefined,
  identity: PeerIdentity | undefined,
): TlsFacts {
  const certificate = peer === undefined ? undefined : {
    der: peer.certificate.der,
    commonName: identity && soleCommonName(identity),
    resumed,
  };
  return { protocol, alpn, serverName, cipher, certificate };
}

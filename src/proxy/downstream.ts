/**
 * Accepts downstream over TLS: server and bridge mode. Handshake, identity, authorization, and a
 * place among the connections.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import type { Conn } from "../net/conn.ts";
import type { AclConfig } from "../config/config.ts";
import { formatDuration } from "../util/duration.ts";
import type { Fields } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import { transportError } from "../tls/handshake_error.ts";
import type { TlsServer } from "../tls/server.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";
import {
  authorizeNewPeer,
  basisFields,
  type DenialLog,
  logDenied,
  type PeerAuthorization,
} from "./authorization.ts";
import { tlsFacts } from "./header_facts.ts";
import { isRefused, type ProxyHeaderReader } from "./proxy_header_reader.ts";
import type { KeyedLimiter } from "./limits.ts";
import type { Connection } from "./connection_table.ts";
import { closeReasonOf } from "../outcome.ts";
import { addressKey, certificateKey, networkOf } from "./peer_key.ts";
import { deniedFields, peerFields } from "./peer_log.ts";
import { firstBytes } from "./read_ahead.ts";
import {
  cutShort,
  type Near,
  type NearEnd,
  type SessionMetrics,
  type Stopped,
} from "./pipeline.ts";

/** Dependencies of {@linkcode TlsNear}. The functions return the current state. */
export type TlsNearDeps = {
  readonly tls: () => TlsServer;
  readonly acl: () => AclConfig;
  /** Limits connections per peer. */
  readonly quota: KeyedLimiter;
  /** Removes PROXY headers, where they are expected. */
  readonly header: ProxyHeaderReader | undefined;
  /** Whether the PROXY header to the target includes TLS and the client's certificate. */
  readonly tellsTls: boolean;
  /** Milliseconds from accept to the decision. */
  readonly handshakeTimeout: number;
  readonly limiter: LogLimiter;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
};

/** The result of authorizing one peer. */
type Entry =
  | {
    readonly kind: "admitted";
    readonly authorization: PeerAuthorization;
    readonly permit: Permit;
    readonly wouldDeny: boolean;
    /** Resolves when the connection has its place. */
    readonly established: Promise<boolean>;
  }
  | { readonly kind: "denied"; readonly authorization: PeerAuthorization }
  | { readonly kind: "over quota"; readonly authorization: PeerAuthorization };

/** The downstream end of an authorized peer. */
export type AdmittedNear = Near & { readonly permit: Permit };

/** Accepts connections over TLS. */
export class TlsNear implements NearEnd<AdmittedNear> {
  readonly #deps: TlsNearDeps;

  /** Shared by all connections of one tunnel. */
  constructor(deps: TlsNearDeps) {
    this.#deps = deps;
  }

  /** Prepares the downstream end of an accepted connection, which it owns from now on. */
  async receive(accepted: Conn, connection: Connection): Promise<AdmittedNear | Stopped> {
    const { header, handshakeTimeout, monotonic } = this.#deps;
    const start = monotonic();
    const left = () => Math.max(1, handshakeTimeout - (monotonic() - start));
    if (header === undefined) return await this.#handshake(accepted, connection, left, undefined);
    const taken = await header.read(accepted, handshakeTimeout, connection);
    if (isRefused(taken)) return taken;
    return await this.#handshake(taken.conn, connection, left, taken);
  }

  async #handshake(
    transport: Conn,
    connection: Connection,
    left: () => number,
    header: { readonly fields: Fields; readonly destination: string | undefined } | undefined,
  ): Promise<AdmittedNear | Stopped> {
    const { limiter, metrics, monotonic } = this.#deps;
    const { remote } = transport;
    const who = { remote, ...header?.fields };
    const source = networkOf(remote);
    const start = monotonic();
    let opened: Conn | undefined;
    try {
      // TLS state is the largest cost of a connection, so it is not created before the peer sends a
      // byte.
      const first = await this.#firstBytes(transport, left(), connection.signal);
      if (first === undefined) return { stopped: "no_data", fields: who };
      const { conn, value: entry, peer, ...session } = await this.#deps.tls().accept(
        first,
        (peer) => {
          const entry = this.#decide(peer, remote, connection);
          return { admit: entry.kind === "admitted", value: entry };
        },
        { timeout: left(), signal: connection.signal },
      );
      opened = conn;
      const { protocol, resumed, alpn } = session;
      metrics.handshakeDone((monotonic() - start) / 1000);
      const { authorization } = entry;
      connection.describePeer("near", peerFields(authorization.identity));
      const teller = { logger: connection.logger, limiter, name: "listener", source };
      if (entry.kind !== "admitted" || conn === undefined) {
        if (entry.kind === "over quota") {
          this.#logOverQuota(teller, authorization, { ...who, resumed });
        } else logDenied(teller, authorization, { ...who, resumed });
        return { stopped: "denied", fields: who };
      }
      if (!await entry.established) {
        conn.close();
        return { ...cutShort(connection), fields: who };
      }
      const { permit, wouldDeny } = entry;
      const fields = { ...peerFields(authorization.identity), ...who };
      if (wouldDeny) logDenied(teller, authorization, { ...who, resumed });
      connection.logger.info("listener: accepted connection", {
        ...fields,
        protocol,
        alpn,
        resumed,
        ...basisFields(authorization.decision.verdict),
      });
      return {
        conn,
        permit,
        fields,
        source: remote,
        destination: header?.destination ?? transport.local,
        // The facts are held as long as the connection, so only where the header needs them.
        ...(this.#deps.tellsTls
          ? { tls: () => tlsFacts(session, peer, authorization.identity) }
          : {}),
      };
    } catch (error) {
      // Our code failed after the handshake: the native TLS state has to be freed.
      opened?.close();
      if (!(error instanceof HandshakeError)) throw error;
      const cut = error instanceof HandshakeCut ? connection.ending : undefined;
      if (cut?.reason === "shutdown") return { ...cutShort(connection), fields: who };
      // A handshake is cut when it is evicted or a limit is reached, which counts as a timeout.
      const reason = cut === undefined ? error.reason : "timeout";
      metrics.handshakeFailed(reason);
      if (limiter.allows("warn", "handshake failed", { source })) {
        connection.logger.warn("listener: handshake failed", {
          ...who,
          reason,
          error: error.message,
          ...cut?.fields,
        });
      }
      const stopped = cut === undefined
        ? { stopped: closeReasonOf(error.reason) }
        : cutShort(connection);
      return { ...stopped, fields: who };
    }
  }

  /**
   * Waits for the first bytes of the connection; `undefined` where the peer left without any.
   *
   * @throws {HandshakeError} when they did not arrive in time.
   */
  async #firstBytes(
    transport: Conn,
    timeout: number,
    signal: AbortSignal,
  ): Promise<Conn | undefined> {
    const first = await firstBytes(transport, { timeout, signal }).catch((error) => {
      throw transportError(error);
    });
    switch (first.kind) {
      case "came":
        return first.conn;
      case "left":
        return undefined;
      case "timeout":
        throw new HandshakeError("timeout", `no handshake within ${formatDuration(timeout)}`);
      case "cut":
        throw new HandshakeCut();
      default:
        return first satisfies never;
    }
  }

  /**
   * In one turn, so that no change of state comes in between: authorizes the peer, counts it
   * towards its limit, and registers the connection.
   */
  #decide(peer: VerifiedPeer | undefined, remote: string, connection: Connection): Entry {
    const { acl, metrics, quota } = this.#deps;
    const authorization = authorizeNewPeer(peer, acl(), metrics);
    const { decision } = authorization;
    if (!decision.admit) return { kind: "denied", authorization };
    if (quota.limit < Infinity) {
      const key = peer === undefined ? addressKey(remote) : certificateKey(peer.certificate);
      const share = quota.take(key);
      if (share === undefined) return { kind: "over quota", authorization };
      connection.own(share);
    }
    const { permit, wouldDeny } = decision;
    const established = connection.admit({ end: "near", peer });
    return { kind: "admitted", authorization, permit, wouldDeny, established };
  }

  #logOverQuota(
    { logger, limiter, source }: DenialLog,
    { identity, decision }: PeerAuthorization,
    more: Fields,
  ): void {
    const { quota } = this.#deps;
    const from = { source, peer: identity?.spki };
    if (!limiter.allows("warn", "denied connection", from)) return;
    logger.warn("listener: denied connection", {
      ...deniedFields(identity),
      ...more,
      reason: `max_connections_per_peer: ${quota.limit} connections of this peer are open`,
      ...basisFields(decision.verdict),
    });
  }
}

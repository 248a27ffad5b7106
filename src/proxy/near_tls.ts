/**
 * The near end over TLS: server and bridge mode. Handshake, identity, authorization, and a place among
 * the connections.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import type { Channel } from "../channel.ts";
import type { AclConfig } from "../config/config.ts";
import type { Fields, Logger } from "../logging.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import type { TlsServer } from "../tls/server.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import { admitPeer, type Judged, logDenied, verdictFields } from "./authorize_peer.ts";
import { tlsFacts } from "./header_facts.ts";
import { type HeaderTaker, isRefused } from "./header_taker.ts";
import type { Quota } from "./limits.ts";
import type { Life } from "./lives.ts";
import { closeReasonOf } from "./outcome.ts";
import { addressKey, certificateKey } from "./peer_key.ts";
import { deniedFields, peerFields } from "./peer_log.ts";
import { cutShort, type Near, type NearEnd, type SessionMetrics, type Stopped } from "./session.ts";

/** What the near end needs; the functions give the state of the moment. */
export type TlsNearDeps = {
  readonly tls: () => TlsServer;
  readonly acl: () => AclConfig;
  /** Connections of one peer. */
  readonly quota: Quota;
  /** Takes PROXY headers off, where they are expected. */
  readonly header: HeaderTaker | undefined;
  /** Whether the target is told about TLS and the client's certificate. */
  readonly tellsTls: boolean;
  /** Milliseconds from accept to the decision. */
  readonly handshakeTimeout: number;
  readonly logger: Logger;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

/** What came of the decision about one peer. */
type Entry =
  | {
    readonly kind: "admitted";
    readonly judged: Judged;
    readonly permit: Permit;
    readonly wouldDeny: boolean;
    /** Resolves when the connection has its place. */
    readonly established: Promise<boolean>;
  }
  | { readonly kind: "denied"; readonly judged: Judged }
  | { readonly kind: "over quota"; readonly judged: Judged };

/** A peer that was let in. */
export type AdmittedNear = Near & { readonly permit: Permit };

/** Accepts TLS. */
export class TlsNear implements NearEnd<AdmittedNear> {
  readonly #deps: TlsNearDeps;

  /** For all connections of one tunnel. */
  constructor(deps: TlsNearDeps) {
    this.#deps = deps;
  }

  /** Makes the near end of an accepted connection, which it owns from now on. */
  async receive(accepted: Channel, life: Life): Promise<AdmittedNear | Stopped> {
    const { header, handshakeTimeout, monotonic } = this.#deps;
    const start = monotonic();
    const left = () => Math.max(1, handshakeTimeout - (monotonic() - start));
    if (header === undefined) return await this.#handshake(accepted, life, left, undefined);
    const taken = await header.take(accepted, handshakeTimeout, life);
    if (isRefused(taken)) return taken;
    return await this.#handshake(taken.channel, life, left, taken);
  }

  async #handshake(
    transport: Channel,
    life: Life,
    left: () => number,
    header: { readonly fields: Fields; readonly destination: string | undefined } | undefined,
  ): Promise<AdmittedNear | Stopped> {
    const { logger, metrics, monotonic } = this.#deps;
    const { remote } = transport;
    const who = { remote, ...header?.fields };
    const start = monotonic();
    const limits = { timeout: left(), signal: life.signal };
    let opened: Channel | undefined;
    try {
      const { channel, value: entry, peer, ...session } = await this.#deps.tls().accept(
        transport,
        (peer) => {
          const entry = this.#decide(peer, remote, life);
          return { admit: entry.kind === "admitted", value: entry };
        },
        limits,
      );
      opened = channel;
      const { protocol, resumed, alpn } = session;
      metrics.handshakeDone((monotonic() - start) / 1000);
      const { judged } = entry;
      if (entry.kind !== "admitted" || channel === undefined) {
        if (entry.kind === "over quota") this.#logOverQuota(judged, { ...who, resumed });
        else logDenied(logger, "listener", judged, { ...who, resumed });
        return { stopped: "denied", fields: who };
      }
      if (!await entry.established) {
        channel.close();
        return { ...cutShort(life), fields: who };
      }
      const { permit, wouldDeny } = entry;
      const fields = { ...peerFields(judged.identity), ...who };
      if (wouldDeny) logDenied(logger, "listener", judged, { ...who, resumed });
      logger.info("listener: accepted connection", {
        ...fields,
        protocol,
        alpn,
        resumed,
        ...verdictFields(judged.decision.verdict),
      });
      return {
        channel,
        permit,
        fields,
        source: remote,
        destination: header?.destination ?? transport.local,
        // Kept for as long as the connection, so only where somebody asks for it.
        ...(this.#deps.tellsTls ? { tls: () => tlsFacts(session, peer, judged.identity) } : {}),
      };
    } catch (error) {
      // A fault of ours came in between: the engine has to be told of the end.
      opened?.close();
      if (!(error instanceof HandshakeError)) throw error;
      const cut = error instanceof HandshakeCut ? life.ending : undefined;
      if (cut?.reason === "shutdown") return { ...cutShort(life), fields: who };
      // Whoever cuts a handshake found that it took too long.
      const reason = cut === undefined ? error.reason : "timeout";
      metrics.handshakeFailed(reason);
      logger.warn("listener: handshake failed", {
        ...who,
        reason,
        error: error.message,
        ...cut?.fields,
      });
      const stopped = cut === undefined ? { stopped: closeReasonOf(error.reason) } : cutShort(life);
      return { ...stopped, fields: who };
    }
  }

  /**
   * All in one turn: the decision by the state of the moment, the peer's share, the connection's
   * registration. No change of state comes in between.
   */
  #decide(peer: VerifiedPeer | undefined, remote: string, life: Life): Entry {
    const { acl, metrics, quota } = this.#deps;
    const judged = admitPeer(peer, acl(), metrics);
    const { decision } = judged;
    if (!decision.admit) return { kind: "denied", judged };
    if (quota.limit < Infinity) {
      const key = peer === undefined ? addressKey(remote) : certificateKey(peer.certificate);
      const share = quota.take(key);
      if (share === undefined) return { kind: "over quota", judged };
      life.own(share);
    }
    const { permit, wouldDeny } = decision;
    const established = life.admit({ side: "near", peer });
    return { kind: "admitted", judged, permit, wouldDeny, established };
  }

  #logOverQuota({ identity, decision }: Judged, more: Fields): void {
    const { logger, quota } = this.#deps;
    logger.warn("listener: denied connection", {
      ...deniedFields(identity),
      ...more,
      reason: `max_connections_per_peer: ${quota.limit} connections of this peer are open`,
      ...verdictFields(decision.verdict),
    });
  }
}

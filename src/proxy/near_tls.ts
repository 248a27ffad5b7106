/**
 * The near end over TLS: server and bridge mode. Handshake, identity, authorization, and a place among
 * the connections.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import type { Channel } from "../channel.ts";
import type { AclConfig } from "../config/config.ts";
import { formatDuration } from "../config/duration.ts";
import type { Fields } from "../logging.ts";
import type { LogLimiter } from "../logging/limiter.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import { wireError } from "../tls/handshake_error.ts";
import type { TlsServer } from "../tls/server.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import { admitPeer, type Judged, logDenied, type Teller, verdictFields } from "./authorize_peer.ts";
import { tlsFacts } from "./header_facts.ts";
import { type HeaderTaker, isRefused } from "./header_taker.ts";
import type { Quota } from "./limits.ts";
import type { Life } from "./lives.ts";
import { closeReasonOf } from "./outcome.ts";
import { addressKey, certificateKey, networkOf } from "./peer_key.ts";
import { deniedFields, peerFields } from "./peer_log.ts";
import { firstBytes } from "./read_ahead.ts";
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
  readonly limiter: LogLimiter;
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
    const { limiter, metrics, monotonic } = this.#deps;
    const { remote } = transport;
    const who = { remote, ...header?.fields };
    const source = networkOf(remote);
    const start = monotonic();
    let opened: Channel | undefined;
    try {
      // An engine costs more than all else of a connection: there is none for who says nothing.
      const first = await this.#firstBytes(transport, left(), life.signal);
      if (first === undefined) return { stopped: "no_data", fields: who };
      const { channel, value: entry, peer, ...session } = await this.#deps.tls().accept(
        first,
        (peer) => {
          const entry = this.#decide(peer, remote, life);
          return { admit: entry.kind === "admitted", value: entry };
        },
        { timeout: left(), signal: life.signal },
      );
      opened = channel;
      const { protocol, resumed, alpn } = session;
      metrics.handshakeDone((monotonic() - start) / 1000);
      const { judged } = entry;
      life.tell("near", peerFields(judged.identity));
      const teller = { logger: life.logger, limiter, name: "listener", source };
      if (entry.kind !== "admitted" || channel === undefined) {
        if (entry.kind === "over quota") this.#logOverQuota(teller, judged, { ...who, resumed });
        else logDenied(teller, judged, { ...who, resumed });
        return { stopped: "denied", fields: who };
      }
      if (!await entry.established) {
        channel.close();
        return { ...cutShort(life), fields: who };
      }
      const { permit, wouldDeny } = entry;
      const fields = { ...peerFields(judged.identity), ...who };
      if (wouldDeny) logDenied(teller, judged, { ...who, resumed });
      life.logger.info("listener: accepted connection", {
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
      if (limiter.allows("warn", "handshake failed", { source })) {
        life.logger.warn("listener: handshake failed", {
          ...who,
          reason,
          error: error.message,
          ...cut?.fields,
        });
      }
      const stopped = cut === undefined ? { stopped: closeReasonOf(error.reason) } : cutShort(life);
      return { ...stopped, fields: who };
    }
  }

  /**
   * The connection once its first bytes are there; `undefined` where the peer left without any.
   *
   * @throws {HandshakeError} when they did not come in time.
   */
  async #firstBytes(
    transport: Channel,
    timeout: number,
    signal: AbortSignal,
  ): Promise<Channel | undefined> {
    const first = await firstBytes(transport, { timeout, signal }).catch((error) => {
      throw wireError(error);
    });
    switch (first.kind) {
      case "came":
        return first.channel;
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

  #logOverQuota(
    { logger, limiter, source }: Teller,
    { identity, decision }: Judged,
    more: Fields,
  ): void {
    const { quota } = this.#deps;
    const from = { source, peer: identity?.spki };
    if (!limiter.allows("warn", "denied connection", from)) return;
    logger.warn("listener: denied connection", {
      ...deniedFields(identity),
      ...more,
      reason: `max_connections_per_peer: ${quota.limit} connections of this peer are open`,
      ...verdictFields(decision.verdict),
    });
  }
}

/**
 * Server mode: mTLS at the near end, plain TCP at the far end.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import type { Channel } from "../channel.ts";
import type { AclConfig, Address } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import type { Fields, Logger } from "../logging.ts";
import type { Metrics } from "../metrics.ts";
import { DialError, dialTcp, type NativeTcp } from "../net.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import type { TlsServer } from "../tls/server.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import { admitPeer, type Judged, logDenied, verdictFields } from "./authorize_peer.ts";
import type { Quota } from "./limits.ts";
import type { Life } from "./lives.ts";
import { closeReasonOf } from "./outcome.ts";
import { addressKey, certificateKey } from "./peer_key.ts";
import { deniedFields, peerFields } from "./peer_log.ts";
import { cutShort, type Far, type Near, type Stopped, type Way } from "./session.ts";

/** What server mode needs; the functions give the state of the moment. */
export type ServerWayDeps = {
  readonly tls: () => TlsServer;
  readonly acl: () => AclConfig;
  /** Connections of one peer. */
  readonly quota: Quota;
  readonly target: Address;
  /** Carries what is dialled by native handles. */
  readonly native?: NativeTcp | undefined;
  /** Milliseconds from accept to the decision. */
  readonly handshakeTimeout: number;
  /** Milliseconds. */
  readonly dialTimeout: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
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

/** The way of a connection in server mode. */
export class ServerWay implements Way<AdmittedNear> {
  /** Who speaks in the log. */
  readonly name = "listener";
  readonly #deps: ServerWayDeps;

  /** For all connections of one tunnel. */
  constructor(deps: ServerWayDeps) {
    this.#deps = deps;
  }

  /** Handshake, identity, authorization, and a place among the connections. */
  async receive(accepted: Channel, life: Life): Promise<AdmittedNear | Stopped> {
    const { logger, metrics, monotonic } = this.#deps;
    const { remote } = accepted;
    const start = monotonic();
    try {
      const { channel, value: entry, protocol, resumed } = await this.#deps.tls().accept(
        accepted,
        (peer) => {
          const entry = this.#decide(peer, remote, life);
          return { admit: entry.kind === "admitted", value: entry };
        },
        { timeout: this.#deps.handshakeTimeout, signal: life.signal },
      );
      metrics.handshakeDone((monotonic() - start) / 1000);
      const { judged } = entry;
      if (entry.kind !== "admitted" || channel === undefined) {
        if (entry.kind === "over quota") this.#logOverQuota(judged, { remote, resumed });
        else logDenied(logger, this.name, judged, { remote, resumed });
        return { stopped: "denied" };
      }
      if (!await entry.established) {
        channel.close();
        return cutShort(life);
      }
      const { permit, wouldDeny } = entry;
      const fields = { ...peerFields(judged.identity), remote };
      if (wouldDeny) logDenied(logger, this.name, judged, { remote, resumed });
      logger.info("listener: accepted connection", {
        ...fields,
        protocol,
        resumed,
        ...verdictFields(judged.decision.verdict),
      });
      return { channel, permit, fields };
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
      const cut = error instanceof HandshakeCut ? life.ending : undefined;
      if (cut?.reason === "shutdown") return cutShort(life);
      // Whoever cuts a handshake found that it took too long.
      const reason = cut === undefined ? error.reason : "timeout";
      metrics.handshakeFailed(reason);
      logger.warn("listener: handshake failed", {
        remote,
        reason,
        error: error.message,
        ...cut?.fields,
      });
      return cut === undefined ? { stopped: closeReasonOf(error.reason) } : cutShort(life);
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
    return { kind: "admitted", judged, permit, wouldDeny, established: life.admit(peer) };
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

  /** Dials the target: with a permit, never without. */
  async reach(near: AdmittedNear, life: Life): Promise<Far | Stopped> {
    const { signal } = life;
    const { target, dialTimeout, native, logger, metrics } = this.#deps;
    const { permit } = near;
    try {
      return { channel: await dialTcp(target, { timeout: dialTimeout, signal, native }), permit };
    } catch (error) {
      if (!(error instanceof DialError)) throw error;
      if (error.reason === "aborted") return cutShort(life);
      metrics.dialFailed();
      logger.error("listener: dial failed", {
        ...near.fields,
        target: formatAddress(target),
        error: error.message,
      });
      return { stopped: "dial_failed" };
    }
  }
}

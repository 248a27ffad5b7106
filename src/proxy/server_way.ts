/**
 * Server mode: mTLS at the near end, plain TCP at the far end.
 *
 * @module
 */

import type { Permit } from "../acl.ts";
import type { Channel } from "../channel.ts";
import type { AclConfig, Address } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import type { Logger } from "../logging.ts";
import type { Metrics } from "../metrics.ts";
import { DialError, dialTcp } from "../net.ts";
import { HandshakeError } from "../tls/handshake.ts";
import type { TlsServer } from "../tls/server.ts";
import { grantText, judgePeer, logDenied } from "./authorize_peer.ts";
import { closeReasonOf } from "./outcome.ts";
import { peerFields } from "./peer_log.ts";
import type { Far, Near, Stopped, Way } from "./session.ts";

/** What server mode needs; the functions give the state of the moment. */
export type ServerWayDeps = {
  readonly tls: () => TlsServer;
  readonly acl: () => AclConfig;
  readonly target: Address;
  /** Milliseconds from accept to the decision. */
  readonly handshakeTimeout: number;
  /** Milliseconds. */
  readonly dialTimeout: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

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

  /** Handshake, identity, authorization. */
  async receive(accepted: Channel, signal: AbortSignal): Promise<AdmittedNear | Stopped> {
    const { logger, metrics, monotonic } = this.#deps;
    const { remote } = accepted;
    const start = monotonic();
    try {
      const { channel, value: judged, protocol, resumed } = await this.#deps.tls().accept(
        accepted,
        (peer) => judgePeer(peer, this.#deps.acl(), metrics),
        { timeout: this.#deps.handshakeTimeout, signal },
      );
      metrics.handshakeDone((monotonic() - start) / 1000);
      if (!judged.decision.allowed || channel === undefined) {
        logDenied(logger, this.name, judged, { remote, resumed });
        return { stopped: "denied" };
      }
      const { permit } = judged.decision;
      const fields = { ...peerFields(judged.identity), remote };
      logger.info("listener: accepted connection", {
        ...fields,
        protocol,
        resumed,
        rule: grantText(permit.grant),
      });
      return { channel, permit, fields };
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
      if (signal.aborted) return { stopped: "shutdown" };
      metrics.handshakeFailed(error.reason);
      logger.warn("listener: handshake failed", {
        remote,
        reason: error.reason,
        error: error.message,
      });
      return { stopped: closeReasonOf(error.reason) };
    }
  }

  /** Dials the target: with a permit, never without. */
  async reach(near: AdmittedNear, signal: AbortSignal): Promise<Far | Stopped> {
    const { target, dialTimeout, logger, metrics } = this.#deps;
    const { permit } = near;
    try {
      return { channel: await dialTcp(target, { timeout: dialTimeout, signal }), permit };
    } catch (error) {
      if (!(error instanceof DialError)) throw error;
      if (signal.aborted) return { stopped: "shutdown" };
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

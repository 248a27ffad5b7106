/**
 * Client mode: plain TCP at the near end, mTLS at the far end.
 *
 * @module
 */

import type { Channel } from "../channel.ts";
import type { AclConfig, Address } from "../config/config.ts";
import { formatAddress } from "../config/address.ts";
import type { Logger } from "../logging.ts";
import type { Metrics } from "../metrics.ts";
import { DialError, dialTcp, type NativeTcp } from "../net.ts";
import { admitPeer, logDenied, verdictFields } from "./authorize_peer.ts";
import { peerFields } from "./peer_log.ts";
import type { Life } from "./lives.ts";
import { cutShort, type Far, type Near, type Stopped, type Way } from "./session.ts";
import type { TlsClient } from "../tls/client.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";

/** What client mode needs; the functions give the state of the moment. */
export type ClientWayDeps = {
  readonly tls: () => TlsClient;
  readonly acl: () => AclConfig;
  readonly target: Address;
  /** Carries what is dialled by native handles. */
  readonly native?: NativeTcp | undefined;
  /** Milliseconds for TCP and TLS together. */
  readonly dialTimeout: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

/** The way of a connection in client mode. */
export class ClientWay implements Way<Near> {
  /** Who speaks in the log. */
  readonly name = "dialer";
  readonly #deps: ClientWayDeps;

  /** For all connections of one tunnel. */
  constructor(deps: ClientWayDeps) {
    this.#deps = deps;
  }

  /** Takes the connection as it is: its caller was trusted by whoever may reach the listener. */
  receive(accepted: Channel, _life: Life): Promise<Near> {
    return Promise.resolve({ channel: accepted, fields: { remote: accepted.remote } });
  }

  /** Dials, handshakes and judges the server; nothing of the caller's leaves before that. */
  async reach(near: Near, life: Life): Promise<Far | Stopped> {
    const { signal } = life;
    const { target, dialTimeout, native, logger, metrics, monotonic } = this.#deps;
    const server = formatAddress(target);
    const start = monotonic();
    try {
      const transport = await dialTcp(target, { timeout: dialTimeout, signal, native });
      const dialled = monotonic();
      const { channel, value: judged, protocol, resumed } = await this.#deps.tls().connect(
        transport,
        (peer) => {
          // In one turn: no change of state comes between the decision and the registration.
          const judged = admitPeer(peer, this.#deps.acl(), metrics);
          if (judged.decision.admit) void life.admit(peer);
          return { admit: judged.decision.admit, value: judged };
        },
        { timeout: Math.max(1, dialTimeout - (dialled - start)), signal },
      );
      metrics.handshakeDone((monotonic() - dialled) / 1000);
      if (!judged.decision.admit || channel === undefined) {
        logDenied(logger, this.name, judged, { server, remote: near.channel.remote, resumed });
        return { stopped: "denied" };
      }
      if (judged.decision.wouldDeny) {
        logDenied(logger, this.name, judged, { server, remote: near.channel.remote, resumed });
      }
      logger.info("dialer: connected", {
        server,
        ...peerFields(judged.identity),
        remote: near.channel.remote,
        protocol,
        ...verdictFields(judged.decision.verdict),
      });
      return { channel, permit: judged.decision.permit };
    } catch (error) {
      const aborted = error instanceof DialError && error.reason === "aborted";
      if (aborted || error instanceof HandshakeCut) return cutShort(life);
      const fields = { server, remote: near.channel.remote };
      if (error instanceof DialError) {
        metrics.dialFailed();
        logger.error("dialer: dial failed", { ...fields, error: error.message });
      } else if (error instanceof HandshakeError) {
        metrics.handshakeFailed(error.reason);
        logger.error("dialer: handshake failed", {
          ...fields,
          reason: error.reason,
          error: error.message,
        });
      } else {
        throw error;
      }
      return { stopped: "dial_failed" };
    }
  }
}

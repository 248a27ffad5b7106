/**
 * The far end over TLS: client and bridge mode.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { AclConfig } from "../config/config.ts";
import type { Fields } from "../logging.ts";
import type { LogLimiter } from "../logging/limiter.ts";
import { formatDuration } from "../config/duration.ts";
import { dial, DialError, type NativeTcp } from "../net.ts";
import { CostlyServers } from "./costly_servers.ts";
import type { TlsClient } from "../tls/client.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import { admitPeer, logDenied, verdictFields } from "./authorize_peer.ts";
import type { Life } from "./lives.ts";
import { peerFields } from "./peer_log.ts";
import { type ReachDeps, reachOne } from "./reach.ts";
import type { Far, FarEnd, Near, SessionMetrics, Stopped } from "./session.ts";
import { TargetDenied } from "./targets_failure.ts";
import type { Attempt } from "./targets.ts";

/** What the far end needs; the functions give the state of the moment. */
export type TlsFarDeps = ReachDeps & {
  /** For servers whose certificate must carry this name. */
  readonly tls: (serverName: string) => TlsClient;
  readonly acl: () => AclConfig;
  /** Milliseconds for a handshake and its decision, within those for the whole try; `Infinity`: just these. */
  readonly handshakeTimeout: number;
  /** Carries what is dialled by native handles. */
  readonly native: NativeTcp | undefined;
  readonly limiter: LogLimiter;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a clock that never goes back. */
  readonly monotonic: () => number;
};

/** Dials, handshakes and judges the server; nothing of the caller's leaves before that. */
export class TlsFar implements FarEnd<Near> {
  readonly #deps: TlsFarDeps;
  readonly #costly: CostlyServers;

  /** For all connections of one tunnel. */
  constructor(deps: TlsFarDeps) {
    this.#deps = deps;
    this.#costly = new CostlyServers(deps.monotonic);
  }

  /** Reaches a server that is what it should be. One that is not is like one that is not there. */
  async reach(near: Near, life: Life): Promise<Far | Stopped> {
    const fields = { remote: near.source };
    const reacher = { name: "dialer", field: "server", fields } as const;
    return await reachOne(this.#deps, reacher, life, (attempt) => {
      return this.#dial(attempt, life, { server: formatAddress(attempt.address), ...fields });
    });
  }

  async #dial(attempt: Attempt, life: Life, fields: Fields): Promise<Far> {
    const { limiter, metrics } = this.#deps;
    try {
      return await this.#handshake(attempt, life, fields);
    } catch (error) {
      if (error instanceof HandshakeError && !(error instanceof HandshakeCut)) {
        const { reason, message } = error;
        metrics.handshakeFailed(reason);
        if (limiter.allows("error", "handshake failed", sourceOf(attempt))) {
          life.logger.error("dialer: handshake failed", { ...fields, reason, error: message });
        }
        const { server } = fields;
        const pause = this.#costly.failed(formatAddress(attempt.address), error.engineCpu);
        if (pause > 0) {
          life.logger.error("dialer: leaving a server alone: its certificates cost too much", {
            server,
            cpu: formatDuration(Math.round(error.engineCpu)),
            pause: formatDuration(Math.round(pause)),
          });
        }
      }
      throw error;
    }
  }

  async #handshake(
    attempt: Attempt,
    life: Life,
    fields: Fields,
  ): Promise<Far> {
    const { address, target: { serverName = "" }, timeout, signal } = attempt;
    const { limiter, metrics, native, monotonic, handshakeTimeout } = this.#deps;
    const start = monotonic();
    const pause = this.#costly.pauseOf(formatAddress(address));
    if (pause > 0) {
      const left = formatDuration(Math.ceil(pause / 1000) * 1000);
      throw new DialError(
        "other",
        `left alone for another ${left}: its certificates cost too much`,
      );
    }
    const transport = await dial(address, { timeout, signal, native });
    let opened = transport;
    try {
      const dialled = monotonic();
      const { channel, value: judged, ...session } = await this.#deps.tls(serverName).connect(
        transport,
        (peer) => {
          // In one turn: no change of state comes between the decision and the registration.
          const judged = admitPeer(peer, this.#deps.acl(), metrics);
          if (judged.decision.admit) life.stand({ side: "far", peer, serverName });
          return { admit: judged.decision.admit, value: judged };
        },
        { timeout: Math.max(1, Math.min(handshakeTimeout, timeout - (dialled - start))), signal },
      );
      opened = channel ?? transport;
      metrics.handshakeDone((monotonic() - dialled) / 1000);
      const { decision } = judged;
      const { protocol, resumed, alpn } = session;
      life.tell("far", peerFields(judged.identity));
      const teller = { logger: life.logger, limiter, name: "dialer", ...sourceOf(attempt) };
      if (!decision.admit || channel === undefined) {
        logDenied(teller, judged, { ...fields, resumed });
        throw new TargetDenied("the rules keep the server out");
      }
      if (decision.wouldDeny) logDenied(teller, judged, { ...fields, resumed });
      const { server, remote } = fields;
      life.logger.info("dialer: connected", {
        server,
        ...peerFields(judged.identity),
        remote,
        protocol,
        alpn,
        ...verdictFields(decision.verdict),
      });
      return { channel, permit: decision.permit };
    } catch (error) {
      // Nobody else knows of this connection.
      opened.close();
      throw error;
    }
  }
}

/** Where a server is, for the bound on lines about it. */
function sourceOf({ address }: Attempt): { readonly source: string } {
  return { source: formatAddress(address) };
}

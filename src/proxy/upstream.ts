/**
 * Dials upstream over TLS: client and bridge mode.
 *
 * @module
 */

import { formatAddress } from "../config/address.ts";
import type { AclConfig } from "../config/config.ts";
import type { Fields } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import { formatDuration } from "../util/duration.ts";
import { dial, DialError, type NativeTcp } from "../net/mod.ts";
import { ServerBackoff } from "./server_backoff.ts";
import type { TlsClient } from "../tls/client.ts";
import { HandshakeCut, HandshakeError } from "../tls/handshake.ts";
import { authorizeNewPeer, basisFields, logDenied } from "./authorization.ts";
import type { Connection } from "./connection_table.ts";
import { peerFields } from "./peer_log.ts";
import { type ReachDeps, reachOne } from "./reach.ts";
import type { Far, FarEnd, Near, SessionMetrics, Stopped } from "./pipeline.ts";
import { TargetDenied } from "./target_failure.ts";
import type { Attempt } from "./load_balancer.ts";

/** Dependencies of {@linkcode TlsFar}. The functions return the current state. */
export type TlsFarDeps = ReachDeps & {
  /** The client for servers whose certificate must carry this name. */
  readonly tls: (serverName: string) => TlsClient;
  readonly acl: () => AclConfig;
  /**
   * Milliseconds for the handshake and the decision, within the time of the attempt; `Infinity`:
   * only the latter counts.
   */
  readonly handshakeTimeout: number;
  /** Carries dialled connections on native handles, where they are available. */
  readonly native: NativeTcp | undefined;
  readonly limiter: LogLimiter;
  readonly metrics: SessionMetrics;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
};

/**
 * Dials, performs the handshake and authorizes the server; no byte from downstream is sent before
 * that.
 */
export class TlsFar implements FarEnd<Near> {
  readonly #deps: TlsFarDeps;
  readonly #costly: ServerBackoff;

  /** Shared by all connections of one tunnel. */
  constructor(deps: TlsFarDeps) {
    this.#deps = deps;
    this.#costly = new ServerBackoff(deps.monotonic);
  }

  /**
   * Connects to an authorized server. A server that fails verification counts like one that is
   * down.
   */
  async reach(near: Near, connection: Connection): Promise<Far | Stopped> {
    const fields = { remote: near.source };
    const reacher = { name: "dialer", field: "server", fields } as const;
    return await reachOne(this.#deps, reacher, connection, (attempt) => {
      return this.#dial(attempt, connection, { server: formatAddress(attempt.address), ...fields });
    });
  }

  async #dial(attempt: Attempt, connection: Connection, fields: Fields): Promise<Far> {
    const { limiter, metrics } = this.#deps;
    try {
      return await this.#handshake(attempt, connection, fields);
    } catch (error) {
      if (error instanceof HandshakeError && !(error instanceof HandshakeCut)) {
        const { reason, message } = error;
        metrics.handshakeFailed(reason);
        if (limiter.allows("error", "handshake failed", sourceOf(attempt))) {
          connection.logger.error("dialer: handshake failed", {
            ...fields,
            reason,
            error: message,
          });
        }
        const { server } = fields;
        const pause = this.#costly.failed(formatAddress(attempt.address), error.engineCpu);
        if (pause > 0) {
          connection.logger.error(
            "dialer: leaving a server alone: its certificates cost too much",
            {
              server,
              cpu: formatDuration(Math.round(error.engineCpu)),
              pause: formatDuration(Math.round(pause)),
            },
          );
        }
      }
      throw error;
    }
  }

  async #handshake(
    attempt: Attempt,
    connection: Connection,
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
      const { conn, value: authorization, ...session } = await this.#deps.tls(serverName)
        .connect(
          transport,
          (peer) => {
            // In one turn, so that no change of state comes between the decision and the
            // registration.
            const authorization = authorizeNewPeer(peer, this.#deps.acl(), metrics);
            if (authorization.decision.admit) connection.register({ end: "far", peer, serverName });
            return { admit: authorization.decision.admit, value: authorization };
          },
          { timeout: Math.max(1, Math.min(handshakeTimeout, timeout - (dialled - start))), signal },
        );
      opened = conn ?? transport;
      metrics.handshakeDone((monotonic() - dialled) / 1000);
      const { decision } = authorization;
      const { protocol, resumed, alpn } = session;
      connection.describePeer("far", peerFields(authorization.identity));
      const teller = { logger: connection.logger, limiter, name: "dialer", ...sourceOf(attempt) };
      if (!decision.admit || conn === undefined) {
        logDenied(teller, authorization, { ...fields, resumed });
        throw new TargetDenied("the rules keep the server out");
      }
      if (decision.wouldDeny) logDenied(teller, authorization, { ...fields, resumed });
      const { server, remote } = fields;
      connection.logger.info("dialer: connected", {
        server,
        ...peerFields(authorization.identity),
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
}

/** The server's address, for rate-limiting its log lines. */
function sourceOf({ address }: Attempt): { readonly source: string } {
  return { source: formatAddress(address) };
}

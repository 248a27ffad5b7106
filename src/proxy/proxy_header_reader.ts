/**
 * Removes the PROXY header from connections that arrive through a load balancer, and logs those
 * that are refused.
 *
 * @module
 */

import type { IpPattern } from "../acl/ip.ts";
import type { Conn } from "../net/conn.ts";
import type { Fields } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import { formatEndpoint } from "../proxy_protocol/endpoint.ts";
import { acceptHeader, type HeaderRefusal } from "./proxy_header.ts";
import type { Connection } from "./connection_table.ts";
import type { CloseReason } from "../outcome.ts";
import { networkOf } from "./peer_key.ts";
import { peerFields } from "./peer_log.ts";
import { cutShort, type Stopped } from "./pipeline.ts";

/** A connection after its header. */
export type ProxiedConn = {
  /** Its `remote` is the client. */
  readonly conn: Conn;
  /**
   * The address that the client connected to; `undefined` where the load balancer spoke for itself.
   */
  readonly destination: string | undefined;
  /** The load balancer's address, for the log. */
  readonly fields: Fields;
};

/** Whether the connection was refused. */
export function isRefused(taken: ProxiedConn | Stopped): taken is Stopped {
  return "stopped" in taken;
}

/** Shared by all connections of one tunnel. */
export class ProxyHeaderReader {
  readonly #trusted: readonly IpPattern[];
  readonly #limiter: LogLimiter;
  readonly #name: string;

  /**
   * Accepts headers from the networks `trusted` and refuses all other peers. `name` starts the log
   * messages.
   */
  constructor(trusted: readonly IpPattern[], limiter: LogLimiter, name: string) {
    this.#trusted = trusted;
    this.#limiter = limiter;
    this.#name = name;
  }

  /** Removes the header from a connection, which it owns from now on; `timeout` is milliseconds. */
  async read(
    accepted: Conn,
    timeout: number,
    connection: Connection,
  ): Promise<ProxiedConn | Stopped> {
    const via = accepted.remote;
    const limits = { trusted: this.#trusted, timeout, signal: connection.signal };
    const result = await acceptHeader(accepted, limits);
    if (result.kind === "accepted") {
      const { conn, destination } = result;
      // A load balancer has one handshake per client; each client is limited separately.
      connection.moveTo(networkOf(conn.remote));
      return {
        conn,
        destination: destination && formatEndpoint(destination),
        fields: { via },
      };
    }
    if (result.reason === "cut") return cutShort(connection);
    if (result.reason === "silent") return { stopped: "no_data" };
    const message = result.reason === "unlisted" ? "denied connection" : "refused PROXY header";
    if (this.#limiter.allows("warn", message, { source: networkOf(via) })) {
      connection.logger.warn(`${this.#name}: ${message}`, {
        ...(result.reason === "unlisted" ? peerFields(undefined) : {}),
        remote: via,
        reason: result.reason,
        error: result.message,
      });
    }
    return { stopped: stoppedBy(result.reason) };
  }
}

function stoppedBy(reason: Exclude<HeaderRefusal, "cut" | "silent">): CloseReason {
  switch (reason) {
    case "unlisted":
      return "denied";
    case "ended":
    case "broken":
      return "peer_reset";
    case "missing":
    case "malformed":
    case "timeout":
      return "error";
    default:
      return reason satisfies never;
  }
}

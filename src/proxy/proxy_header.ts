/**
 * Connections from a load balancer: removes the PROXY header from an accepted connection, before
 * TLS, so that later steps see the client's own address.
 *
 * A sender of the header can claim any client address. So the sender's address is checked before a
 * single byte is read, and a listener that expects headers accepts no connection without one.
 *
 * @module
 */

import { Addresses, type IpPattern } from "../acl/ip.ts";
import { type Conn, ConnError, ReadAhead, type RemoteAddress } from "../net/conn.ts";
import type { ProxyConfig } from "../config/config.ts";
import type { CloseReason } from "../outcome.ts";
import {
  type Endpoint,
  formatEndpoint,
  hostBytes,
  parseEndpoint,
} from "../proxy_protocol/endpoint.ts";
import { MAX_HEADER } from "../proxy_protocol/format.ts";
import { parseHeader } from "../proxy_protocol/parse.ts";
import { onceExpired } from "../util/abort.ts";
import { formatDuration } from "../util/duration.ts";
import { peerFields } from "./authorization.ts";
import type { Connection } from "./connection.ts";
import { type Arrival, interrupted, type Stopped, type TunnelContext } from "./context.ts";
import { networkOf } from "./peer_key.ts";

/**
 * Removes the PROXY header where the tunnel expects one, and logs a refusal. Owns `accepted` from
 * now on: it is closed unless the result is an {@linkcode Arrival}.
 *
 * @param timeout milliseconds to wait for the header.
 */
export async function receiveProxyHeader(
  accepted: Conn,
  connection: Connection,
  { config: { proxy }, connections, limiter, name }: ProxyHeaderContext,
  timeout: number,
): Promise<Arrival | Stopped> {
  const trusted = proxy.acceptProxyProtocol;
  if (trusted.length === 0) return { conn: accepted, destination: accepted.local, fields: {} };
  const via = accepted.remote;
  const result = await acceptHeader(accepted, { trusted, timeout, signal: connection.signal });
  if (result.kind === "accepted") {
    const { conn, destination } = result;
    // A load balancer has one handshake per client; each client is limited separately.
    connections.moveTo(connection, networkOf(conn.remote));
    return {
      conn,
      destination: destination === undefined ? conn.local : formatEndpoint(destination),
      fields: { via },
    };
  }
  if (result.reason === "cut") return interrupted(connection);
  if (result.reason === "silent") return { stopped: "no_data" };
  const message = result.reason === "unlisted" ? "denied connection" : "refused PROXY header";
  if (limiter.allows("warn", message, { source: networkOf(via) })) {
    connection.logger.warn(`${name}: ${message}`, {
      ...(result.reason === "unlisted" ? peerFields(undefined) : {}),
      remote: via,
      reason: result.reason,
      error: result.message,
    });
  }
  return { stopped: closeReasonOf(result.reason) };
}

/** The parts of a tunnel that {@linkcode receiveProxyHeader} uses. */
export type ProxyHeaderContext =
  & Pick<TunnelContext, "limiter" | "name">
  & {
    readonly config: { readonly proxy: Pick<ProxyConfig, "acceptProxyProtocol"> };
    readonly connections: Pick<TunnelContext["connections"], "moveTo">;
  };

function closeReasonOf(reason: Exclude<HeaderRefusal, "cut" | "silent">): CloseReason {
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

/** Which peers may send a header, and how long to wait for it. */
export type HeaderLimits = {
  /** The networks that may send one. If empty, every connection is refused. */
  readonly trusted: readonly IpPattern[];
  /** Milliseconds from now. */
  readonly timeout: number;
  /** Cancels the wait. */
  readonly signal: AbortSignal;
};

/**
 * Why a connection was refused. `unlisted`: the peer is in no trusted network. `missing`: the first
 * bytes are not a header. `silent`: the peer left without sending a byte, as health checks do.
 * `ended`: the peer ended the connection before the header was complete. `broken`: reset, or failed
 * otherwise. `cut`: cancelled by `signal`.
 */
export type HeaderRefusal =
  | "unlisted"
  | "missing"
  | "malformed"
  | "timeout"
  | "silent"
  | "ended"
  | "broken"
  | "cut";

/** The outcome of reading a header. */
export type AcceptedHeader =
  | {
    readonly kind: "accepted";
    /** The connection from the first byte after the header; its `remote` is the client. */
    readonly conn: Conn;
    /** The sender of the header. */
    readonly via: RemoteAddress;
    /** The address that the client connected to; `undefined` where the sender spoke for itself. */
    readonly destination: Endpoint | undefined;
  }
  | {
    /** Refused; the connection is closed. */
    readonly kind: "refused";
    readonly reason: HeaderRefusal;
    /** For the log; may quote the peer. */
    readonly message: string;
  };

function isTrusted(remote: RemoteAddress, trusted: readonly IpPattern[]): boolean {
  const end = parseEndpoint(remote);
  const bytes = end === undefined ? undefined : hostBytes(end.host);
  if (bytes === undefined) return false;
  const addresses = new Addresses([bytes]);
  return trusted.some((network) => addresses.find(network) !== undefined);
}

/** Removes the header from a connection, which it owns from now on and closes if it is refused. */
export async function acceptHeader(
  accepted: Conn,
  limits: HeaderLimits,
): Promise<AcceptedHeader> {
  const { trusted, timeout, signal } = limits;
  const refuse = (reason: HeaderRefusal, why: string): AcceptedHeader => {
    accepted.close();
    return { kind: "refused", reason, message: `Cannot take the PROXY header: ${why}` };
  };
  if (!isTrusted(accepted.remote, trusted)) {
    return refuse("unlisted", `"${accepted.remote}" is in no network of accept_proxy_protocol`);
  }
  if (signal.aborted) return refuse("cut", "the connection was cut");
  let stopped: readonly [HeaderRefusal, string] | undefined;
  const stop = (reason: HeaderRefusal, why: string) => {
    stopped ??= [reason, why];
    // Settles the pending read.
    accepted.close();
  };
  using _limit = onceExpired({ timeout, signal }, (limit) => {
    if (limit === "aborted") stop("cut", "the connection was cut");
    else stop("timeout", `it was not there within ${formatDuration(timeout)}`);
  });
  const seen = { bytes: 0 };
  try {
    const result = await readHeader(accepted, seen, refuse);
    return stopped === undefined ? result : refuse(...stopped);
  } catch (error) {
    if (stopped !== undefined) return refuse(...stopped);
    accepted.close();
    if (!(error instanceof ConnError)) throw error;
    const silent = seen.bytes === 0 && error.fault === "reset";
    return refuse(silent ? "silent" : "broken", error.message);
  }
}

/** Reads until the header is complete, and no further. */
async function readHeader(
  accepted: Conn,
  progress: { bytes: number },
  refuse: (reason: HeaderRefusal, why: string) => AcceptedHeader,
): Promise<AcceptedHeader> {
  let seen = new Uint8Array();
  for (;;) {
    const chunk = await accepted.read();
    if (chunk === null) {
      const reason = seen.length === 0 ? "silent" : "ended";
      return refuse(reason, `the connection ended after ${seen.length} bytes`);
    }
    progress.bytes += chunk.length;
    const before = seen.length;
    // Copied, because a connection reuses its buffers. The parser needs no more than MAX_HEADER bytes.
    const grown = new Uint8Array(Math.min(MAX_HEADER, before + chunk.length));
    grown.set(seen);
    grown.set(chunk.subarray(0, grown.length - before), before);
    seen = grown;
    const parsed = parseHeader(seen);
    switch (parsed.kind) {
      case "more":
        continue;
      case "absent":
        return refuse("missing", "the connection begins with something else");
      case "malformed":
        return refuse("malformed", parsed.reason);
      case "header": {
        const { length, proxied } = parsed;
        const { remote } = accepted;
        return {
          kind: "accepted",
          conn: new ReadAhead(
            accepted,
            proxied === undefined ? remote : formatEndpoint(proxied.source),
            new Uint8Array(chunk.subarray(length - before)),
          ),
          via: remote,
          destination: proxied?.destination,
        };
      }
      // deno-coverage-ignore -- the compiler knows that nothing else comes here
      default:
        return parsed satisfies never;
    }
  }
}

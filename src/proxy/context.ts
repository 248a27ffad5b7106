/**
 * What the steps of the pipeline share: the parts of a tunnel, and the results of the steps.
 *
 * @module
 */

import type { Permit } from "../acl/mod.ts";
import type { TunnelMetrics } from "../metrics/mod.ts";
import type { TunnelConfig } from "../config/config.ts";
import type { LogLimiter } from "../log/limiter.ts";
import type { Fields } from "../log/mod.ts";
import type { Conn, RemoteAddress } from "../net/conn.ts";
import type { AdoptTcp } from "../net/mod.ts";
import type { CloseReason } from "../outcome.ts";
import type { TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionTable } from "./connection_table.ts";
import type { KeyedLimiter } from "./limits.ts";
import type { LoadBalancer } from "./load_balancer.ts";
import type { ServerBackoff } from "./server_backoff.ts";
import type { TlsContexts } from "./tls_contexts.ts";

/** The metrics of connections. */
export type ConnectionMetrics = Pick<
  TunnelMetrics,
  | "connectionAccepted"
  | "connectionClosed"
  | "bytesProxied"
  | "aclDecision"
  | "peerWithoutCertificate"
  | "handshakeDone"
  | "handshakeFailed"
  | "dialFailed"
>;

/** The parts of one tunnel, shared by all of its connections. */
export type TunnelContext = {
  readonly config: Pick<TunnelConfig, "mode" | "proxy" | "tls" | "targets">;
  /** The start of log messages: `listener` or, in client mode, `dialer`. */
  readonly name: "listener" | "dialer";
  readonly connections: Pick<ConnectionTable, "moveTo" | "establish" | "register" | "close">;
  /** TLS and rules of both ends, in the current state. */
  readonly tls: Pick<TlsContexts, "downstream" | "upstream" | "upstreamAcl">;
  readonly balancer: LoadBalancer;
  /** Limits connections per peer. */
  readonly perPeer: KeyedLimiter;
  readonly backoff: ServerBackoff;
  /** Rate-limits log lines about peers that were not admitted. */
  readonly limiter: LogLimiter;
  readonly metrics: ConnectionMetrics;
  /** Milliseconds on a monotonic clock. */
  readonly monotonic: () => number;
  /** Carries dialled connections; `undefined`: on the public interface. */
  readonly adopt: AdoptTcp | undefined;
};

/** The result of a step that ended the connection. The step, or {@linkcode Connection.ending}, says why. */
export type Stopped = {
  readonly stopped: CloseReason;
  /** Log fields about the peer, where it is known to differ from the accepted address. */
  readonly fields?: Fields;
};

/** The result of a step that was interrupted because the connection is to end. */
export function interrupted(connection: Connection): Stopped {
  return { stopped: connection.ending?.reason ?? "error" };
}

/** An accepted connection, after the PROXY header of a load balancer where one is expected. */
export type Arrival = {
  /** Its `remote` is the client. */
  readonly conn: Conn;
  /** The address that the client connected to. */
  readonly destination: RemoteAddress;
  /** The load balancer's address, for the log. */
  readonly fields: Fields;
};

/** The downstream end, ready to carry plaintext. */
export type Downstream = {
  readonly conn: Conn;
  /** The peer, for the log. */
  readonly fields: Fields;
  /** The client's address, and the address that it connected to. */
  readonly source: RemoteAddress;
  readonly destination: RemoteAddress;
  /** The permit of an authorized peer; `undefined` where the downstream end is plain. */
  readonly permit: Permit | undefined;
  /** Facts about the client's TLS for a PROXY header, where it is to carry them. */
  readonly tls?: (() => TlsFacts) | undefined;
};

/** The upstream end, and the permit to forward to it. */
export type Upstream = { readonly conn: Conn; readonly permit: Permit };

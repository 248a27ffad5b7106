/**
 * What the control plane sends to the data plane. Plain data only, so that it can be cloned into
 * another thread: no functions, no classes, no handles.
 *
 * @module
 */

import type { LogLevel, TunnelConfig } from "./config/config.ts";
import type { AclConfig } from "./acl/rule.ts";
import { type Credentials, sealCredentials } from "./x509/credentials.ts";

/** Version of these types. The data plane does not start with a snapshot of another version. */
export const PROTOCOL = 1;

/** The credentials and rules of one end that uses TLS. */
export type EndState = { readonly credentials: Credentials; readonly acl: AclConfig };

/** What authorizes the peers of a tunnel. A reload replaces it as a whole. */
export type TunnelState = EndState & {
  /** The upstream end of a bridge; `undefined` in other modes. */
  readonly upstream: EndState | undefined;
};

/**
 * Seals the credentials of a received state: cloning has removed the seal that keeps the private
 * key out of JSON and logs.
 */
export function sealState({ credentials, acl, upstream }: TunnelState): TunnelState {
  return {
    credentials: sealCredentials(credentials),
    acl,
    upstream: upstream && { ...upstream, credentials: sealCredentials(upstream.credentials) },
  };
}

/** A tunnel to start. */
export type TunnelSnapshot = {
  /**
   * Addresses, limits and protocol settings. Its file paths have no function in the data plane, and
   * its rules are those of the start: `state` has the current ones.
   */
  readonly config: TunnelConfig;
  readonly state: TunnelState;
  /** The memory to count in, for a `TunnelCounters`; shared, not copied. */
  readonly counters: Float64Array;
};

/** Everything that the data plane needs to serve. */
export type Snapshot = {
  /** {@linkcode PROTOCOL} of the sender. */
  readonly protocol: number;
  /** The lowest level of log records to report. */
  readonly logLevel: LogLevel;
  readonly tunnels: readonly TunnelSnapshot[];
};

/** One message to the data plane. */
export type Command =
  /** Bind all tunnels and serve. Sent once, first. Answered by `started` or `not_started`. */
  | { readonly kind: "start"; readonly snapshot: Snapshot }
  /**
   * Replace the states of all tunnels, in the order of the start. Answered by `updated` in the same
   * turn of the event loop; if one tunnel rejects its state, all keep their previous ones.
   */
  | { readonly kind: "update"; readonly states: readonly TunnelState[] }
  /** Answered by `tunnel` in the same turn. */
  | { readonly kind: "query"; readonly tunnel: number }
  /**
   * Stop accepting, and wait for the connections of each tunnel for at most its
   * `proxy.shutdown_timeout`. Sent once. Answered by `drained`.
   */
  | { readonly kind: "drain" }
  /** Close all connections now and accept no more. */
  | { readonly kind: "cut" };

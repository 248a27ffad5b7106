/**
 * The events that are counted. Labels come only from the config and from closed sets, never from a
 * peer, so the number of series is fixed.
 *
 * @module
 */

import type { LimitedMessage } from "../log/limiter.ts";
import type { CloseReason, Direction, HandshakeReason } from "../outcome.ts";

/** The results of access decisions: the `result` label of `mtlsd_acl_decisions_total`. */
export const ACL_RESULTS = ["allowed", "denied", "would_deny"] as const;

/** One of {@linkcode ACL_RESULTS}. */
export type AclResult = typeof ACL_RESULTS[number];

/** The results of reloads: the `result` label of `mtlsd_reloads_total`. */
export const RELOAD_RESULTS = ["success", "failure"] as const;

/** One of {@linkcode RELOAD_RESULTS}. */
export type ReloadResult = typeof RELOAD_RESULTS[number];

/** The own leaf certificate, or the CA in the bundle that expires first. */
export type CertRole = "own" | "ca";

/**
 * Records what the connections of a tunnel do. The methods never throw, so an error here cannot end
 * a connection.
 */
export interface TunnelMetrics {
  /** A connection was accepted. `connectionClosed` follows exactly once. */
  connectionAccepted(): void;
  /** An accepted connection ended after `seconds`. */
  connectionClosed(reason: CloseReason, seconds: number): void;
  /** `count` bytes were sent to the other side. Called for every chunk, so it must be cheap. */
  bytesProxied(direction: Direction, count: number): void;
  /** The ACL was evaluated. */
  aclDecision(result: AclResult): void;
  /** A client connected without a certificate, which is not requested or optional. */
  peerWithoutCertificate(): void;
  /** A TLS handshake succeeded and took `seconds`. */
  handshakeDone(seconds: number): void;
  /** A TLS handshake failed. */
  handshakeFailed(reason: HandshakeReason): void;
  /** A log line about an unauthenticated peer was suppressed. */
  logLineSuppressed(message: LimitedMessage): void;
  /** A connection found no target, because at least one target could not be reached. */
  dialFailed(): void;
  /**
   * The target at this index in the config, from 0, accepted a connection. `targetReleased` follows
   * once.
   */
  targetConnected(index: number): void;
  /** A connection to a target has ended. */
  targetReleased(index: number): void;
  /** A connection attempt to a target failed. */
  targetFailed(index: number): void;
  /** Whether a target counts as healthy; initially it does. */
  targetUp(index: number, up: boolean): void;
}

/** Gauges about the certificates of a tunnel. The methods never throw. */
export interface CertMetrics {
  /** When the first certificate of the role expires, in seconds since the epoch. */
  certNotAfter(role: CertRole, epochSeconds: number): void;
  /**
   * When the first revocation list in effect is due to be renewed, in seconds since the epoch. The
   * series does not exist before the first call.
   */
  crlNextUpdate(epochSeconds: number): void;
}

/** Counts reloads. */
export interface ReloadMetrics {
  /**
   * Certificates and ACLs of all tunnels were reloaded, or the reload failed. `inForce` says
   * whether everything in the files is now in effect; by default it is true after a success. Never
   * throws.
   */
  reloaded(result: ReloadResult, inForce?: boolean): void;
}

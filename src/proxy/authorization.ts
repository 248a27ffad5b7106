/**
 * Authorizes a peer whose chain was verified, and writes the log line and the metric. The same for
 * both roles and for resumed sessions.
 *
 * @module
 */

import { authorize, type Decision } from "../acl/mod.ts";
import { formatBasis, formatNearest, type Verdict } from "../acl/decision.ts";
import type { AclConfig } from "../config/config.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import type { Fields, Logger } from "../log/mod.ts";
import type { LogLimiter } from "../log/limiter.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";
import { deniedFields } from "./peer_log.ts";
import type { SessionMetrics } from "./pipeline.ts";

/** A decision, and the identity that it is about. */
export type PeerAuthorization = {
  readonly decision: Decision;
  readonly identity: PeerIdentity | undefined;
};

/** Authorizes without counting: for open connections after a reload. */
export function authorizePeer(peer: VerifiedPeer | undefined, acl: AclConfig): PeerAuthorization {
  const identity = peer && identityOf(peer.certificate, peer.spki);
  return { decision: authorize(identity, acl), identity };
}

/** Authorizes and counts: for new connections. */
export function authorizeNewPeer(
  peer: VerifiedPeer | undefined,
  acl: AclConfig,
  metrics: SessionMetrics,
): PeerAuthorization {
  const authorization = authorizePeer(peer, acl);
  const { decision } = authorization;
  if (peer === undefined) metrics.peerWithoutCertificate();
  metrics.aclDecision(!decision.admit ? "denied" : decision.wouldDeny ? "would_deny" : "allowed");
  return authorization;
}

/** Where and how to log a decision. */
export type DenialLog = {
  /** The connection's logger. */
  readonly logger: Logger;
  readonly limiter: LogLimiter;
  /** `listener` or `dialer`. */
  readonly name: string;
  /** The peer's network. */
  readonly source: string;
};

/** Log fields about the basis of a decision: the rule, and what nearly matched. */
export function basisFields({ basis }: Verdict): Fields {
  return { rule: formatBasis(basis), nearest: formatNearest(basis) };
}

/**
 * Logs a denial, or a would-be denial of rules on trial, with everything that rules look at.
 * `source` is the peer's network. Denials are rate-limited; would-be denials are not.
 */
export function logDenied(
  { logger, limiter, name, source }: DenialLog,
  authorization: PeerAuthorization,
  more: Fields,
): void {
  const { decision: { admit, verdict }, identity } = authorization;
  const { basis } = verdict;
  // Limited per key as well as per address: an attacker cannot obtain keys from the CA, so a flood
  // from one peer does not hide another peer behind the same address.
  const from = { source, peer: identity?.spki };
  if (!admit && !limiter.allows("warn", "denied connection", from)) return;
  logger.warn(admit ? `${name}: would deny connection` : `${name}: denied connection`, {
    ...deniedFields(identity),
    ...more,
    reason: denialReason(verdict),
    ...basisFields(verdict),
    shown: basis.kind === "rule" ? basis.shown : undefined,
  });
}

/** Why a peer was denied, in a few words. */
export function denialReason({ basis }: Verdict): string {
  return basis.kind === "rule" ? "a deny rule matches" : formatBasis(basis);
}

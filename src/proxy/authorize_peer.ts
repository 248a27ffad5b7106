/**
 * The decision on a peer whose chain holds, with its log line and its count. The same for both roles
 * and for resumed sessions.
 *
 * @module
 */

import { authorize, type Decision } from "../acl.ts";
import { formatBasis, formatNearest, type Verdict } from "../acl/decision.ts";
import type { AclConfig } from "../config/config.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import type { Fields, Logger } from "../logging.ts";
import type { LogLimiter } from "../logging/limiter.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import { deniedFields } from "./peer_log.ts";
import type { SessionMetrics } from "./session.ts";

/** A decision and whom it is about. */
export type Judged = { readonly decision: Decision; readonly identity: PeerIdentity | undefined };

/** Decides, without counting: for open connections after a reload. */
export function judgePeer(peer: VerifiedPeer | undefined, acl: AclConfig): Judged {
  const identity = peer && identityOf(peer.certificate, peer.spki);
  return { decision: authorize(identity, acl), identity };
}

/** Decides and counts: for a connection that asks to come in. */
export function admitPeer(
  peer: VerifiedPeer | undefined,
  acl: AclConfig,
  metrics: SessionMetrics,
): Judged {
  const judged = judgePeer(peer, acl);
  const { decision } = judged;
  if (peer === undefined) metrics.peerWithoutCertificate();
  metrics.aclDecision(!decision.admit ? "denied" : decision.wouldDeny ? "would_deny" : "allowed");
  return judged;
}

/** Who tells of a decision. */
export type Teller = {
  /** Of the connection. */
  readonly logger: Logger;
  readonly limiter: LogLimiter;
  /** `listener` or `dialer`. */
  readonly name: string;
  /** Where the peer is. */
  readonly source: string;
};

/** What decided, for the log: the rule, what nearly matched. */
export function verdictFields({ basis }: Verdict): Fields {
  return { rule: formatBasis(basis), nearest: formatNearest(basis) };
}

/**
 * Logs a denial, or one that would have been, with everything that rules look at. `source` is where the
 * peer is; of denials there may be no more than the limiter lets through.
 */
export function logDenied(
  { logger, limiter, name, source }: Teller,
  judged: Judged,
  more: Fields,
): void {
  const { decision: { admit, verdict }, identity } = judged;
  const { basis } = verdict;
  // Keys are the CA's to give out: those of another peer behind the same address are told of still.
  const from = { source, peer: identity?.spki };
  if (!admit && !limiter.allows("warn", "denied connection", from)) return;
  logger.warn(admit ? `${name}: would deny connection` : `${name}: denied connection`, {
    ...deniedFields(identity),
    ...more,
    reason: denialReason(verdict),
    ...verdictFields(verdict),
    shown: basis.kind === "rule" ? basis.shown : undefined,
  });
}

/** Why a peer is not let in, in a few words. */
export function denialReason({ basis }: Verdict): string {
  return basis.kind === "rule" ? "a deny rule matches" : formatBasis(basis);
}

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

/** What decided, for the log: the rule, what nearly matched. */
export function verdictFields({ basis }: Verdict): Fields {
  return { rule: formatBasis(basis), nearest: formatNearest(basis) };
}

/** Logs a denial, or one that would have been, with everything that rules look at. */
export function logDenied(logger: Logger, name: string, judged: Judged, more: Fields): void {
  const { decision: { admit, verdict }, identity } = judged;
  const { basis } = verdict;
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

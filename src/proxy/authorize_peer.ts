/**
 * The decision on a peer whose chain holds, with its log line and its count. The same for both roles
 * and for resumed sessions.
 *
 * @module
 */

import { authorize, type Decision, type Grant } from "../acl.ts";
import type { AclConfig } from "../config/config.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import type { Fields, Logger } from "../logging.ts";
import type { Metrics } from "../metrics.ts";
import type { Decided } from "../tls/handshake.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";
import { deniedFields } from "./peer_log.ts";

/** A decision and whom it is about. */
export type Judged = { readonly decision: Decision; readonly identity: PeerIdentity | undefined };

/** Decides while the handshake still holds back our last flight. */
export function judgePeer(
  peer: VerifiedPeer | undefined,
  acl: AclConfig,
  metrics: Metrics,
): Decided<Judged> {
  const identity = peer && identityOf(peer.certificate);
  const decision = authorize(identity, acl);
  metrics.aclDecision(decision.allowed ? "allowed" : "denied");
  return { admit: decision.allowed, value: { decision, identity } };
}

/** Logs a denial, with everything that rules look at. */
export function logDenied(logger: Logger, name: string, judged: Judged, more: Fields): void {
  if (judged.decision.allowed) return;
  logger.warn(`${name}: denied connection`, {
    ...deniedFields(judged.identity),
    ...more,
    reason: judged.decision.denial.reason,
  });
}

/** What let a peer in, as one word for the log: the rule's key and value, or why none was needed. */
export function grantText(grant: Grant): string {
  switch (grant.kind) {
    case "rule":
      return `${grant.key}: ${grant.value}`;
    case "open":
      return "no rules";
    case "anonymous":
      return "no certificate asked for or shown";
    default:
      return grant satisfies never;
  }
}

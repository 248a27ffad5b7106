/**
 * Authorizes peers whose chains were verified: new ones, and again those of open connections; and
 * writes the log lines about it. The same for both roles and for resumed sessions.
 *
 * @module
 */

import { authorize, type Decision } from "../acl/mod.ts";
import { formatBasis, formatNearest, type Verdict } from "../acl/decision.ts";
import type { AclConfig } from "../acl/rule.ts";
import { identityOf, type PeerIdentity } from "../identity.ts";
import type { LogLimiter } from "../log/limiter.ts";
import type { Fields, Logger, LogValue } from "../log/mod.ts";
import type { PeerVerifier, VerifiedPeer } from "../tls/peer_verifier.ts";
import type { Reauthorization } from "./connection_table.ts";
import type { ConnectionMetrics } from "./context.ts";

/** A decision, and the identity that it is about. */
export type PeerAuthorization = {
  readonly decision: Decision;
  readonly identity: PeerIdentity | undefined;
};

/** Authorizes without counting; `undefined` is a peer without a certificate. */
export function authorizePeer(peer: VerifiedPeer | undefined, acl: AclConfig): PeerAuthorization {
  const identity = peer && identityOf(peer.certificate, peer.spki);
  return { decision: authorize(identity, acl), identity };
}

/** Authorizes the peer of a new connection, and counts the decision. */
export function authorizeNewPeer(
  peer: VerifiedPeer | undefined,
  acl: AclConfig,
  metrics: ConnectionMetrics,
): PeerAuthorization {
  const authorization = authorizePeer(peer, acl);
  const { decision } = authorization;
  if (peer === undefined) metrics.peerWithoutCertificate();
  metrics.aclDecision(!decision.admit ? "denied" : decision.wouldDeny ? "would_deny" : "allowed");
  return authorization;
}

/**
 * Verifies again the chain that the peer of an open connection showed, then authorizes its
 * identity. In audit mode the rules end no connection.
 */
export function reauthorizePeer(
  peer: VerifiedPeer | undefined,
  verifier: Pick<PeerVerifier, "verifyNow">,
  acl: AclConfig,
): Reauthorization {
  const result = peer && verifier.verifyNow(peer.chain);
  if (peer !== undefined && result?.ok === false) {
    const { reason, detail } = result;
    const fields = { ...deniedFields(identityOf(peer.certificate, peer.spki)), error: detail };
    const kept = reason === "expired" || reason === "revoked";
    return { authorized: false, ending: { reason: kept ? reason : "untrusted", fields } };
  }
  const current = result?.ok === true ? result.peer : undefined;
  const { decision, identity } = authorizePeer(current, acl);
  if (decision.admit) return { authorized: true, peer: current };
  const fields = {
    ...deniedFields(identity),
    error: denialReason(decision.verdict),
    ...basisFields(decision.verdict),
  };
  return { authorized: false, ending: { reason: "denied", fields } };
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

/**
 * Logs a denial, or a would-be denial in audit mode, with everything that rules look at.
 * Denials are rate-limited; would-be denials are not.
 *
 * @param reason why, where it is not the rules that deny.
 */
export function logDenied(
  { logger, limiter, name, source }: DenialLog,
  { decision: { admit, verdict }, identity }: PeerAuthorization,
  more: Fields,
  reason?: string,
): void {
  const { basis } = verdict;
  const denied = !admit || reason !== undefined;
  // Limited per key as well as per address: an attacker cannot obtain keys from the CA, so a flood
  // from one peer does not hide another peer behind the same address.
  if (denied && !limiter.allows("warn", "denied connection", { source, peer: identity?.spki })) {
    return;
  }
  logger.warn(denied ? `${name}: denied connection` : `${name}: would deny connection`, {
    ...deniedFields(identity),
    ...more,
    reason: reason ?? denialReason(verdict),
    ...basisFields(verdict),
    shown: reason === undefined && basis.kind === "rule" ? basis.shown : undefined,
  });
}

/** Log fields about the basis of a decision: the rule, and what nearly matched. */
export function basisFields({ basis }: Verdict): Fields {
  return { rule: formatBasis(basis), nearest: formatNearest(basis) };
}

/** Why a peer was denied, in a few words. */
function denialReason({ basis }: Verdict): string {
  return basis.kind === "rule" ? "a deny rule matches" : formatBasis(basis);
}

/**
 * The log fields that identify an admitted peer. The values are chosen by the peer; the logger
 * escapes them.
 */
export function peerFields(peer: PeerIdentity | undefined): Fields {
  if (peer === undefined) return { peer_cn: "" };
  return { peer_cn: oneOrList(peer.commonNames.map(({ guess }) => guess)) ?? "" };
}

/** The log fields of a denied peer: everything that rules look at. */
function deniedFields(peer: PeerIdentity | undefined): Fields {
  if (peer === undefined) return peerFields(peer);
  return {
    ...peerFields(peer),
    peer_org: oneOrList(peer.organizations.map(({ guess }) => guess)),
    peer_ou: oneOrList(peer.organizationalUnits.map(({ guess }) => guess)),
    peer_san: oneOrList(peer.subjectAltNames),
    peer_spki: `sha256:${peer.spki}`,
    peer_serial: peer.serial,
    peer_issuer: peer.issuer,
  };
}

function oneOrList(values: readonly string[]): LogValue {
  return values.length > 1 ? values : values[0];
}

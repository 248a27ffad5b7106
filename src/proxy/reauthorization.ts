/**
 * Reauthorizes the peer of an open connection: repeats verification and authorization with the
 * current state.
 *
 * @module
 */

import type { AclConfig } from "../config/config.ts";
import { identityOf } from "../identity.ts";
import type { PeerVerifier, VerifiedPeer } from "../tls/peer_verifier.ts";
import { authorizePeer, basisFields, denialReason } from "./authorization.ts";
import type { Reauthorization } from "./connection_table.ts";
import type { CloseReason, HandshakeReason } from "../outcome.ts";
import { deniedFields } from "./peer_log.ts";

/**
 * Verifies the chain that the peer showed, then authorizes its identity. Rules on trial end no
 * connection.
 */
export function reauthorizePeer(
  peer: VerifiedPeer | undefined,
  verifier: Pick<PeerVerifier, "verifyNow">,
  acl: AclConfig,
): Reauthorization {
  const verdict = peer && verifier.verifyNow(peer.chain);
  if (peer !== undefined && verdict?.ok === false) {
    const fields = { ...deniedFields(identityOf(peer.certificate, peer.spki)) };
    return {
      authorized: false,
      ending: { reason: lostTrust(verdict.reason), fields: { ...fields, error: verdict.detail } },
    };
  }
  const now = verdict?.ok === true ? verdict.peer : undefined;
  const { decision, identity } = authorizePeer(now, acl);
  if (decision.admit) return { authorized: true, peer: now };
  const fields = {
    ...deniedFields(identity),
    error: denialReason(decision.verdict),
    ...basisFields(decision.verdict),
  };
  return { authorized: false, ending: { reason: "denied", fields } };
}

/** The close reason of a connection whose peer's chain no longer verifies. */
function lostTrust(fault: HandshakeReason): CloseReason {
  return fault === "expired" || fault === "revoked" ? fault : "untrusted";
}

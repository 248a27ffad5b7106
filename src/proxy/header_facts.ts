/**
 * The facts about the client's TLS that a PROXY header carries.
 *
 * @module
 */

import type { PeerIdentity } from "../identity.ts";
import { soleCommonName, type TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Session } from "../tls/handshake.ts";
import type { VerifiedPeer } from "../tls/peer_verifier.ts";

/** Collects the facts for a PROXY header. Only a verified certificate is included. */
export function tlsFacts(
  { protocol, alpn, serverName, cipher, resumed }: Session,
  peer: VerifiedPeer | undefined,
  identity: PeerIdentity | undefined,
): TlsFacts {
  const certificate = peer === undefined ? undefined : {
    der: peer.certificate.der,
    commonName: identity && soleCommonName(identity),
    resumed,
  };
  return { protocol, alpn, serverName, cipher, certificate };
}

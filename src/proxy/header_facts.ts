/**
 * What a target is told about the TLS that its client speaks.
 *
 * @module
 */

import type { PeerIdentity } from "../identity.ts";
import { soleCommonName, type TlsFacts } from "../proxy_protocol/tls_facts.ts";
import type { Session } from "../tls/handshake.ts";
import type { VerifiedPeer } from "../tls/verdict.ts";

/** The facts for a PROXY header; only a certificate that was verified is told of. */
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

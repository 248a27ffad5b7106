/**
 * How the log shows a peer. The values are chosen by the peer; the logger escapes them.
 *
 * @module
 */

import type { PeerIdentity } from "../identity.ts";
import type { Fields, LogValue } from "../log/mod.ts";

function few(values: readonly string[]): LogValue {
  return values.length > 1 ? values : values[0];
}

/** The fields that identify an admitted peer. */
export function peerFields(peer: PeerIdentity | undefined): Fields {
  if (peer === undefined) return { peer_cn: "" };
  return { peer_cn: few(peer.commonNames.map(({ guess }) => guess)) ?? "" };
}

/** Everything that rules look at, for a denied peer. */
export function deniedFields(peer: PeerIdentity | undefined): Fields {
  if (peer === undefined) return peerFields(peer);
  return {
    ...peerFields(peer),
    peer_org: few(peer.organizations.map(({ guess }) => guess)),
    peer_ou: few(peer.organizationalUnits.map(({ guess }) => guess)),
    peer_san: few(peer.subjectAltNames),
    peer_spki: `sha256:${peer.spki}`,
    peer_serial: peer.serial,
    peer_issuer: peer.issuer,
  };
}

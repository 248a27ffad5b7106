/**
 * What counts as one peer where connections are counted.
 *
 * @module
 */

import { parseIp, unmapIp } from "../config/ip.ts";
import type { RemoteAddress } from "../channel.ts";
import { formatIp } from "../identity.ts";
import type { Certificate, GeneralName } from "../x509/certificate.ts";

/**
 * The identity that a certificate gives: its subject and all of its alternative names, in any order. So
 * neither a renewal (another serial, another key) nor a replica of the same service is another peer.
 */
export function certificateKey({ subject, subjectAltNames }: Certificate): string {
  const names = subjectAltNames.map((san) => JSON.stringify([san.kind, nameKey(san)]));
  return JSON.stringify(["certificate", subject.key, [...new Set(names)].sort()]);
}

/**
 * The address of a peer without a certificate, without its port. Of IPv6 it is the /64, which is what
 * one host commonly has to itself (RFC 6177), so that its addresses do not make it many.
 */
export function addressKey(remote: RemoteAddress): string {
  return JSON.stringify(["address", networkOf(remote)]);
}

/**
 * Where a peer is, as one that others share nothing with: `192.0.2.7`, also of an IPv4-mapped address,
 * or `2001:db8:1:2::/64` (RFC 6177: what one host commonly has to itself). All that comes over UNIX
 * sockets is `unix`.
 */
export function networkOf(remote: RemoteAddress): string {
  if (remote.startsWith("unix:")) return "unix";
  const host = remote.slice(0, remote.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  // A zone names the interface, not the peer.
  const bytes = parseIp(host.replace(/%.*$/, ""));
  const address = bytes && unmapIp(bytes);
  if (address === undefined) return host;
  if (address.length === 4) return address.join(".");
  return `${formatIp(address.map((byte, i) => i < 8 ? byte : 0))}/64`;
}

function nameKey(san: GeneralName): string {
  switch (san.kind) {
    case "dns":
    case "email":
    case "uri":
      return san.value;
    case "ip":
      return san.value.join(".");
    case "directory":
      return san.value.key;
    case "other":
      return String(san.tag);
    default:
      return san satisfies never;
  }
}

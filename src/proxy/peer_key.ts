/**
 * What counts as one peer where connections are counted.
 *
 * @module
 */

import { parseIp, unmapIp } from "../config/ip.ts";
import type { RemoteAddress } from "../channel.ts";
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
  const host = remote.slice(0, remote.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  // A zone names the interface, not the peer.
  const bytes = parseIp(host.replace(/%.*$/, ""));
  const address = bytes && unmapIp(bytes);
  const network = address?.length === 16 ? address.subarray(0, 8) : address;
  return JSON.stringify(["address", network?.join(".") ?? host]);
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

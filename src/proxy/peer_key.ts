/**
 * What counts as one peer when connections are counted.
 *
 * @module
 */

import { parseIp, unmapIp } from "../util/ip.ts";
import type { RemoteAddress } from "../net/conn.ts";
import { formatIp } from "../identity.ts";
import type { Certificate, GeneralName } from "../x509/certificate.ts";

/**
 * Identifies a peer by its certificate: subject and all alternative names, in any order. So a
 * renewed certificate (another serial, another key) and a replica of the same service count as the
 * same peer.
 */
export function certificateKey({ subject, subjectAltNames }: Certificate): string {
  const names = subjectAltNames.map((san) => JSON.stringify([san.kind, nameKey(san)]));
  return JSON.stringify(["certificate", subject.key, [...new Set(names)].sort()]);
}

/**
 * Identifies a peer without a certificate by its address, without the port. For IPv6 this is the
 * /64 that a host commonly has to itself (RFC 6177), so that its many addresses count as one peer.
 */
export function addressKey(remote: RemoteAddress): string {
  return JSON.stringify(["address", networkOf(remote)]);
}

/**
 * The network of a peer: `192.0.2.7`, also for an IPv4-mapped address, or `2001:db8:1:2::/64` (the
 * range that one host commonly has to itself, RFC 6177). All UNIX sockets are `unix`.
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

/**
 * Checks that a server's certificate carries the expected name (RFC 9525). Names come from subject
 * alternative names only; the subject's CN never counts.
 *
 * @module
 */

import { parseIp } from "../util/ip.ts";
import type { Certificate } from "./certificate.ts";

/**
 * Labels of letters, digits, `-` and `_`. A last label of digits is rejected: it belongs to an
 * address.
 */
const HOST = /^([a-z0-9_-]+\.)*(?!\d+\.?$)[a-z0-9_-]+\.?$/i;

function dnsMatches(pattern: string, host: string): boolean {
  // Before lower-casing, which maps some non-ASCII letters to ASCII.
  if (!HOST.test(host)) return false;
  const presented = pattern.toLowerCase().replace(/\.$/, "");
  const expected = host.toLowerCase().replace(/\.$/, "");
  if (!presented.startsWith("*.")) return presented === expected;
  const suffix = presented.slice(1);
  const label = expected.slice(0, -suffix.length);
  // A wildcard stands for one whole label, and never directly below the root: `*.com` matches
  // nothing.
  return suffix.indexOf(".", 1) !== -1 && !suffix.includes("*") && expected.endsWith(suffix) &&
    label !== "" && !label.includes(".");
}

/**
 * Whether `certificate` carries `name`. An IP address must equal an IP SAN, a DNS name a DNS SAN,
 * in which `*.` may stand for one label. No certificate carries other names: a wildcard, an address
 * with a zone, a name that is not ASCII.
 */
export function carriesName(certificate: Certificate, name: string): boolean {
  const address = parseIp(name);
  return certificate.subjectAltNames.some((san) => {
    if (address !== undefined) {
      return san.kind === "ip" && san.value.length === address.length &&
        san.value.every((byte, i) => byte === address[i]);
    }
    return san.kind === "dns" && dnsMatches(san.value, name);
  });
}

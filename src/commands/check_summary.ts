/**
 * The summary that `check` prints for a usable tunnel.
 *
 * @module
 */

import type { Credentials } from "../tls/credentials.ts";
import { nextEnd } from "../certstore/bundle.ts";
import { validity } from "../certstore/certificates.ts";
import { formatAddress } from "../config/address.ts";
import type { AclConfig, Address, TunnelConfig } from "../config/config.ts";
import { identityOf } from "../identity.ts";
import { spkiSha256 } from "../tls/fingerprint.ts";
import type { Certificate } from "../x509/certificate.ts";
import { revocationSummary } from "./check_revocation.ts";

const DAY = 86_400_000;

/** The certificates loaded for a tunnel; `upstream` is set for a bridge. */
export type TunnelMaterial = {
  readonly own: Credentials;
  readonly upstream: Credentials | undefined;
};

/** The lines about one tunnel. */
export function summary(
  tunnel: TunnelConfig,
  { own, upstream }: TunnelMaterial,
  now: number,
): readonly string[] {
  const { tls, mode } = tunnel;
  const anybody = mode === "server" && tls.clientAuth === "none";
  const optional = tls.clientAuth === "optional" ? "; a certificate is optional" : "";
  return [
    `tunnel${tunnel.name === undefined ? "" : ` "${tunnel.name}"`}: ${way(tunnel)}`,
    ...ownLines(own.leaf, now),
    `peers: ${
      anybody
        ? "anybody, no certificate is asked for"
        : `${cas(own, now)}; ${rules(tunnel.acl)}${optional}`
    }`,
    ...revocationSummary(own, now),
    ...(upstream === undefined || tunnel.upstream === undefined ? [] : [
      "towards the target:",
      ...ownLines(upstream.leaf, now),
      `peers: ${cas(upstream, now)}; ${rules(tunnel.upstream.acl)}`,
      ...revocationSummary(upstream, now),
    ]),
  ];
}

/** For example `server, TLS on :8443 to plain TCP at 127.0.0.1:8080`. */
function way({ mode, listen, targets, proxy }: TunnelConfig): string {
  const addresses = targets.map(({ address }) => address);
  const [first] = addresses;
  const at = addresses.map(formatAddress).join(", ") +
    (addresses.length === 1 ? "" : ` (${proxy.balance})`);
  const accept = mode === "client" ? plain(listen) : "TLS";
  const forward = mode === "server" ? plain(first) : "TLS";
  return `${mode}, ${accept} on ${formatAddress(listen)} to ${forward} at ${at}`;
}

function plain(address: Address | undefined): string {
  return address?.kind === "unix" ? "plain bytes" : "plain TCP";
}

function ownLines(leaf: Certificate, now: number): readonly string[] {
  const { subject, subjectAltNames } = identityOf(leaf, spkiSha256(leaf.publicKey));
  return [
    `own certificate: ${subject === "" ? "no subject" : subject}`,
    `  names: ${subjectAltNames.length === 0 ? "none" : subjectAltNames.join(", ")}`,
    `  key: ${publicKeyName(leaf)}`,
    `  valid until: ${validUntil(leaf.notAfter, now)}`,
  ];
}

function publicKeyName({ publicKey }: Certificate): string {
  switch (publicKey.kind) {
    case "ec":
      return `ECDSA ${publicKey.curve}`;
    case "rsa":
      return `RSA ${publicKey.bits}`;
    case "ed25519":
      return "Ed25519";
    case "unsupported":
      return publicKey.what;
    default:
      return publicKey satisfies never;
  }
}

function cas({ anchors }: Credentials, now: number): string {
  const end = validUntil(nextEnd(anchors, now) ?? now, now);
  if (anchors.length === 1) return `1 CA, valid until ${end}`;
  const expired = anchors.filter((anchor) => validity(anchor, now) === "expired").length;
  return `${anchors.length} CAs, ` + (expired === 0 ? "" : `${expired} of them expired, `) +
    `the ${expired === 0 ? "first" : "next"} to expire at ${end}`;
}

function rules({ allow, deny, mode, allowAnonymous }: AclConfig): string {
  const count = (side: string, n: number) => n === 0 ? [] : [`${n} ${side} ${plural(n, "rule")}`];
  const counts = [...count("allow", allow.length), ...count("deny", deny.length)];
  if (counts.length === 0) return "no rules, every valid certificate is let in";
  return counts.join(", ") +
    (mode === "audit" ? ", on trial (audit): nobody with a valid certificate is denied" : "") +
    (allowAnonymous ? ", not asked of peers without a certificate" : "");
}

function plural(n: number, word: string): string {
  return n === 1 ? word : `${word}s`;
}

/** For example `2026-03-28T23:07:44Z (12 days left)`. */
export function validUntil(notAfter: number, now: number): string {
  const time = new Date(notAfter).toISOString().replace(/\.\d+Z$/, "Z");
  const days = Math.floor((notAfter - now) / DAY);
  if (days < 0) return `${time} (expired)`;
  return `${time} (${days === 1 ? "1 day" : `${days} days`} left)`;
}

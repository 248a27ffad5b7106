/**
 * The summary that `check` prints for a usable tunnel, and its warnings about revocation lists.
 * Loading has already verified the lists.
 *
 * @module
 */

import type { Credentials } from "../x509/credentials.ts";
import { nextEnd } from "../certstore/bundle.ts";
import { formatTime, validity } from "../certstore/certificates.ts";
import { formatAddress } from "../config/address.ts";
import type { Address, TunnelConfig } from "../config/config.ts";
import type { AclConfig } from "../acl/rule.ts";
import { identityOf } from "../identity.ts";
import { spkiSha256 } from "../tls/signature.ts";
import type { Certificate } from "../x509/certificate.ts";
import { quote } from "../util/text.ts";
import { formatName } from "../x509/names.ts";
import { type Revocation, sameKey } from "../x509/revocation.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** A list should have been renewed when less than this fraction of its lifetime is left. */
const LAST_PART = 0.1;

/** The certificates loaded for a tunnel; `upstream` is set for a bridge. */
export type TunnelCredentials = {
  readonly own: Credentials;
  readonly upstream: Credentials | undefined;
};

/** The lines about one tunnel. */
export function summary(
  tunnel: TunnelConfig,
  { own, upstream }: TunnelCredentials,
  now: number,
): readonly string[] {
  const { tls, mode } = tunnel;
  const anonymous = mode === "server" && tls.clientAuth === "none";
  const optional = tls.clientAuth === "optional" ? "; a certificate is optional" : "";
  return [
    `tunnel${tunnel.name === undefined ? "" : ` "${tunnel.name}"`}: ${way(tunnel)}`,
    ...ownLines(own.leaf, now),
    `peers: ${
      anonymous
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
    (mode === "audit" ? ", on trial (audit): no peer with a valid certificate is denied" : "") +
    (allowAnonymous ? ", not asked of peers without a certificate" : "");
}

function plural(n: number, word: string): string {
  return n === 1 ? word : `${word}s`;
}

/** For example `2026-03-28T23:07:44Z (12 days left)`. */
export function validUntil(notAfter: number, now: number): string {
  const time = formatTime(notAfter);
  const days = Math.floor((notAfter - now) / DAY);
  if (days < 0) return `${time} (expired)`;
  return `${time} (${days === 1 ? "1 day" : `${days} days`} left)`;
}

/** Warnings about lists that are due to be renewed. `now` is in milliseconds since the epoch. */
export function revocationWarnings({ revocation }: Credentials, now: number): readonly string[] {
  return revocation.lists
    .filter(({ thisUpdate, nextUpdate }) =>
      nextUpdate - now < LAST_PART * (nextUpdate - thisUpdate)
    )
    .map(({ issuer, nextUpdate }) =>
      `tls.crl: the list of ${quote(formatName(issuer.subject))} cannot be loaded any more after ` +
      `${formatTime(nextUpdate)} (${timeLeft(nextUpdate - now)} left); fetch the next one`
    );
}

/** One line for each list, and one for each CA without a list. */
function revocationSummary(
  { anchors, intermediates, revocation }: Credentials,
  now: number,
): readonly string[] {
  if (revocation.lists.length === 0) return [];
  return [
    ...revocation.lists.map(({ issuer, entries, nextUpdate, distributionPoint }) =>
      `revocation list: ${formatName(issuer.subject)}, ` +
      (distributionPoint === undefined
        ? ""
        : `as published at ${quote(distributionPoint, 200)}, `) +
      `${entries} ${entries === 1 ? "entry" : "entries"}, ` +
      `next update ${formatTime(nextUpdate)} (${timeLeft(nextUpdate - now)} left)`
    ),
    ...[...anchors, ...intermediates]
      .filter((anchor) => anchor.basicConstraints?.ca === true && !isCovered(anchor, revocation))
      .map(({ subject }) =>
        `no revocation list: ${formatName(subject)}, what it signed is not looked up`
      ),
  ];
}

function isCovered({ subject, publicKey }: Certificate, { byIssuer }: Revocation): boolean {
  const lists = byIssuer.get(subject.key) ?? [];
  return lists.some(({ issuer }) => sameKey(issuer.publicKey, publicKey));
}

/** For example `3 days` or `1 hour`. */
function timeLeft(ms: number): string {
  const [count, unit] = ms < 2 * DAY ? [ms / HOUR, "hour"] : [ms / DAY, "day"];
  const whole = Math.floor(count);
  return `${whole} ${unit}${whole === 1 ? "" : "s"}`;
}

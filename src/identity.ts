/**
 * Who a peer is, by its verified certificate. The values are the peer's words: they are compared
 * exactly, and escaped wherever they are shown.
 *
 * @module
 */

import type { Certificate } from "./x509/certificate.ts";
import { ATTRIBUTE, formatName, toHex } from "./x509/names.ts";

/** The facts of a certificate that rules and the log look at. */
export type PeerIdentity = {
  /** Every CN of the subject, as written. */
  readonly commonNames: readonly string[];
  /** Every O of the subject, as written. */
  readonly organizations: readonly string[];
  /** Every subject alternative name as `DNS:...`, `IP:...`, `URI:...`, `email:...`. */
  readonly subjectAltNames: readonly string[];
  /** Lower-case hex. */
  readonly serial: string;
  /** The issuer's name, for people. */
  readonly issuer: string;
  /** The subject's name, for people. */
  readonly subject: string;
};

/** Stands for a value whose text cannot be told; no rule matches it. */
const UNREADABLE = "\ufffd";

function attribute(certificate: Certificate, oid: string): readonly string[] {
  return certificate.subject.attributes
    .filter((attribute) => attribute.oid === oid)
    // What cannot be read still counts: a second CN makes a subject ambiguous, readable or not.
    .map(({ value }) => value ?? UNREADABLE);
}

/** An address as text: dotted for IPv4, eight groups for IPv6. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, i) => (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return groups.join(":");
}

/** What a verified certificate says about its holder. */
export function identityOf(certificate: Certificate): PeerIdentity {
  return {
    commonNames: attribute(certificate, ATTRIBUTE.commonName),
    organizations: attribute(certificate, ATTRIBUTE.organization),
    subjectAltNames: certificate.subjectAltNames.map((name) => {
      switch (name.kind) {
        case "dns":
          return `DNS:${name.value}`;
        case "email":
          return `email:${name.value}`;
        case "uri":
          return `URI:${name.value}`;
        case "ip":
          return `IP:${formatIp(name.value)}`;
        case "directory":
          return `DirName:${formatName(name.value)}`;
        case "other":
          return `other:${toHex(Uint8Array.of(name.tag))}`;
        default:
          return name satisfies never;
      }
    }),
    serial: certificate.serial,
    issuer: formatName(certificate.issuer),
    subject: formatName(certificate.subject),
  };
}

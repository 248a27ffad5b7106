/**
 * The identity of a peer, from its verified certificate. The values come from the peer: they are
 * compared exactly, and escaped wherever they are displayed.
 *
 * @module
 */

import type { Certificate, GeneralName } from "./x509/certificate.ts";
import { ATTRIBUTE, formatName } from "./x509/names.ts";

/** One value of a subject attribute. */
export type SubjectValue = {
  /** The decoded string exactly as written; `undefined` if parsers could disagree on its text. */
  readonly text: string | undefined;
  /** What a lenient parser may read; for deny rules and the log. */
  readonly guess: string;
};

/** The parts of a certificate that rules and the log use. */
export type PeerIdentity = {
  /** Every CN of the subject. */
  readonly commonNames: readonly SubjectValue[];
  /** Every O of the subject. */
  readonly organizations: readonly SubjectValue[];
  /** Every OU of the subject. */
  readonly organizationalUnits: readonly SubjectValue[];
  /** Every DNS SAN, as written. */
  readonly dnsNames: readonly string[];
  /** Every IP SAN, 4 or 16 bytes. */
  readonly ipAddresses: readonly Uint8Array[];
  /** Every URI SAN, as written. */
  readonly uris: readonly string[];
  /** SHA-256 of the SubjectPublicKeyInfo, base64. */
  readonly spki: string;
  /** Every subject alternative name as `DNS:...`, `IP:...`, `URI:...`, `email:...`. */
  readonly subjectAltNames: readonly string[];
  /** Lower-case hex. */
  readonly serial: string;
  /** The issuer's name, for display. */
  readonly issuer: string;
  /** The subject's name, for display. */
  readonly subject: string;
};

function attribute(certificate: Certificate, oid: string): readonly SubjectValue[] {
  return certificate.subject.attributes
    .filter((attribute) => attribute.oid === oid)
    // Values that cannot be decoded count too: a second CN makes a subject ambiguous in any case.
    .map(({ value, guess }) => ({ text: value, guess }));
}

/**
 * An address as text: dotted for IPv4, RFC 5952 for IPv6. An IPv4-mapped address is written in hex
 * groups like any other IPv6 address.
 */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16)).join(":");
  // The longest run of at least two groups of zeros; the first one if there are several.
  const [longest] = [...text.matchAll(/(?<![^:])0(?::0)+(?![^:])/g)]
    .toSorted(([a], [b]) => b.length - a.length);
  if (longest === undefined) return text;
  const head = text.slice(0, longest.index).replace(/:$/, "");
  const tail = text.slice(longest.index + longest[0].length).replace(/^:/, "");
  return `${head}::${tail}`;
}

function formatSan(name: GeneralName): string {
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
      return `other:${name.tag.toString(16)}`;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return name satisfies never;
  }
}

/**
 * For messages about a server with unexpected names: how many to list, and the maximum length of
 * each.
 */
const MAX_NAMES = 8;
const MAX_NAME_LENGTH = 80;

/** The names in a server certificate, up to a limit, as text for a message. */
export function namesOf({ subjectAltNames, subject }: Certificate): string {
  const names = subjectAltNames.filter(({ kind }) => kind === "dns" || kind === "ip");
  if (names.length === 0) {
    const named = subject.attributes.some(({ oid }) => oid === ATTRIBUTE.commonName);
    return "it carries no DNS name or IP address (SAN)" +
      (named ? ", and the CN of its subject does not count" : "");
  }
  const shown = names.slice(0, MAX_NAMES).map((name) => {
    const text = formatSan(name);
    return text.length > MAX_NAME_LENGTH ? `${text.slice(0, MAX_NAME_LENGTH)}...` : text;
  });
  const more = names.length - shown.length;
  return `it carries ${shown.join(", ")}${more === 0 ? "" : ` and ${more} more`}`;
}

/**
 * The identity in a verified certificate.
 *
 * @param spki SHA-256 of its public key, base64.
 */
export function identityOf(certificate: Certificate, spki: string): PeerIdentity {
  const sans = certificate.subjectAltNames;
  return {
    commonNames: attribute(certificate, ATTRIBUTE.commonName),
    organizations: attribute(certificate, ATTRIBUTE.organization),
    organizationalUnits: attribute(certificate, ATTRIBUTE.organizationalUnit),
    dnsNames: sans.flatMap((san) => san.kind === "dns" ? [san.value] : []),
    ipAddresses: sans.flatMap((san) => san.kind === "ip" ? [san.value] : []),
    uris: sans.flatMap((san) => san.kind === "uri" ? [san.value] : []),
    spki,
    subjectAltNames: sans.map(formatSan),
    serial: certificate.serial,
    issuer: formatName(certificate.issuer),
    subject: formatName(certificate.subject),
  };
}

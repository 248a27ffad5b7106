/**
 * The certificate extensions that path validation processes (RFC 5280 section 4.2).
 *
 * @module
 */

import {
  type Certificate,
  CertificateError,
  type GeneralName,
  type KeyUsage,
  type NameConstraints,
} from "./certificate.ts";
import {
  DerReader,
  readDefaultFalse,
  readNamedBits,
  readOid,
  readSmallInteger,
  sequence,
  TAG,
} from "./der.ts";
import { readGeneralName } from "./names.ts";

/** What the extensions of a certificate say. */
export type Extensions = Pick<
  Certificate,
  | "basicConstraints"
  | "keyUsage"
  | "extendedKeyUsage"
  | "subjectAltNames"
  | "nameConstraints"
  | "unknownCritical"
>;

/** A certificate without extensions. */
export const NO_EXTENSIONS: Extensions = {
  basicConstraints: undefined,
  keyUsage: undefined,
  extendedKeyUsage: undefined,
  subjectAltNames: [],
  nameConstraints: undefined,
  unknownCritical: [],
};

function readBasicConstraints(value: Uint8Array): Extensions["basicConstraints"] {
  const what = "basic constraints";
  const reader = sequence(value, what);
  const ca = readDefaultFalse(reader, what);
  const length = reader.optional(what, TAG.integer);
  reader.end(what);
  return { ca, pathLength: length && readSmallInteger(length.content, what) };
}

function readKeyUsage(value: Uint8Array): KeyUsage {
  const what = "key usage";
  const reader = new DerReader(value);
  const [first = 0] = readNamedBits(reader.next(what, TAG.bitString).content, what);
  reader.end(what);
  return {
    digitalSignature: (first & 0x80) !== 0,
    keyCertSign: (first & 0x04) !== 0,
    cRLSign: (first & 0x02) !== 0,
  };
}

function readExtendedKeyUsage(value: Uint8Array): readonly string[] {
  const what = "extended key usage";
  const reader = sequence(value, what);
  const purposes: string[] = [];
  while (!reader.done) purposes.push(readOid(reader.next(what, TAG.oid).content, what));
  if (purposes.length === 0) throw new CertificateError(`${what} is empty`);
  return purposes;
}

function readSubjectAltNames(value: Uint8Array): readonly GeneralName[] {
  const what = "subject alternative name";
  const reader = sequence(value, what);
  const names: GeneralName[] = [];
  while (!reader.done) names.push(readGeneralName(reader.next(what), [4, 16], what));
  if (names.length === 0) throw new CertificateError(`${what} is empty`);
  return names;
}

function readSubtrees(content: Uint8Array | undefined): readonly GeneralName[] {
  if (content === undefined) return [];
  const what = "name constraints";
  const reader = new DerReader(content);
  const names: GeneralName[] = [];
  while (!reader.done) {
    const subtree = new DerReader(reader.next(what, TAG.sequence).content);
    names.push(readGeneralName(subtree.next(what), [8, 32], what));
    // `minimum` is 0 and `maximum` absent in every profile: nobody knows what else would mean.
    subtree.end(what);
  }
  if (names.length === 0) throw new CertificateError(`${what} has an empty list`);
  return names;
}

function readNameConstraints(value: Uint8Array): NameConstraints {
  const what = "name constraints";
  const reader = sequence(value, what);
  const permitted = reader.optional(what, 0xa0)?.content;
  const excluded = reader.optional(what, 0xa1)?.content;
  reader.end(what);
  if (permitted === undefined && excluded === undefined) {
    throw new CertificateError(`${what} is empty`);
  }
  return { permitted: readSubtrees(permitted), excluded: readSubtrees(excluded) };
}

/**
 * Policies are not asked for here, so a critical list of them restricts nothing (RFC 5280 section
 * 6.1 with any-policy as the initial set). Extensions that change how they are processed stay
 * unknown, and so refuse the certificate where they are critical.
 */
const CERTIFICATE_POLICIES = "2.5.29.32";

/**
 * Not processed, but the engine below reads its outer SEQUENCE, and fails on a certificate where it
 * is none: so must this reader (see `parse.ts`).
 */
const CRL_DISTRIBUTION_POINTS = "2.5.29.31";

/**
 * `extensions` with one more.
 *
 * @throws {CertificateError} when its value is not what its OID says.
 */
export function readExtension(
  extensions: Extensions,
  oid: string,
  critical: boolean,
  value: Uint8Array,
): Extensions {
  if (oid === CRL_DISTRIBUTION_POINTS) sequence(value, "CRL distribution points");
  switch (oid) {
    case "2.5.29.15":
      return { ...extensions, keyUsage: readKeyUsage(value) };
    case "2.5.29.17":
      return { ...extensions, subjectAltNames: readSubjectAltNames(value) };
    case "2.5.29.19":
      return { ...extensions, basicConstraints: readBasicConstraints(value) };
    case "2.5.29.30":
      return { ...extensions, nameConstraints: readNameConstraints(value) };
    case "2.5.29.37":
      return { ...extensions, extendedKeyUsage: readExtendedKeyUsage(value) };
    case CERTIFICATE_POLICIES:
      return extensions;
    default:
      return critical
        ? { ...extensions, unknownCritical: [...extensions.unknownCritical, oid] }
        : extensions;
  }
}

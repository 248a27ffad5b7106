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
  type PolicyExtensions,
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
import { isAsciiForm, readGeneralName } from "./names.ts";

/** The parsed extensions of a certificate. */
export type Extensions = Pick<
  Certificate,
  | "basicConstraints"
  | "keyUsage"
  | "extendedKeyUsage"
  | "subjectAltNames"
  | "nameConstraints"
  | "policy"
  | "unknownCritical"
  | "tlsCannotRead"
>;

/** No policy extensions. */
const NO_POLICY: PolicyExtensions = Object.freeze({
  policies: undefined,
  mappings: [],
  requireExplicitPolicy: undefined,
  inhibitPolicyMapping: undefined,
  inhibitAnyPolicy: undefined,
});

/** The extensions of a certificate that has none. */
export const NO_EXTENSIONS: Extensions = {
  basicConstraints: undefined,
  keyUsage: undefined,
  extendedKeyUsage: undefined,
  subjectAltNames: [],
  nameConstraints: undefined,
  policy: NO_POLICY,
  unknownCritical: [],
  tlsCannotRead: undefined,
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
    const base = readGeneralName(subtree.next(what), [8, 32], what);
    if (base.kind === "other" && isAsciiForm(base.tag)) {
      throw new CertificateError(`${what} is not ASCII`);
    }
    names.push(base);
    // RFC 5280 requires `minimum` to be 0, which DER omits, and `maximum` to be absent.
    const minimum = subtree.optional(what, 0x80);
    if (minimum !== undefined && readSmallInteger(minimum.content, what) !== 0) {
      throw new CertificateError(`${what} has a minimum that is not 0`);
    }
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
 * Parses an OID into the hex of its content: policies are only compared, and there may be
 * thousands.
 */
function readPolicy(reader: DerReader, what: string): string {
  const { content } = reader.next(what, TAG.oid);
  let fresh = true;
  for (const byte of content) {
    if (fresh && byte === 0x80) throw new CertificateError(`${what} is an OID that is not DER`);
    fresh = (byte & 0x80) === 0;
  }
  if (content.length === 0 || !fresh) throw new CertificateError(`${what} is not an OID`);
  return content.toHex();
}

/** Policy qualifiers that are for people only and do not affect path validation (RFC 5280). */
const QUALIFIERS = ["1.3.6.1.5.5.7.2.1", "1.3.6.1.5.5.7.2.2"];

/** Parses the policies, and whether all of their qualifiers are in {@linkcode QUALIFIERS}. */
function readPolicies(value: Uint8Array): { policies: readonly string[]; known: boolean } {
  const what = "certificate policies";
  const reader = sequence(value, what);
  const policies: string[] = [];
  let known = true;
  while (!reader.done) {
    const information = new DerReader(reader.next(what, TAG.sequence).content);
    policies.push(readPolicy(information, what));
    const qualifiers = information.optional(what, TAG.sequence);
    information.end(what);
    if (qualifiers === undefined) continue;
    for (const list = new DerReader(qualifiers.content); !list.done;) {
      const qualifier = new DerReader(list.next(what, TAG.sequence).content);
      const oid = readOid(qualifier.next(what, TAG.oid).content, what);
      qualifier.next(what);
      qualifier.end(what);
      known &&= QUALIFIERS.includes(oid);
    }
  }
  if (policies.length === 0) throw new CertificateError(`${what} is empty`);
  return { policies, known };
}

function readPolicyMappings(value: Uint8Array): PolicyExtensions["mappings"] {
  const what = "policy mappings";
  const reader = sequence(value, what);
  const mappings: { issuer: string; subject: string }[] = [];
  while (!reader.done) {
    const pair = new DerReader(reader.next(what, TAG.sequence).content);
    mappings.push({ issuer: readPolicy(pair, what), subject: readPolicy(pair, what) });
    pair.end(what);
  }
  if (mappings.length === 0) throw new CertificateError(`${what} is empty`);
  return mappings;
}

function readPolicyConstraints(
  value: Uint8Array,
): Pick<PolicyExtensions, "requireExplicitPolicy" | "inhibitPolicyMapping"> {
  const what = "policy constraints";
  const reader = sequence(value, what);
  const explicit = reader.optional(what, 0x80);
  const mapping = reader.optional(what, 0x81);
  reader.end(what);
  if (explicit === undefined && mapping === undefined) {
    throw new CertificateError(`${what} is empty`);
  }
  return {
    requireExplicitPolicy: explicit && readSmallInteger(explicit.content, what),
    inhibitPolicyMapping: mapping && readSmallInteger(mapping.content, what),
  };
}

function readInhibitAnyPolicy(value: Uint8Array): number {
  const what = "inhibitAnyPolicy";
  const reader = new DerReader(value);
  const count = readSmallInteger(reader.next(what, TAG.integer).content, what);
  reader.end(what);
  return count;
}

/** Names of the policy extensions for messages, by OID. */
const POLICY_NAMES: Readonly<Record<string, string>> = {
  "2.5.29.32": "certificate policies",
  "2.5.29.33": "policy mappings",
  "2.5.29.36": "policy constraints",
  "2.5.29.54": "inhibitAnyPolicy",
};

/**
 * Not processed. But the runtime's TLS reads its outer SEQUENCE, and cannot parse a certificate
 * where it is anything else, so this parser has to reject that too (see `parse.ts`).
 */
const CRL_DISTRIBUTION_POINTS = "2.5.29.31";

/** Collects extensions one by one, in time linear in their bytes. */
export class ExtensionReader {
  #found: Extensions = NO_EXTENSIONS;
  readonly #unknownCritical: string[] = [];

  /** The extensions parsed so far. */
  get extensions(): Extensions {
    return { ...this.#found, unknownCritical: this.#unknownCritical };
  }

  #set(found: Partial<Extensions>): void {
    this.#found = { ...this.#found, ...found };
  }

  #setPolicy(found: Partial<PolicyExtensions>): void {
    this.#set({ policy: { ...this.#found.policy, ...found } });
  }

  /**
   * Parses one more extension.
   *
   * @throws {CertificateError} when the value is not valid for the OID.
   */
  add(oid: string, critical: boolean, value: Uint8Array): void {
    const policy = POLICY_NAMES[oid];
    if (critical && policy !== undefined && this.#found.tlsCannotRead === undefined) {
      this.#set({ tlsCannotRead: `critical ${policy} (extension ${oid})` });
    }
    if (oid === CRL_DISTRIBUTION_POINTS) sequence(value, "CRL distribution points");
    switch (oid) {
      case "2.5.29.15":
        return this.#set({ keyUsage: readKeyUsage(value) });
      case "2.5.29.17":
        return this.#set({ subjectAltNames: readSubjectAltNames(value) });
      case "2.5.29.19":
        return this.#set({ basicConstraints: readBasicConstraints(value) });
      case "2.5.29.30":
        return this.#set({ nameConstraints: readNameConstraints(value) });
      case "2.5.29.32": {
        const { policies, known } = readPolicies(value);
        // RFC 5280 section 4.2.1.4: the qualifiers of a critical list have to be understood as
        // well.
        if (critical && !known) this.#unknownCritical.push(oid);
        return this.#setPolicy({ policies });
      }
      case "2.5.29.33":
        return this.#setPolicy({ mappings: readPolicyMappings(value) });
      case "2.5.29.36":
        return this.#setPolicy(readPolicyConstraints(value));
      case "2.5.29.37":
        return this.#set({ extendedKeyUsage: readExtendedKeyUsage(value) });
      case "2.5.29.54":
        return this.#setPolicy({ inhibitAnyPolicy: readInhibitAnyPolicy(value) });
      default:
        if (critical) this.#unknownCritical.push(oid);
    }
  }
}

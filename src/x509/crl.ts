/**
 * Parses DER to {@linkcode CertificateList}: a complete revocation list (RFC 5280 section 5), as
 * strictly as a certificate but of any length.
 *
 * Rejected besides invalid DER: lists that hold only a part of what is revoked (delta lists, and
 * those whose issuing distribution point limits them to some certificates or reasons), indirect
 * lists about other issuers' certificates, critical extensions that are not processed, and lists
 * without `nextUpdate`, whose expiry cannot be determined. Version 1, which `openssl ca` writes by
 * default, is accepted: it can carry no extensions, and so none that would have to be understood.
 *
 * @module
 */

import { readSignatureAlgorithm } from "./algorithms.ts";
import { CertificateError, type Name, type SignatureAlgorithm } from "./certificate.ts";
import {
  DerReader,
  type Element,
  readBitString,
  readBoolean,
  readDefaultFalse,
  readOid,
  readSerial,
  readTime,
  readUnsigned,
  sequence,
  TAG,
} from "./der.ts";
import { readGeneralName, readName } from "./names.ts";

/**
 * A parsed revocation list whose signature is not verified yet. Times are milliseconds since the
 * epoch.
 */
export type CertificateList = {
  /** The part that the issuer signed. Like `signature`, a view of the parsed bytes. */
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly thisUpdate: number;
  /** When the next list is due; from then on this one is too old. */
  readonly nextUpdate: number;
  /** The CRL number, lower-case hex; `undefined` without the extension. */
  readonly number: string | undefined;
  /**
   * Where the list is published, from its issuing distribution point; `undefined` without a name.
   */
  readonly distributionPoint: string | undefined;
  /** Serial numbers that are revoked or on hold, formatted like {@linkcode Certificate.serial}. */
  readonly serials: ReadonlySet<string>;
  /** Number of entries in the list. */
  readonly entries: number;
};

const DELTA_CRL_INDICATOR = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
const CERTIFICATE_ISSUER = "2.5.29.29";
const CRL_NUMBER = "2.5.29.20";
const REASON_CODE = "2.5.29.21";

const INDIRECT_LIST = "it is an indirect list, about certificates of other issuers; " +
  "use the list of each issuer";

/**
 * Extensions that change the meaning of a list, and why it is rejected, whether they are critical
 * or not.
 */
const REFUSED: Readonly<Record<string, string>> = {
  [DELTA_CRL_INDICATOR]: "it is a delta list, which holds only what has changed; " +
    "use the complete list",
  [CERTIFICATE_ISSUER]: INDIRECT_LIST,
};

/** RFC 5280 section 5.3.1: reasons range from `unspecified` to `aACompromise`; 7 is not used. */
const REMOVE_FROM_CRL = 8;
const LAST_REASON = 10;

function fail(message: string): never {
  throw new CertificateError(message);
}

/** Parses a list of extensions and passes each one to `take`, which returns whether it is known. */
function readExtensions(
  list: DerReader,
  what: string,
  take: (oid: string, value: Uint8Array) => boolean,
): void {
  if (list.done) fail(`${what} list is empty`);
  const seen: string[] = [];
  while (!list.done) {
    const extension = new DerReader(list.next(what, TAG.sequence).content);
    const oid = readOid(extension.next(what, TAG.oid).content, what);
    const critical = readDefaultFalse(extension, `${what} ${oid} criticality`);
    const value = extension.next(what, TAG.octetString).content;
    extension.end(what);
    if (seen.includes(oid)) fail(`${what} ${oid} stands there twice`);
    seen.push(oid);
    const refused = REFUSED[oid];
    if (refused !== undefined) fail(refused);
    if (!take(oid, value) && critical) {
      fail(`it has a critical ${what} ${oid} that is not understood`);
    }
  }
}

function readReason(value: Uint8Array): void {
  const what = "reason code";
  const reader = new DerReader(value);
  const { content } = reader.next(what, TAG.enumerated);
  reader.end(what);
  const [reason = LAST_REASON + 1] = content;
  if (content.length !== 1 || reason > LAST_REASON || reason === 7) fail(`${what} is none`);
  if (reason === REMOVE_FROM_CRL) fail("it takes back a revocation, as only delta lists may");
}

function takeEntryExtension(oid: string, value: Uint8Array): boolean {
  if (oid !== REASON_CODE) return false;
  readReason(value);
  return true;
}

/**
 * Number of extension lists to remember as valid: most entries have one of the ten reasons and no
 * more.
 */
const MAX_REMEMBERED = 16;

/** Parses the entries into `serials` and returns their number. Every reason counts as revoked. */
function readEntries(list: DerReader, extensible: boolean, serials: Set<string>): number {
  const what = "entry";
  const sound = new Set<string>();
  let count = 0;
  while (!list.done) {
    count++;
    const entry = new DerReader(list.next(what, TAG.sequence).content);
    serials.add(readSerial(entry.next("serial number", TAG.integer).content));
    readTime(entry.next("revocation date"), "revocation date");
    if (entry.done) continue;
    if (!extensible) fail("entry has extensions, which version 1 does not know");
    const extensions = entry.next("entry extension", TAG.sequence).content;
    entry.end(what);
    const text = extensions.toHex();
    if (sound.has(text)) continue;
    readExtensions(new DerReader(extensions), "entry extension", takeEntryExtension);
    if (sound.size < MAX_REMEMBERED) sound.add(text);
  }
  return count;
}

/** Parses the optional version: absent is 1; the only other one is 2, written as 1. */
function readVersion(tbs: DerReader): 1 | 2 {
  const version = tbs.optional("version", TAG.integer);
  if (version === undefined) return 1;
  const { content } = version;
  if (content.length !== 1 || content[0] !== 1) fail("it has an unknown version; only 2 is in use");
  return 2;
}

function isTime(tag: number | undefined): boolean {
  return tag === TAG.utcTime || tag === TAG.generalizedTime;
}

type ListExtensions = Pick<CertificateList, "number" | "distributionPoint">;

const NO_EXTENSIONS: ListExtensions = { number: undefined, distributionPoint: undefined };

/**
 * Parses the CRL number and the issuing distribution point, the only list extensions that are
 * processed.
 */
function readListExtensions(explicit: Element | undefined): ListExtensions {
  let found = NO_EXTENSIONS;
  if (explicit === undefined) return found;
  readExtensions(sequence(explicit.content, "extensions"), "extension", (oid, value) => {
    switch (oid) {
      case CRL_NUMBER:
        found = { ...found, number: readNumber(value) };
        return true;
      case ISSUING_DISTRIBUTION_POINT:
        found = { ...found, distributionPoint: readDistributionPoint(value) };
        return true;
      default:
        return false;
    }
  });
  return found;
}

function readNumber(value: Uint8Array): string {
  const reader = new DerReader(value);
  const number = readUnsigned(reader.next("CRL number", TAG.integer).content, "CRL number");
  reader.end("CRL number");
  return number.toHex();
}

/** The fields of an issuing distribution point that limit a list, in their order. */
const LIMITS = [
  [0x81, "onlyContainsUserCerts"],
  [0x82, "onlyContainsCACerts"],
  [0x83, "onlySomeReasons"],
  [0x84, "indirectCRL"],
  [0x85, "onlyContainsAttributeCerts"],
] as const;

/**
 * Parses an issuing distribution point (RFC 5280 section 5.2.5) and returns where the list is
 * published. A list whose extension says no more than that covers all certificates of its issuer;
 * step-ca and others write their complete lists this way.
 *
 * @throws {CertificateError} where it limits the list, or makes it an indirect one.
 */
function readDistributionPoint(value: Uint8Array): string | undefined {
  const what = "issuing distribution point";
  const reader = sequence(value, what);
  const point = reader.optional(what, 0xa0);
  for (const [tag, limit] of LIMITS) {
    const field = reader.optional(what, tag);
    if (field === undefined) continue;
    // An explicit default of FALSE limits nothing.
    if (limit !== "onlySomeReasons" && !readBoolean(field.content, what)) continue;
    if (limit === "indirectCRL") fail(INDIRECT_LIST);
    fail(`it is limited to a part of the certificates (${what}: ${limit}); use the complete list`);
  }
  reader.end(what);
  return point && readPointName(point.content, what);
}

/** The URIs of a DistributionPointName; names of other forms as their bytes in hex. */
function readPointName(content: Uint8Array, what: string): string {
  const outer = new DerReader(content);
  const { tag, content: names } = outer.next(what);
  outer.end(what);
  // The other choice, 0xa1, is relative to the issuer's name.
  if (tag !== 0xa0) return tag === 0xa1 ? names.toHex() : fail(`${what} holds no name`);
  const found: string[] = [];
  const reader = new DerReader(names);
  while (!reader.done) {
    const element = reader.next(what);
    const name = readGeneralName(element, [4, 16], what);
    found.push(name.kind === "uri" ? name.value : element.whole.toHex());
  }
  if (found.length === 0) fail(`${what} holds no name`);
  return found.join(", ");
}

/**
 * Parses one revocation list.
 *
 * @throws {CertificateError} unless it is a complete list in canonical DER; the message says where.
 */
export function parseCertificateList(der: Uint8Array): CertificateList {
  const whole = sequence(der, "revocation list");
  const signed = whole.next("signed part", TAG.sequence);
  const outerAlgorithm = whole.next("signature algorithm", TAG.sequence);
  const signature = readBitString(whole.next("signature", TAG.bitString).content, "signature");
  whole.end("revocation list");

  const tbs = new DerReader(signed.content);
  const extensible = readVersion(tbs) === 2;
  const innerAlgorithm = tbs.next("signature algorithm", TAG.sequence);
  if (innerAlgorithm.whole.toHex() !== outerAlgorithm.whole.toHex()) {
    fail("its two signature algorithms differ");
  }
  const issuer = readName(tbs.next("issuer", TAG.sequence).whole, "issuer");
  if (issuer.attributes.length === 0) fail("issuer is empty");
  const thisUpdate = readTime(tbs.next("thisUpdate"), "thisUpdate");
  if (!isTime(tbs.peek())) {
    fail(
      "it has no nextUpdate, so that no reader could tell when it is too old; issue it with one",
    );
  }
  const nextUpdate = readTime(tbs.next("nextUpdate"), "nextUpdate");
  const list = tbs.optional("entries", TAG.sequence);
  const serials = new Set<string>();
  const entries = list === undefined
    ? 0
    : readEntries(new DerReader(list.content), extensible, serials);
  const extensions = extensible
    ? readListExtensions(tbs.optional("extensions", 0xa0))
    : NO_EXTENSIONS;
  tbs.end("signed part");

  return {
    tbs: signed.whole,
    signatureAlgorithm: readSignatureAlgorithm(outerAlgorithm.content),
    signature,
    issuer,
    thisUpdate,
    nextUpdate,
    ...extensions,
    serials,
    entries,
  };
}

/**
 * DER to {@linkcode CertificateList}: a complete revocation list (RFC 5280 section 5), read as
 * strictly as a certificate but of any length.
 *
 * What is refused besides broken DER: lists that hold only a part of what is revoked (delta lists,
 * those whose issuing distribution point limits them to some certificates or reasons), lists about
 * other issuers' certificates (indirect ones), critical extensions that are not processed, and a list without `nextUpdate`, of which nobody could
 * tell when it is too old. Version 1, which `openssl ca` writes by default, is read: it can carry no
 * extensions, and so nothing that would have to be understood.
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

/** A revocation list, parsed and not yet verified. Times are milliseconds since the epoch. */
export type CertificateList = {
  /** What the issuer signed; a view on the bytes that were read, as `signature` is. */
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly issuer: Name;
  readonly thisUpdate: number;
  /** When the next list is due: from then on this one is too old. */
  readonly nextUpdate: number;
  /** The CRL number, lower-case hex; `undefined` without the extension. */
  readonly number: string | undefined;
  /** Where its issuing distribution point says that it is published; `undefined` without a name. */
  readonly distributionPoint: string | undefined;
  /** The serial numbers that are revoked, or on hold, as {@linkcode Certificate.serial} has them. */
  readonly serials: ReadonlySet<string>;
  /** How many entries the list has. */
  readonly entries: number;
};

const DELTA_CRL_INDICATOR = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
const CERTIFICATE_ISSUER = "2.5.29.29";
const CRL_NUMBER = "2.5.29.20";
const REASON_CODE = "2.5.29.21";

const INDIRECT_LIST = "it is an indirect list, about certificates of other issuers; " +
  "use the list of each issuer";

/** Extensions that change what a list means: refused, critical or not, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  [DELTA_CRL_INDICATOR]: "it is a delta list, which holds only what has changed; " +
    "use the complete list",
  [CERTIFICATE_ISSUER]: INDIRECT_LIST,
};

/** RFC 5280 section 5.3.1: `unspecified` to `aACompromise`; 7 is not used. */
const REMOVE_FROM_CRL = 8;
const LAST_REASON = 10;

function fail(message: string): never {
  throw new CertificateError(message);
}

/** Reads a list of extensions; hands each one that is not refused to `take`, which says if it knows it. */
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

/** Fields of extensions to remember as sound: most entries have one of the ten reasons and no more. */
const MAX_REMEMBERED = 16;

/** Reads the entries into `serials`; gives their count. Every reason counts as revoked. */
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

/** Reads the optional version: absent is 1; the only other one is 2, written as 1. */
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

/** The CRL number and the issuing distribution point: no other extension of a list is processed. */
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

/** What may limit a list in its issuing distribution point, in the order of the fields. */
const LIMITS = [
  [0x81, "onlyContainsUserCerts"],
  [0x82, "onlyContainsCACerts"],
  [0x83, "onlySomeReasons"],
  [0x84, "indirectCRL"],
  [0x85, "onlyContainsAttributeCerts"],
] as const;

/**
 * Reads an issuing distribution point (RFC 5280 section 5.2.5) and gives where the list is published.
 * One that says no more than that is about everything its issuer has signed, which is how step-ca and
 * others write their complete lists.
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
    // A default that is spelled out limits nothing.
    if (limit !== "onlySomeReasons" && !readBoolean(field.content, what)) continue;
    if (limit === "indirectCRL") fail(INDIRECT_LIST);
    fail(`it is limited to a part of the certificates (${what}: ${limit}); use the complete list`);
  }
  reader.end(what);
  return point && readPointName(point.content, what);
}

/** The URIs of a DistributionPointName; the names of other forms stand as their bytes. */
function readPointName(content: Uint8Array, what: string): string {
  const outer = new DerReader(content);
  const { tag, content: names } = outer.next(what);
  outer.end(what);
  // The other choice is relative to the name of the issuer.
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
 * Reads one revocation list.
 *
 * @throws {CertificateError} when it is no complete one in canonical DER; the message says where.
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
    fail("it has no nextUpdate, so that nobody could tell when it is too old; issue it with one");
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

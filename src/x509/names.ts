/**
 * Distinguished names and general names (RFC 5280 sections 4.1.2.4 and 4.2.1.6).
 *
 * @module
 */

import {
  type Certificate,
  CertificateError,
  type GeneralName,
  type Name,
  type NameAttribute,
} from "./certificate.ts";
import { DerReader, type Element, readOid, sequence, TAG } from "./der.ts";

/** OIDs of the subject attributes that access control uses. */
export const ATTRIBUTE = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  organizationalUnit: "2.5.4.11",
} as const;

/** Formats bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

function ascii(bytes: Uint8Array): string | undefined {
  let text = "";
  for (const byte of bytes) {
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

function utf16be(bytes: Uint8Array): string | undefined {
  if (bytes.length % 2 !== 0) return undefined;
  let text = "";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < bytes.length; i += 2) text += String.fromCharCode(view.getUint16(i));
  // BMPString does not allow surrogates.
  return /[\ud800-\udfff]/.test(text) ? undefined : text;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of a DirectoryString. `undefined` for text that its type does not allow, and for types
 * whose meaning implementations disagree about (TeletexString, UniversalString): such an attribute
 * is kept but matches no rule.
 */
function attributeText({ tag, content }: Element): string | undefined {
  switch (tag) {
    case TAG.utf8String:
      try {
        return UTF8.decode(content);
      } catch {
        return undefined; // Not UTF-8.
      }
    case TAG.printableString: {
      const text = ascii(content);
      return text !== undefined && PRINTABLE.test(text) ? text : undefined;
    }
    case TAG.ia5String:
      return ascii(content);
    case TAG.bmpString:
      return utf16be(content);
    default:
      return undefined;
  }
}

/** Decodes UTF-32, big-endian; `undefined` where it is invalid. */
function utf32be(bytes: Uint8Array): string | undefined {
  if (bytes.length % 4 !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let text = "";
  for (let i = 0; i < bytes.length; i += 4) {
    const point = view.getUint32(i);
    if (point > 0x10ffff) return undefined;
    text += String.fromCodePoint(point);
  }
  return text;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/**
 * Decodes a value whose text parsers disagree about: one byte per character, unless its type is
 * wider.
 */
function guessText({ tag, content }: Element): string {
  const wide = tag === TAG.universalString ? utf32be(content) : undefined;
  return wide ?? latin1(content);
}

/**
 * Parses a Name.
 *
 * @throws {CertificateError} unless it is one in DER.
 */
export function readName(der: Uint8Array, what: string): Name {
  const attributes: NameAttribute[] = [];
  const rdns = sequence(der, what);
  while (!rdns.done) {
    const rdn = new DerReader(rdns.next(what, TAG.set).content);
    if (rdn.done) throw new CertificateError(`${what} has an empty part`);
    while (!rdn.done) {
      const pair = new DerReader(rdn.next(what, TAG.sequence).content);
      const oid = readOid(pair.next(what, TAG.oid).content, what);
      const text = pair.next(what);
      const value = attributeText(text);
      attributes.push({ oid, value, guess: value ?? guessText(text) });
      pair.end(what);
    }
  }
  return { key: toHex(der), attributes, der };
}

const GENERAL_NAME = { email: 0x81, dns: 0x82, directory: 0xa4, uri: 0x86, ip: 0x87 } as const;

/** Forms that are never compared. */
const OTHER_FORM = {
  otherName: 0xa0,
  x400Address: 0xa3,
  ediPartyName: 0xa5,
  registeredId: 0x88,
} as const;

/**
 * A name of an ASCII form. One with other bytes keeps its form but equals nothing: it matches no
 * rule and no server name, and no CA with constraints on that form may sign for it.
 */
function asciiName(kind: "email" | "dns" | "uri", { tag, content }: Element): GeneralName {
  const value = ascii(content);
  return value === undefined ? { kind: "other", tag } : { kind, value };
}

/** Whether `tag` is that of a form whose text is ASCII. */
export function isAsciiForm(tag: number): boolean {
  return tag === GENERAL_NAME.email || tag === GENERAL_NAME.dns || tag === GENERAL_NAME.uri;
}

/** The tag of the form of a name; for directory names, the constructed one. */
export function formOf(name: GeneralName): number {
  return name.kind === "other" ? name.tag : GENERAL_NAME[name.kind];
}

/**
 * Parses one GeneralName; `ipLengths` are the valid lengths of an IP address here, in bytes.
 *
 * @throws {CertificateError} unless it is one in DER.
 */
export function readGeneralName(
  element: Element,
  ipLengths: readonly number[],
  what: string,
): GeneralName {
  const { tag, content } = element;
  switch (tag) {
    case GENERAL_NAME.email:
      return asciiName("email", element);
    case GENERAL_NAME.dns:
      return asciiName("dns", element);
    case GENERAL_NAME.uri:
      return asciiName("uri", element);
    case GENERAL_NAME.ip:
      if (!ipLengths.includes(content.length)) {
        throw new CertificateError(`${what} holds an address of ${content.length} bytes`);
      }
      return { kind: "ip", value: content };
    case GENERAL_NAME.directory:
      return { kind: "directory", value: readName(content, what) };
    default:
      checkOtherForm(element, what);
      return { kind: "other", tag };
  }
}

/**
 * Checks the forms that are never compared. Their content has to be valid by RFC 5280 section
 * 4.2.1.6 all the same: other parsers drop the whole list of names because of one invalid name, or
 * read a tag that is close to a known one as that.
 */
function checkOtherForm({ tag, content }: Element, what: string): void {
  const inner = new DerReader(content);
  switch (tag) {
    case OTHER_FORM.otherName: {
      readOid(inner.next(what, TAG.oid).content, what);
      const value = new DerReader(inner.next(what, 0xa0).content);
      value.next(what);
      value.end(what);
      return inner.end(what);
    }
    case OTHER_FORM.ediPartyName:
      inner.optional(what, 0xa0);
      inner.next(what, 0xa1);
      return inner.end(what);
    case OTHER_FORM.registeredId:
      readOid(content, what);
      return;
    case OTHER_FORM.x400Address:
      return;
    default:
      throw new CertificateError(`${what} holds no general name`);
  }
}

const SHORT_NAMES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "street",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/**
 * Formats a name for people, in the order of the certificate: `O=acme, CN=frontend`. Not for
 * comparisons. A value that cannot be decoded becomes `?`. The values are chosen by the peer; the
 * log escapes them.
 */
export function formatName(name: Name): string {
  return name.attributes
    .map(({ oid, value }) =>
      `${SHORT_NAMES[oid] ?? oid}=${value?.replace(/[,+\\]/g, "\\$&") ?? "?"}`
    )
    .join(", ");
}

/**
 * Whether subject and issuer are equal: a root, or a CA that changed its key (RFC 5280 section
 * 3.2).
 */
export function isSelfIssued(
  { subject, issuer }: Pick<Certificate, "subject" | "issuer">,
): boolean {
  return subject.key === issuer.key;
}

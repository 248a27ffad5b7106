/**
 * Removes the unique identifiers of certificates (RFC 5280 section 4.1.2.8), for parsers that do
 * not support them.
 *
 * @module
 */

import { DerReader, sequence, TAG } from "./der.ts";

const ISSUER_UNIQUE_ID = 0x81;
const SUBJECT_UNIQUE_ID = 0x82;

/**
 * The same certificate without unique identifiers, which mean nothing to path validation;
 * `undefined` where it has none. Its signature, which covers the original, does not verify.
 *
 * @param der a certificate that {@linkcode parseCertificate} has accepted.
 * @throws {CertificateError} when it is not a certificate.
 */
export function withoutUniqueIds(der: Uint8Array): Uint8Array | undefined {
  const certificate = sequence(der, "certificate");
  const signed = new DerReader(certificate.next("signed part", TAG.sequence).content);
  const rest: Uint8Array[] = [];
  while (!certificate.done) rest.push(certificate.next("certificate").whole);
  const fields: Uint8Array[] = [];
  let found = false;
  while (!signed.done) {
    const { tag, whole } = signed.next("signed part");
    if (tag === ISSUER_UNIQUE_ID || tag === SUBJECT_UNIQUE_ID) found = true;
    else fields.push(whole);
  }
  return found ? writeSequence([writeSequence(fields), ...rest]) : undefined;
}

function writeSequence(elements: readonly Uint8Array[]): Uint8Array {
  const length = elements.reduce((sum, element) => sum + element.length, 0);
  const header = length < 0x80
    ? [length]
    : length < 0x100
    ? [0x81, length]
    : [0x82, length >> 8, length & 0xff];
  const bytes = new Uint8Array(1 + header.length + length);
  bytes.set([TAG.sequence, ...header]);
  let at = 1 + header.length;
  for (const element of elements) {
    bytes.set(element, at);
    at += element.length;
  }
  return bytes;
}

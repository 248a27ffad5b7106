/**
 * DER to {@linkcode Certificate}: X.509 v3 (RFC 5280 section 4) and nothing else.
 *
 * This reader must never accept what the TLS engine below cannot read: for a certificate that it
 * cannot parse, the engine checks neither the chain nor that the peer holds the key. So the limits
 * here are the engine's or narrower, and `tests/x509/engine_agrees_test.ts` compares the two.
 *
 * @module
 */

import { type Certificate, CertificateError } from "./certificate.ts";
import {
  DerReader,
  MAX_DER_LENGTH,
  readBitString,
  readDefaultFalse,
  readOid,
  readTime,
  readUnsigned,
  sequence,
  TAG,
} from "./der.ts";
import { readPublicKey, readSignatureAlgorithm } from "./algorithms.ts";
import { type Extensions, NO_EXTENSIONS, readExtension } from "./extensions.ts";
import { readName, toHex } from "./names.ts";

/** RFC 5280 section 4.1.2.2. */
const MAX_SERIAL_BYTES = 20;

function readVersion(tbs: DerReader): void {
  const explicit = tbs.optional("version", 0xa0);
  if (explicit === undefined) {
    throw new CertificateError(
      "it is an X.509 v1 certificate, which can carry no restrictions; issue it as v3",
    );
  }
  const inner = new DerReader(explicit.content);
  const version = inner.next("version", TAG.integer).content;
  inner.end("version");
  if (version.length !== 1 || version[0] !== 2) {
    throw new CertificateError(
      version.length === 1 && version[0] === 1
        ? "it is an X.509 v2 certificate; issue it as v3"
        : "it has an unknown X.509 version; issue it as v3",
    );
  }
}

function readSerial(tbs: DerReader): string {
  const { content } = tbs.next("serial number", TAG.integer);
  const value = readUnsigned(content, "serial number");
  if (value.length > MAX_SERIAL_BYTES) {
    throw new CertificateError(`serial number is longer than ${MAX_SERIAL_BYTES} bytes`);
  }
  return toHex(value);
}

function readExtensions(tbs: DerReader): Extensions {
  const explicit = tbs.optional("extensions", 0xa3);
  if (explicit === undefined) return NO_EXTENSIONS;
  const list = sequence(explicit.content, "extensions");
  if (list.done) throw new CertificateError("list of extensions is empty");
  const seen = new Set<string>();
  let extensions = NO_EXTENSIONS;
  while (!list.done) {
    const extension = new DerReader(list.next("extension", TAG.sequence).content);
    const oid = readOid(extension.next("extension", TAG.oid).content, "extension");
    const what = `extension ${oid}`;
    const critical = readDefaultFalse(extension, `${what} criticality`);
    const value = extension.next(what, TAG.octetString).content;
    extension.end(what);
    if (seen.has(oid)) throw new CertificateError(`${what} stands there twice`);
    seen.add(oid);
    extensions = readExtension(extensions, oid, critical, value);
  }
  return extensions;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Reads one certificate.
 *
 * @throws {CertificateError} when it is not X.509 v3 in canonical DER; the message says where.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_DER_LENGTH) {
    throw new CertificateError(`it is longer than ${MAX_DER_LENGTH} bytes`);
  }
  const certificate = sequence(der, "certificate");
  const signed = certificate.next("signed part", TAG.sequence);
  const outerAlgorithm = certificate.next("signature algorithm", TAG.sequence);
  const signature = readBitString(
    certificate.next("signature", TAG.bitString).content,
    "signature",
  );
  certificate.end("certificate");

  const tbs = new DerReader(signed.content);
  readVersion(tbs);
  const serial = readSerial(tbs);
  const innerAlgorithm = tbs.next("signature algorithm", TAG.sequence);
  if (!sameBytes(innerAlgorithm.whole, outerAlgorithm.whole)) {
    throw new CertificateError("its two signature algorithms differ");
  }
  const issuer = readName(tbs.next("issuer", TAG.sequence).whole, "issuer");
  if (issuer.attributes.length === 0) throw new CertificateError("issuer is empty");
  const validity = new DerReader(tbs.next("validity", TAG.sequence).content);
  const notBefore = readTime(validity.next("notBefore"), "notBefore");
  const notAfter = readTime(validity.next("notAfter"), "notAfter");
  validity.end("validity");
  const subject = readName(tbs.next("subject", TAG.sequence).whole, "subject");
  const publicKey = readPublicKey(tbs.next("public key", TAG.sequence).whole);
  // Unique IDs ([1], [2]) fall through to here: RFC 5280 forbids them, the engine cannot read them.
  const extensions = readExtensions(tbs);
  tbs.end("signed part");

  return {
    der,
    tbs: signed.whole,
    serial,
    signatureAlgorithm: readSignatureAlgorithm(outerAlgorithm.content),
    signature,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    ...extensions,
  };
}

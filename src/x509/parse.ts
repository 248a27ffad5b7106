/**
 * Parses DER to {@linkcode Certificate}: X.509 v3 (RFC 5280 section 4) and nothing else.
 *
 * A certificate that the runtime's TLS cannot parse must never be accepted as a peer's own, because
 * for such a certificate it does not check that the peer holds the key. So the limits here are the
 * runtime's or narrower. The exceptions are encodings that CAs in use write:
 * {@linkcode Certificate.tlsCannotRead} names them, and path validation refuses them in a peer's
 * own certificate. `tests/runtime/tls_reads_certificates_test.ts` compares the two parsers.
 *
 * @module
 */

import { type Certificate, CertificateError, type Name } from "./certificate.ts";
import {
  DerReader,
  MAX_DER_LENGTH,
  readBitString,
  readDefaultFalse,
  readOid,
  readSerial,
  readTime,
  sequence,
  TAG,
} from "./der.ts";
import { readPublicKey, readSignatureAlgorithm } from "./algorithms.ts";
import { ExtensionReader, type Extensions, NO_EXTENSIONS } from "./extensions.ts";
import { readName } from "./names.ts";

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

function readExtensions(tbs: DerReader): Extensions {
  const explicit = tbs.optional("extensions", 0xa3);
  if (explicit === undefined) return NO_EXTENSIONS;
  const list = sequence(explicit.content, "extensions");
  if (list.done) throw new CertificateError("list of extensions is empty");
  const seen = new Set<string>();
  const reader = new ExtensionReader();
  while (!list.done) {
    const extension = new DerReader(list.next("extension", TAG.sequence).content);
    const oid = readOid(extension.next("extension", TAG.oid).content, "extension");
    const what = `extension ${oid}`;
    const critical = readDefaultFalse(extension, `${what} criticality`);
    const value = extension.next(what, TAG.octetString).content;
    extension.end(what);
    if (seen.has(oid)) throw new CertificateError(`${what} stands there twice`);
    seen.add(oid);
    reader.add(oid, critical, value);
  }
  return reader.extensions;
}

/**
 * Unique identifiers come from version 2 and mean nothing to path validation. RFC 5280 section
 * 4.1.2.8 tells CAs to omit them and parsers to accept them; the runtime's TLS cannot parse them.
 */
function readUniqueIds(tbs: DerReader): string | undefined {
  let found: string | undefined;
  for (
    const [tag, what] of [[0x81, "an issuer unique ID"], [0x82, "a subject unique ID"]] as const
  ) {
    const element = tbs.optional(what, tag);
    if (element === undefined) continue;
    const [unused = 8] = element.content;
    if (unused > 7 || (unused > 0 && element.content.length === 1)) {
      throw new CertificateError(`${what.replace(/^an? /, "")} is not a BIT STRING`);
    }
    found ??= what;
  }
  return found;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Parses one certificate.
 *
 * @throws {CertificateError} unless it is X.509 v3 in canonical DER; the message says where.
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
  const serial = readSerial(tbs.next("serial number", TAG.integer).content);
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
  const uniqueId = readUniqueIds(tbs);
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
    tlsCannotRead: uniqueId ?? extensions.tlsCannotRead,
  };
}

/** The subject of a certificate of any version; `undefined` where it is empty or cannot be read. */
export function peekSubject(der: Uint8Array): Name | undefined {
  try {
    const tbs = new DerReader(
      sequence(der, "certificate").next("signed part", TAG.sequence).content,
    );
    tbs.optional("version", 0xa0);
    for (const field of ["serial number", "signature algorithm", "issuer", "validity"]) {
      tbs.next(field);
    }
    const subject = readName(tbs.next("subject", TAG.sequence).whole, "subject");
    return subject.attributes.length === 0 ? undefined : subject;
  } catch (error) {
    if (error instanceof CertificateError) return undefined; // Too malformed to find the subject.
    throw error;
  }
}

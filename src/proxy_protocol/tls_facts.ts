/**
 * What a version 2 header says about TLS and the client's certificate.
 *
 * The names in it are chosen by the client. A receiver may store them as C strings or copy them
 * into a line of text: a value that could be read as another name, or as two lines, is left out,
 * never altered.
 *
 * @module
 */

import type { PeerIdentity } from "../identity.ts";
import { CLIENT, SSL_TLV, TLV, TLV_HEADER_LENGTH } from "./format.ts";
import { concat, writeTlv } from "./tlv.ts";

/** A verified client certificate; unverified ones are never reported. */
export type CertificateFacts = {
  readonly der: Uint8Array;
  /** See {@linkcode soleCommonName}. */
  readonly commonName: string | undefined;
  /** It was shown on an earlier connection of a session that this one resumes. */
  readonly resumed: boolean;
};

/** TLS as negotiated with the client. Facts that are not known are `undefined` and left out. */
export type TlsFacts = {
  /** As OpenSSL names it: `TLSv1.2`, `TLSv1.3`. */
  readonly protocol: string;
  /** The negotiated protocol, such as `h2`. */
  readonly alpn?: string | undefined;
  /** The name that the client asked for (SNI). */
  readonly serverName?: string | undefined;
  /** As OpenSSL names it: `TLS_AES_128_GCM_SHA256`. */
  readonly cipher?: string | undefined;
  /** The key of our certificate: `RSA2048`, `EC256`. */
  readonly keyAlgorithm?: string | undefined;
  /** What our certificate is signed with: `RSA-SHA256`, `ecdsa-with-SHA256`. */
  readonly signatureAlgorithm?: string | undefined;
  /** `undefined`: the client showed none. */
  readonly certificate: CertificateFacts | undefined;
};

/** Facts that may be left out of a header although they are known. */
export type OmittedFact = Exclude<keyof TlsFacts, "protocol"> | "commonName";

/** The encoded fields, and the facts that were left out. */
export type TlsFields = {
  readonly fields: Uint8Array;
  readonly omitted: readonly OmittedFact[];
};

/**
 * The subject's CN where it has exactly one that is readable; `undefined` otherwise. A header has
 * room for one, and with several the receiver could not know which is meant.
 */
export function soleCommonName({ commonNames }: PeerIdentity): string | undefined {
  return commonNames.length === 1 ? commonNames[0]?.text : undefined;
}

/** Bytes: the limit of ALPN and DNS names, and four times the characters of a CN (X.520). */
const MAX_TEXT = 255;

/** The text in UTF-8; `undefined` where it is empty, too long, or unsafe to show. */
function textBytes(text: string): Uint8Array | undefined {
  if (text === "" || !text.isWellFormed() || /\p{Cc}/u.test(text)) return undefined;
  const bytes = new TextEncoder().encode(text);
  return bytes.length > MAX_TEXT ? undefined : bytes;
}

/**
 * ALPN, authority and SSL, in HAProxy's order, in at most `room` bytes: a certificate that does not
 * fit is left out. The other fields always fit into 2 KiB.
 */
export function writeTlsFacts(facts: TlsFacts, room: number): TlsFields {
  const omitted: OmittedFact[] = [];
  const field = (type: number, name: OmittedFact, text: string | undefined): Uint8Array[] => {
    if (text === undefined) return [];
    const bytes = textBytes(text);
    if (bytes !== undefined) return [writeTlv(type, bytes)];
    omitted.push(name);
    return [];
  };
  const { certificate } = facts;
  const outer = [
    ...field(TLV.alpn, "alpn", facts.alpn),
    ...field(TLV.authority, "serverName", facts.serverName),
  ];
  const inner = [
    sslStatus(certificate),
    writeTlv(SSL_TLV.version, new TextEncoder().encode(facts.protocol)),
    ...field(SSL_TLV.commonName, "commonName", certificate?.commonName),
    ...field(SSL_TLV.keyAlgorithm, "keyAlgorithm", facts.keyAlgorithm),
    ...field(SSL_TLV.signatureAlgorithm, "signatureAlgorithm", facts.signatureAlgorithm),
    ...field(SSL_TLV.cipher, "cipher", facts.cipher),
  ];
  const without = concat([...outer, writeTlv(TLV.ssl, concat(inner))]);
  if (certificate === undefined) return { fields: without, omitted };
  // Checked before copying: the issuer decides how long a certificate is.
  if (without.length + TLV_HEADER_LENGTH + certificate.der.length > room) {
    return { fields: without, omitted: [...omitted, "certificate"] };
  }
  const ssl = concat([...inner, writeTlv(SSL_TLV.clientCertificate, certificate.der)]);
  return { fields: concat([...outer, writeTlv(TLV.ssl, ssl)]), omitted };
}

/** Client bits and verify result: 0 for a verified certificate, 1 otherwise. */
function sslStatus(certificate: CertificateFacts | undefined): Uint8Array {
  if (certificate === undefined) return Uint8Array.of(CLIENT.ssl, 0, 0, 0, 1);
  const now = certificate.resumed ? 0 : CLIENT.certificateOnConnection;
  return Uint8Array.of(CLIENT.ssl | CLIENT.certificateInSession | now, 0, 0, 0, 0);
}

/**
 * Reads the subject of a certificate that the strict parser rejects. For messages only: the result
 * never admits a peer.
 *
 * @module
 */

import { CertificateError, type Name } from "./certificate.ts";
import { DerReader, sequence, TAG } from "./der.ts";
import { readName } from "./names.ts";

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

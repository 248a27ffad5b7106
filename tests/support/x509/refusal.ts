/**
 * Asks the strict reader why it refuses a certificate.
 *
 * @module
 */

import { CertificateError } from "../../../src/x509/certificate.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";

/** The reader's words, or `undefined` when it takes the certificate. Any other error is thrown on. */
export function refusal(certificate: Uint8Array): string | undefined {
  try {
    parseCertificate(certificate);
    return undefined;
  } catch (error) {
    if (error instanceof CertificateError) return error.message;
    throw error;
  }
}

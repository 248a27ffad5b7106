/**
 * A second check of the path that was found, with a different implementation: the certificate
 * parser of `node:crypto` and its signature check have to agree before a peer is admitted. A defect
 * in `x509/` alone can then not admit a peer. Linear in the length of the path.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { withoutUniqueIds } from "../x509/unique_ids.ts";
import { verifyWithKey } from "./signature.ts";

/**
 * What the second parser objects to in the path, leaf first and anchor last; `undefined` where it
 * agrees. It checks what trust rests on: that each issuer is a CA whose name and key are those that
 * the certificate below was signed with, and that each certificate is valid at `now`, in
 * milliseconds since the epoch.
 */
export function crossCheck(path: readonly Certificate[], now: number): string | undefined {
  let below: Seen | undefined;
  for (const certificate of path) {
    const who = `certificate ${formatName(certificate.subject)}`;
    const read = readAgain(certificate);
    if (read === undefined) return `${who} cannot be read by the second reader`;
    const { seen } = read;
    const from = Date.parse(seen.validFrom);
    const to = Date.parse(seen.validTo);
    // notAfter includes its whole last second.
    if (!(now >= from && now < to + 1000)) return `${who} is not valid now for the second reader`;
    if (below !== undefined) {
      if (!seen.ca) return `${who} is no CA for the second reader`;
      if (!isSigner(seen, below)) {
        return `${who} did not sign the certificate below it for the second reader`;
      }
    }
    below = read;
  }
  return undefined;
}

/** A certificate as both parsers read it. */
type Seen = {
  readonly certificate: Certificate;
  readonly seen: X509Certificate;
  /** Whether the second parser has read everything that was signed. */
  readonly whole: boolean;
};

/**
 * Parses a certificate with the second parser. That does not support unique identifiers, so these
 * are removed first.
 */
function readAgain(certificate: Certificate): Seen | undefined {
  try {
    const stripped = withoutUniqueIds(certificate.der);
    const seen = new X509Certificate(Buffer.from(stripped ?? certificate.der));
    return { certificate, seen, whole: stripped === undefined };
  } catch {
    return undefined;
  }
}

function isSigner(issuer: X509Certificate, { certificate, seen, whole }: Seen): boolean {
  const { signatureAlgorithm: algorithm, tbs, signature } = certificate;
  try {
    // The second parser cannot check the signature where it has not read everything that was
    // signed, nor RSA-PSS, which it does not support. There it contributes only the issuer's key.
    return algorithm.kind === "rsa-pss" || !whole
      ? verifyWithKey(algorithm, issuer.publicKey, tbs, signature)
      : seen.verify(issuer.publicKey);
  } catch {
    return false; // It cannot parse the key or the signature.
  }
}

/**
 * A second look at the one path that was found, by other means: another reader of certificates
 * (`node:crypto`) and its own check of signatures have to agree before a peer is let in. A mistake in
 * `x509/` alone then lets in nobody. Linear in the length of the path.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../x509/certificate.ts";
import { formatName } from "../x509/names.ts";
import { verifyWithKey } from "./signature.ts";

/**
 * What the second reader has against the path, leaf first and anchor last; `undefined` where it agrees.
 * It looks at what trust rests on: that each issuer is a CA whose name and key are those that the
 * certificate below was signed with, and that each certificate is valid at `now`, milliseconds since
 * the epoch.
 */
export function disagreement(path: readonly Certificate[], now: number): string | undefined {
  let below: Seen | undefined;
  for (const certificate of path) {
    const who = `certificate ${formatName(certificate.subject)}`;
    let seen: X509Certificate;
    try {
      seen = new X509Certificate(Buffer.from(certificate.der));
    } catch {
      return `${who} cannot be read by the second reader`;
    }
    const from = Date.parse(seen.validFrom);
    const to = Date.parse(seen.validTo);
    // The last second counts in full.
    if (!(now >= from && now < to + 1000)) return `${who} is not valid now for the second reader`;
    if (below !== undefined) {
      if (!seen.ca) return `${who} is no CA for the second reader`;
      if (!isSigner(seen, below)) {
        return `${who} did not sign the certificate below it for the second reader`;
      }
    }
    below = { certificate, seen };
  }
  return undefined;
}

/** A certificate as both readers have it. */
type Seen = { readonly certificate: Certificate; readonly seen: X509Certificate };

function isSigner(issuer: X509Certificate, { certificate, seen }: Seen): boolean {
  const { signatureAlgorithm: algorithm, tbs, signature } = certificate;
  try {
    // The second reader knows no RSA-PSS: there it is just the key that it has read by itself.
    return algorithm.kind === "rsa-pss"
      ? verifyWithKey(algorithm, issuer.publicKey, tbs, signature)
      : seen.verify(issuer.publicKey);
  } catch {
    return false; // A key or a signature that it cannot read.
  }
}

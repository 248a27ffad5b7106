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
import { withoutUniqueIds } from "../x509/unique_ids.ts";
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
    const read = readAgain(certificate);
    if (read === undefined) return `${who} cannot be read by the second reader`;
    const { seen } = read;
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
    below = read;
  }
  return undefined;
}

/** A certificate as both readers have it. */
type Seen = {
  readonly certificate: Certificate;
  readonly seen: X509Certificate;
  /** Whether the second reader has read all that was signed. */
  readonly whole: boolean;
};

/** The second reader knows no unique identifiers: it reads such a certificate without them. */
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
    // Where it has not read all that was signed, and of RSA-PSS, which it does not know, it is just the
    // issuer's key that it has read by itself.
    return algorithm.kind === "rsa-pss" || !whole
      ? verifyWithKey(algorithm, issuer.publicKey, tbs, signature)
      : seen.verify(issuer.publicKey);
  } catch {
    return false; // A key or a signature that it cannot read.
  }
}

/**
 * Fingerprints of keys and chains.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { PublicKey } from "../x509/certificate.ts";

/** SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7469 section 2.4). */
export function spkiSha256(key: PublicKey): string {
  return createHash("sha256").update(key.der).digest("base64");
}

/** A key for a chain in DER; chains with equal keys are equal. */
export function chainFingerprint(chain: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const der of chain) {
    // Hashing the length keeps certificate boundaries part of the key.
    hash.update(`${der.length}:`);
    hash.update(der);
  }
  return hash.digest("base64");
}

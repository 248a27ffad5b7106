/**
 * Public key pins: `sha256:` and base64 (RFC 7469 section 2.4).
 *
 * @module
 */

import type { ParsedRule } from "./rule.ts";

const PREFIX = "sha256:";
const HOW = "openssl x509 -in peer.pem -noout -pubkey | openssl pkey -pubin -outform DER | " +
  "openssl dgst -sha256 -binary | base64";

/** Base64 of 32 bytes in canonical form: the bits that pad the last character are 0. */
const DIGEST = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

function hexDigest(text: string): string | undefined {
  const digits = text.replaceAll(":", "");
  if (!/^[0-9a-f]{64}$/i.test(digits)) return undefined;
  return Uint8Array.fromHex(digits).toBase64();
}

function reasonAgainst(text: string): string {
  const algorithm = /^(sha-?\d+|md5)(?=[:/])/i.exec(text)?.[0];
  if (algorithm !== undefined && !/^sha-?256$/i.test(algorithm)) {
    return `only SHA-256 is known: write "${PREFIX}" and the base64 of that digest`;
  }
  // curl writes "sha256//".
  const digest = text.replace(/^sha-?256(:|\/\/)?/i, "");
  const hex = hexDigest(digest);
  if (hex !== undefined) return `the digest is in base64, not in hex: write "${PREFIX}${hex}"`;
  const standard = digest.replaceAll("-", "+").replaceAll("_", "/").replace(/=*$/, "=");
  if (DIGEST.test(standard)) return `write "${PREFIX}${standard}"`;
  if (!/^[A-Za-z0-9+/]*=*$/.test(digest)) {
    return `after "${PREFIX}" stands base64, which has letters, digits, "+", "/" and "=" only`;
  }
  return `after "${PREFIX}" stands the base64 of 32 bytes, 44 characters of which the last is ` +
    `"=": ${HOW}`;
}

/** Parses a rule: `sha256:BASE64`. */
export function parseSpkiRule(text: string): ParsedRule {
  const sha256 = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : "";
  if (!DIGEST.test(sha256)) return { ok: false, reason: reasonAgainst(text) };
  return { ok: true, value: { kind: "spki", sha256 } };
}

/**
 * Checks signatures of certificates with `node:crypto`: synchronous, no permission needed.
 *
 * What this engine was found to do right, so that nothing is mended here (`tests/x509/signature_test.ts`
 * fails if that changes): ECDSA signatures are read as strict DER, with r and s from 1 to the order;
 * PKCS#1 v1.5 padding is compared whole, so that nothing can hide in it whatever the exponent; a PSS
 * salt has the length that is asked for; an Ed25519 signature is 64 bytes with S in range. RSA keys
 * of more than 4096 bits it cannot read, which is why the profile ends there.
 *
 * @module
 */

import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import type { PublicKey, SignatureAlgorithm } from "../x509/certificate.ts";

/** Octets of a hash: the salt of a PSS signature is as long (RFC 4055 section 3.1). */
const HASH_LENGTH = { sha256: 32, sha384: 48, sha512: 64 } as const;

/** Keys by the certificate that they were read from; `undefined` for those that cannot be used. */
const keys = new WeakMap<PublicKey, KeyObject | undefined>();

function keyOf(key: PublicKey): KeyObject | undefined {
  if (keys.has(key)) return keys.get(key);
  let usable: KeyObject | undefined;
  try {
    usable = createPublicKey({ key: Buffer.from(key.der), format: "der", type: "spki" });
  } catch {
    usable = undefined; // No point of its curve, an even modulus and the like: it verifies nothing.
  }
  keys.set(key, usable);
  return usable;
}

function check(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  tbs: Uint8Array,
  signature: Uint8Array,
): boolean {
  // The engine would take the scheme from the key: that the two belong together is checked here.
  const type = key.asymmetricKeyType;
  switch (algorithm.kind) {
    case "ecdsa":
      return type === "ec" && verify(algorithm.hash, tbs, { key, dsaEncoding: "der" }, signature);
    case "rsa-pkcs1":
      return type === "rsa" &&
        verify(algorithm.hash, tbs, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case "rsa-pss":
      // The mask's hash is the message's: the engine has no other, the profile neither.
      return type === "rsa" && verify(algorithm.hash, tbs, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: HASH_LENGTH[algorithm.hash],
      }, signature);
    case "ed25519":
      return type === "ed25519" && verify(null, tbs, key, signature);
    case "unsupported":
      return false;
    default:
      return algorithm satisfies never;
  }
}

/**
 * Whether `signature` over `tbs` was made with the private half of `key`. Never throws: a key or a
 * signature that the engine cannot read is one that does not verify. Each key is read once, as long
 * as its certificate is held.
 */
export function verifySignature(
  algorithm: SignatureAlgorithm,
  key: PublicKey,
  tbs: Uint8Array,
  signature: Uint8Array,
): boolean {
  const usable = keyOf(key);
  if (usable === undefined) return false;
  try {
    return check(algorithm, usable, tbs, signature);
  } catch {
    return false; // Some engines throw on a signature where they should answer no.
  }
}

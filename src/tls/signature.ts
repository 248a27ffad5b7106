/**
 * Checks signatures of certificates, in two ways that need no permission: with `node:crypto` at once,
 * and with WebCrypto where that is faster (ECDSA: two thirds of the time on P-256).
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
import { readUnsigned, sequence, TAG } from "../x509/der.ts";

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

/**
 * {@linkcode verifySignature} with a key that was read already.
 *
 * @throws {Error} on some signatures that are none.
 */
export function verifyWithKey(
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
    return verifyWithKey(algorithm, usable, tbs, signature);
  } catch {
    return false; // Some engines throw on a signature where they should answer no.
  }
}

/** Bytes of r and of s, as WebCrypto wants them (IEEE P1363). */
const SCALAR_BYTES = { "P-256": 32, "P-384": 48 } as const;
const WEB_HASHES = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" } as const;

/** The same for WebCrypto. */
const webKeys = new WeakMap<PublicKey, Promise<CryptoKey | undefined>>();

function webKeyOf(key: Extract<PublicKey, { kind: "ec" }>): Promise<CryptoKey | undefined> {
  const known = webKeys.get(key);
  if (known !== undefined) return known;
  const algorithm = { name: "ECDSA", namedCurve: key.curve };
  const read = crypto.subtle.importKey("spki", key.der.slice(), algorithm, false, ["verify"])
    .catch(() => undefined); // No point of its curve: it verifies nothing.
  webKeys.set(key, read);
  return read;
}

/**
 * {@linkcode verifySignature} by the faster of the two implementations. Never rejects.
 */
export async function verifySignatureFaster(
  algorithm: SignatureAlgorithm,
  key: PublicKey,
  tbs: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (algorithm.kind !== "ecdsa" || key.kind !== "ec") {
    return verifySignature(algorithm, key, tbs, signature);
  }
  try {
    const raw = rawSignature(signature, SCALAR_BYTES[key.curve]);
    const usable = await webKeyOf(key);
    if (usable === undefined) return false;
    const how = { name: "ECDSA", hash: WEB_HASHES[algorithm.hash] };
    return await crypto.subtle.verify(how, usable, raw, tbs.slice());
  } catch {
    return false; // No signature in strict DER, or one that the engine throws on.
  }
}

/**
 * r and s of an ECDSA signature (RFC 3279 section 2.2.3) side by side, `size` bytes each. Their range is
 * WebCrypto's to check.
 *
 * @throws {CertificateError} when it is not strict DER.
 * @throws {RangeError} when a number is longer than `size`.
 */
function rawSignature(der: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const numbers = sequence(der, "signature");
  const raw = new Uint8Array(2 * size);
  for (const end of [size, 2 * size]) {
    const number = readUnsigned(numbers.next("signature", TAG.integer).content, "signature");
    if (number.length > size) throw new RangeError("Cannot read a signature: a number is too long");
    raw.set(number, end - number.length);
  }
  numbers.end("signature");
  return raw;
}

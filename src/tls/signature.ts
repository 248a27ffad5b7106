/**
 * Checks signatures of certificates, in two ways that need no permission: synchronously with
 * `node:crypto`, and with WebCrypto where that is faster (ECDSA: two thirds of the time on P-256).
 *
 * The runtime was found to do the following correctly, so nothing is added here
 * (`tests/unit/x509/signature_test.ts` fails if that changes): ECDSA signatures are read as strict DER,
 * with r and s from 1 to the order; PKCS#1 v1.5 padding is compared as a whole, so that nothing can
 * be hidden in it whatever the exponent; a PSS salt has the requested length; an Ed25519 signature
 * is 64 bytes with S in range. It cannot read RSA keys of more than 4096 bits, which is why the
 * profile ends there.
 *
 * @module
 */

import { constants, createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { Buffer } from "node:buffer";
import type { PublicKey, SignatureAlgorithm } from "../x509/certificate.ts";
import { readUnsigned, sequence, TAG } from "../x509/der.ts";

/**
 * Length of a hash in bytes: the salt of a PSS signature has the same length (RFC 4055 section
 * 3.1).
 */
const HASH_LENGTH = { sha256: 32, sha384: 48, sha512: 64 } as const;

/** Parsed keys by the certificate's key; `undefined` for those that cannot be used. */
const keys = new WeakMap<PublicKey, KeyObject | undefined>();

function keyOf(key: PublicKey): KeyObject | undefined {
  if (keys.has(key)) return keys.get(key);
  let usable: KeyObject | undefined;
  try {
    usable = createPublicKey({ key: Buffer.from(key.der), format: "der", type: "spki" });
  } catch {
    usable = undefined; // Not a point of its curve, an even modulus or the like.
  }
  keys.set(key, usable);
  return usable;
}

/**
 * Like {@linkcode verifySignature}, with a key that was parsed already.
 *
 * @throws {Error} on some invalid signatures.
 */
export function verifyWithKey(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  tbs: Uint8Array,
  signature: Uint8Array,
): boolean {
  // The runtime would take the scheme from the key, so check here that the two match.
  const type = key.asymmetricKeyType;
  switch (algorithm.kind) {
    case "ecdsa":
      return type === "ec" && verify(algorithm.hash, tbs, { key, dsaEncoding: "der" }, signature);
    case "rsa-pkcs1":
      return type === "rsa" &&
        verify(algorithm.hash, tbs, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case "rsa-pss":
      // The mask's hash equals the message's: the runtime supports no other, nor does the profile.
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
 * Whether `signature` over `tbs` was made with the private half of `key`. Never throws: a key or
 * signature that cannot be parsed does not verify. Each key is parsed once for as long as its
 * certificate is held.
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
    return false; // Some implementations throw on an invalid signature.
  }
}

/** Bytes of r and of s in WebCrypto's format (IEEE P1363). */
const SCALAR_BYTES = { "P-256": 32, "P-384": 48 } as const;
const WEB_HASHES = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" } as const;

/** Like `keys`, for WebCrypto. */
const webKeys = new WeakMap<PublicKey, Promise<CryptoKey | undefined>>();

function webKeyOf(key: Extract<PublicKey, { kind: "ec" }>): Promise<CryptoKey | undefined> {
  const known = webKeys.get(key);
  if (known !== undefined) return known;
  const algorithm = { name: "ECDSA", namedCurve: key.curve };
  const read = crypto.subtle.importKey("spki", key.der.slice(), algorithm, false, ["verify"])
    .catch(() => undefined); // Not a point of its curve.
  webKeys.set(key, read);
  return read;
}

/** Like {@linkcode verifySignature}, with the faster of the two implementations. Never rejects. */
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
    return false; // Not strict DER, or WebCrypto threw on it.
  }
}

/**
 * Converts an ECDSA signature (RFC 3279 section 2.2.3) to r and s side by side, `size` bytes each.
 * WebCrypto checks their range.
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

/** SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7469 section 2.4). */
export function spkiSha256(key: PublicKey): string {
  return createHash("sha256").update(key.der).digest("base64");
}

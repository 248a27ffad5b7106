/**
 * Keys and signatures for the certificates of tests.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import * as crypto from "node:crypto";
import type { KeyObject } from "node:crypto";
import * as der from "./der.ts";
import type { Der } from "./der.ts";
import { HASH_SIZE, signatureParts } from "./x509_parts.ts";
import type { SignatureKind } from "./x509_parts.ts";

/** Kinds of keys; `secp256k1` and `rsa1024` are for being refused. */
export type KeyKind = "p256" | "p384" | "secp256k1" | "ed25519" | `rsa${1024 | 2048 | 3072 | 4096}`;

const rsaKeys = new Map<string, KeyObject>();

/**
 * Makes a private key. RSA keys take long, so one is kept for each slot; without a slot a key is
 * always new.
 */
export function makeKey(kind: KeyKind = "p256", slot?: string): KeyObject {
  if (kind === "ed25519") return crypto.generateKeyPairSync("ed25519").privateKey;
  if (kind === "p256" || kind === "p384" || kind === "secp256k1") {
    const namedCurve = { p256: "P-256", p384: "P-384", secp256k1: "secp256k1" }[kind];
    return crypto.generateKeyPairSync("ec", { namedCurve }).privateKey;
  }
  const kept = slot === undefined ? undefined : rsaKeys.get(`${kind} ${slot}`);
  if (kept !== undefined) return kept;
  const modulusLength = Number(kind.slice("rsa".length));
  const key = crypto.generateKeyPairSync("rsa", { modulusLength }).privateKey;
  if (slot !== undefined) rsaKeys.set(`${kind} ${slot}`, key);
  return key;
}

/** The SubjectPublicKeyInfo of a key. */
export function spkiOf(key: KeyObject): Der {
  return new Uint8Array(crypto.createPublicKey(key).export({ type: "spki", format: "der" }));
}

/** PEM with lines of 64 characters. */
export function pem(label: string, bytes: Uint8Array): string {
  const lines = Buffer.from(bytes).toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** The signature that suits a key. */
export function usualSignature(key: KeyObject): SignatureKind {
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  if (key.asymmetricKeyType === "rsa") return "rsa-sha256";
  return spkiOf(key).length === 120 ? "ecdsa-sha384" : "ecdsa-sha256";
}

/** Signs; an unsuitable key throws. */
export function sign(kind: SignatureKind, key: KeyObject, data: Uint8Array): Uint8Array {
  const { scheme, hash } = signatureParts(kind);
  const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
  const saltLength = HASH_SIZE[hash];
  return new Uint8Array(
    crypto.sign(
      scheme === "ed25519" ? null : hash,
      data,
      scheme === "pss" ? { key, padding, saltLength } : key,
    ),
  );
}

/** A key like the given one, but another. */
export function forger(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType === "rsa") return makeKey("rsa2048", "forger");
  if (key.asymmetricKeyType === "ed25519") return makeKey("ed25519");
  return makeKey(spkiOf(key).length === 120 ? "p384" : "p256");
}

/** SHA-1 of the public key's bits (RFC 5280 section 4.2.1.2, method 1). */
export function keyIdOf(spki: Der): Uint8Array {
  const bits = der.split(der.contentOf(spki))[1] ?? spki;
  return new Uint8Array(crypto.createHash("sha1").update(der.contentOf(bits).subarray(1)).digest());
}

/**
 * PKCS#8 with the public half of one P-256 key and the private half of another, as somebody makes it
 * who has only a copy of a certificate: openssl compares public halves, and goes on with it.
 */
export function mixedKey(shown: KeyObject, held: KeyObject = makeKey()): string {
  const octets = (field: string | undefined) => Buffer.from(field ?? "", "base64url");
  const { x, y } = shown.export({ format: "jwk" });
  const point = Buffer.concat([Buffer.from([4]), octets(x), octets(y)]);
  const scalar = octets(held.export({ format: "jwk" }).d);
  const inner = der.seq(der.int(1), der.octet(scalar), der.explicit(1, der.bitString(point)));
  const algorithm = der.seq(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"));
  return pem("PRIVATE KEY", der.seq(der.int(0), algorithm, der.octet(inner)));
}

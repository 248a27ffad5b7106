/**
 * X25519MLKEM768 by hand (draft-ietf-tls-ecdhe-mlkem): ML-KEM-768 of the runtime's Web Crypto, X25519 of
 * `node:crypto`, one after the other.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { keyShare } from "./crypto.ts";

/** Its number among the groups. */
export const X25519_MLKEM768 = 0x11ec;

/** Octets of ML-KEM-768 (FIPS 203): a client's key to encapsulate with, and a server's ciphertext. */
const KEY = 1184;
const CIPHERTEXT = 1088;

/** Methods that the types of Deno 2.9 do not have yet. */
type Kem = {
  generateKey(
    algorithm: "ML-KEM-768",
    extractable: boolean,
    usages: readonly string[],
  ): Promise<CryptoKeyPair>;
  exportKey(format: "raw-public", key: CryptoKey): Promise<ArrayBuffer>;
  importKey(
    format: "raw-public",
    key: Uint8Array,
    algorithm: "ML-KEM-768",
    extractable: boolean,
    usages: readonly string[],
  ): Promise<CryptoKey>;
  encapsulateBits(
    algorithm: "ML-KEM-768",
    key: CryptoKey,
  ): Promise<{ readonly ciphertext: ArrayBuffer; readonly sharedKey: ArrayBuffer }>;
  decapsulateBits(
    algorithm: "ML-KEM-768",
    key: CryptoKey,
    ciphertext: Uint8Array,
  ): Promise<ArrayBuffer>;
};

const kem = crypto.subtle as unknown as Kem;
const NAME = "ML-KEM-768";

/** A client's key, and what comes of a server's. */
export type HybridShare = {
  readonly own: Buffer;
  readonly agree: (theirs: Uint8Array) => Promise<Buffer>;
};

/** A client's key of its own. */
export async function hybridShare(): Promise<HybridShare> {
  const usages = ["encapsulateBits", "decapsulateBits"];
  const { publicKey, privateKey } = await kem.generateKey(NAME, true, usages);
  const curve = keyShare();
  return {
    own: Buffer.concat([Buffer.from(await kem.exportKey("raw-public", publicKey)), curve.own]),
    agree: async (theirs) => {
      const secret = await kem.decapsulateBits(NAME, privateKey, theirs.subarray(0, CIPHERTEXT));
      return Buffer.concat([Buffer.from(secret), curve.agree(theirs.subarray(CIPHERTEXT))]);
    },
  };
}

/** A server's answer to a client's key, and the secret that both have then. */
export async function hybridAnswer(
  theirs: Uint8Array,
): Promise<{ readonly own: Buffer; readonly secret: Buffer }> {
  const key = await kem.importKey("raw-public", theirs.subarray(0, KEY), NAME, true, [
    "encapsulateBits",
  ]);
  const { ciphertext, sharedKey } = await kem.encapsulateBits(NAME, key);
  const curve = keyShare();
  return {
    own: Buffer.concat([Buffer.from(ciphertext), curve.own]),
    secret: Buffer.concat([Buffer.from(sharedKey), curve.agree(theirs.subarray(KEY))]),
  };
}

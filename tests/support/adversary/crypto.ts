/**
 * TLS by hand: key schedules and the protection of records, for X25519 with AES-128-GCM and SHA-256
 * only.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { RECORD, record, u16, vector } from "./octets.ts";
import { spkiOf } from "../keys.ts";

/** SHA-256. */
export function sha256(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

/** HMAC with SHA-256. */
export function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

const NOTHING = Buffer.alloc(0);
const ZERO = Buffer.alloc(32);

/** HKDF-Expand-Label (RFC 8446 section 7.1) of at most 32 octets. */
export function expand(
  secret: Uint8Array,
  label: string,
  context: Uint8Array = NOTHING,
  length = 32,
): Buffer {
  const info = [u16(length), vector(1, Buffer.from(`tls13 ${label}`)), vector(1, context)];
  return hmac(secret, Buffer.concat([...info, Buffer.from([1])])).subarray(0, length);
}

/** The secrets of TLS 1.3 up to one point of the handshake, each by its label. */
export function handshakeSecrets(shared: Uint8Array): {
  readonly handshake: (label: string, transcript: Uint8Array) => Buffer;
  readonly application: (label: string, transcript: Uint8Array) => Buffer;
} {
  const derive = (secret: Uint8Array, label: string, transcript: Uint8Array): Buffer =>
    expand(secret, label, sha256(transcript));
  const handshake = hmac(derive(hmac(ZERO, ZERO), "derived", NOTHING), shared);
  const master = hmac(derive(handshake, "derived", NOTHING), ZERO);
  return {
    handshake: (label, transcript) => derive(handshake, label, transcript),
    application: (label, transcript) => derive(master, label, transcript),
  };
}

/** The pseudorandom function of TLS 1.2 (RFC 5246 section 5). */
export function prf(secret: Uint8Array, label: string, seed: Uint8Array, length: number): Buffer {
  const input = Buffer.concat([Buffer.from(label), seed]);
  const parts: Buffer[] = [];
  for (let a = hmac(secret, input), have = 0; have < length; a = hmac(secret, a), have += 32) {
    parts.push(hmac(secret, Buffer.concat([a, input])));
  }
  return Buffer.concat(parts).subarray(0, length);
}

const SPKI_X25519 = Buffer.from("302a300506032b656e032100", "hex");

/** An X25519 key of one's own. */
export function keyShare(): {
  readonly own: Buffer;
  readonly agree: (theirs: Uint8Array) => Buffer;
} {
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  return {
    own: publicKey.export({ type: "spki", format: "der" }).subarray(-32),
    agree: (theirs) => {
      const key = Buffer.concat([SPKI_X25519, theirs]);
      const publicKey = createPublicKey({ key, format: "der", type: "spki" });
      return diffieHellman({ privateKey, publicKey });
    },
  };
}

/** Protects the records of one direction, and takes the protection off. */
export interface Protection {
  /** A whole record. */
  seal(type: number, plaintext: Uint8Array): Buffer;
  /** The content of a record, given whole. */
  open(whole: Buffer): Plain;
}

/** A record without its protection. */
export type Plain = { readonly type: number; readonly content: Buffer };

function gcm(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-128-gcm", key, nonce).setAAD(aad);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function ungcm(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, sealed: Buffer): Buffer {
  const cipher = createDecipheriv("aes-128-gcm", key, nonce).setAAD(aad);
  cipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
}

/** TLS 1.3 (RFC 8446 section 5.2). */
export function protection13(secret: Buffer): Protection {
  const key = expand(secret, "key", NOTHING, 16);
  const iv = expand(secret, "iv", NOTHING, 12);
  let sequence = 0;
  const nonce = (): Buffer => {
    const next = Buffer.from(iv);
    next.writeUInt32BE((next.readUInt32BE(8) ^ sequence++) >>> 0, 8);
    return next;
  };
  return {
    seal(type, plaintext) {
      const inner = Buffer.concat([plaintext, Buffer.from([type])]);
      const header = Buffer.concat([Buffer.from([RECORD.data, 3, 3]), u16(inner.length + 16)]);
      return Buffer.concat([header, gcm(key, nonce(), header, inner)]);
    },
    open(whole) {
      const inner = ungcm(key, nonce(), whole.subarray(0, 5), whole.subarray(5));
      const end = inner.findLastIndex((octet) => octet !== 0);
      return { type: inner[end] ?? 0, content: inner.subarray(0, end) };
    },
  };
}

/** TLS 1.2 (RFC 5288). */
export function protection12(key: Buffer, salt: Buffer): Protection {
  let sequence = 0n;
  const counted = (): Buffer => {
    const octets = Buffer.alloc(8);
    octets.writeBigUInt64BE(sequence++);
    return octets;
  };
  const aad = (count: Buffer, type: number, length: number): Buffer =>
    Buffer.concat([count, Buffer.from([type, 3, 3]), u16(length)]);
  return {
    seal(type, plaintext) {
      const count = counted();
      const nonce = Buffer.concat([salt, count]);
      const sealed = gcm(key, nonce, aad(count, type, plaintext.length), plaintext);
      return record(type, Buffer.concat([count, sealed]));
    },
    open(whole) {
      const type = whole[0] ?? 0;
      const nonce = Buffer.concat([salt, whole.subarray(5, 13)]);
      const sealed = whole.subarray(13);
      return { type, content: ungcm(key, nonce, aad(counted(), type, sealed.length - 16), sealed) };
    },
  };
}

/** The two directions of TLS 1.2 (RFC 5246 section 6.3); `randoms` of client and server. */
export function keys12(
  master: Uint8Array,
  [client, server]: readonly [Uint8Array, Uint8Array],
): { readonly client: Protection; readonly server: Protection } {
  const block = prf(master, "key expansion", Buffer.concat([server, client]), 40);
  return {
    client: protection12(block.subarray(0, 16), block.subarray(32, 36)),
    server: protection12(block.subarray(16, 32), block.subarray(36, 40)),
  };
}

/** A signature over the handshake: scheme (RFC 8446 section 4.2.3) and octets. */
export type Signed = { readonly scheme: number; readonly signature: Uint8Array };

/** Signs a handshake, honestly or not. */
export type Signer = (content: Uint8Array) => Signed;

/** Signs as the holder of the key would. */
export function signerFor(key: KeyObject): Signer {
  return (content) => {
    switch (key.asymmetricKeyType) {
      case "ed25519":
        return { scheme: 0x0807, signature: sign(null, content, key) };
      case "rsa": {
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        return {
          scheme: 0x0804,
          signature: sign("sha256", content, { key, padding, saltLength: 32 }),
        };
      }
      default:
        return spkiOf(key).length === 120
          ? { scheme: 0x0503, signature: sign("sha384", content, key) }
          : { scheme: 0x0403, signature: sign("sha256", content, key) };
    }
  };
}

/** What is signed under TLS 1.3 (RFC 8446 section 4.4.3). */
export function signedContent(role: "client" | "server", transcript: Uint8Array): Buffer {
  const label = Buffer.from(`TLS 1.3, ${role} CertificateVerify\0`);
  return Buffer.concat([Buffer.alloc(64, 0x20), label, sha256(transcript)]);
}

/**
 * A hand-made TLS 1.3 server (RFC 8446) that does what no library would: it shows any bytes as its
 * certificate, signs the handshake with anything, and reports all that the client gives away.
 *
 * Only what is needed: X25519, TLS_AES_128_GCM_SHA256, no resumption, no HelloRetryRequest.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import type { Conn } from "../../../src/net/conn.ts";

const HANDSHAKE = 22;
const ALERT = 21;
const DATA = 23;
const FINISHED = 20;
const X25519 = 0x001d;
const SPKI_X25519 = Buffer.from("302a300506032b656e032100", "hex");
const MESSAGES: Readonly<Record<number, string>> = {
  11: "Certificate",
  15: "CertificateVerify",
  20: "Finished",
  24: "KeyUpdate",
};

/** The server's signature over the handshake: scheme (RFC 8446 section 4.2.3) and octets. */
export type HandshakeSignature = { readonly scheme: number; readonly signature: Uint8Array };

/** How the server behaves. */
export type RogueOptions = {
  /** DER or whatever, the leaf first. */
  readonly chain: readonly Uint8Array[];
  /** Signs as the holder of an ECDSA P-256 key would; the default is 70 zero octets. */
  readonly sign?: (content: Uint8Array) => HandshakeSignature;
  /** Does not send its Finished: the client has to wait. */
  readonly withholdFinished?: boolean;
};

/** What the client gave away. */
export type RogueResult = {
  /** Names of the handshake messages of the client's last flight. */
  readonly messages: readonly string[];
  /** Certificates that it showed. */
  readonly certificates: readonly Uint8Array[];
  /** Whether its Finished was right: the handshake is complete. */
  readonly finished: boolean;
  /** Plaintext that it sent. */
  readonly plaintext: Uint8Array;
  /** Descriptions of alerts (RFC 8446 section 6). */
  readonly alerts: readonly number[];
};

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function vector(lengthOctets: 1 | 2 | 3, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(lengthOctets);
  length.writeUIntBE(body.length, 0, lengthOctets);
  return Buffer.concat([length, body]);
}

function message(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([type]), vector(3, ...parts)]);
}

const hash = (data: Uint8Array): Buffer => createHash("sha256").update(data).digest();
const hmac = (key: Uint8Array, data: Uint8Array): Buffer =>
  createHmac("sha256", key).update(data).digest();

function expand(secret: Uint8Array, label: string, context: Uint8Array, length: number): Buffer {
  const info = [u16(length), vector(1, Buffer.from(`tls13 ${label}`)), vector(1, context)];
  return hmac(secret, Buffer.concat([...info, Buffer.from([1])])).subarray(0, length);
}

const derive = (secret: Uint8Array, label: string, transcript: Uint8Array): Buffer =>
  expand(secret, label, hash(transcript), 32);

/** Record protection of one direction. */
class Protection {
  readonly #key: Buffer;
  readonly #iv: Buffer;
  readonly secret: Buffer;
  #sequence = 0;

  constructor(secret: Buffer) {
    this.secret = secret;
    this.#key = expand(secret, "key", Buffer.alloc(0), 16);
    this.#iv = expand(secret, "iv", Buffer.alloc(0), 12);
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#sequence++) >>> 0, 8);
    return nonce;
  }

  seal(type: number, plaintext: Uint8Array): Buffer {
    const inner = Buffer.concat([plaintext, Buffer.from([type])]);
    const header = Buffer.concat([Buffer.from([DATA, 3, 3]), u16(inner.length + 16)]);
    const cipher = createCipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  open(record: Buffer): { readonly type: number; readonly content: Buffer } {
    const body = record.subarray(5);
    const cipher = createDecipheriv("aes-128-gcm", this.#key, this.#nonce());
    cipher.setAAD(record.subarray(0, 5)).setAuthTag(body.subarray(-16));
    const inner = Buffer.concat([cipher.update(body.subarray(0, -16)), cipher.final()]);
    const end = inner.findLastIndex((octet) => octet !== 0);
    return { type: inner[end] ?? 0, content: inner.subarray(0, end) };
  }
}

/** Cuts the stream into records. */
class Records {
  readonly #conn: Conn;
  #buffer: Buffer = Buffer.alloc(0);

  constructor(conn: Conn) {
    this.#conn = conn;
  }

  /** A whole record with its header, or `undefined` when the stream is over in whatever way. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const size = this.#buffer.length < 5 ? Infinity : 5 + this.#buffer.readUInt16BE(3);
      if (this.#buffer.length >= size) {
        const record = this.#buffer.subarray(0, size);
        this.#buffer = this.#buffer.subarray(size);
        return record;
      }
      const more = await this.#conn.read().catch(() => null);
      if (more === null) return undefined;
      this.#buffer = Buffer.concat([this.#buffer, more]);
    }
  }
}

/** What a ClientHello message says (RFC 8446 section 4.1.2). */
export type Hello = {
  readonly sessionId: Uint8Array;
  /** Contents by type: 0 is server_name, 51 key_share. */
  readonly extensions: ReadonlyMap<number, Buffer>;
};

/** Reads a ClientHello message without its record header. */
export function readHello(hello: Buffer): Hello {
  let at = 4 + 2 + 32;
  const sessionId = hello.subarray(at, at + 1 + (hello[at] ?? 0));
  at += sessionId.length;
  at += 2 + hello.readUInt16BE(at);
  at += 1 + (hello[at] ?? 0);
  const end = at + 2 + hello.readUInt16BE(at);
  const extensions = new Map<number, Buffer>();
  for (at += 2; at < end;) {
    const body = hello.subarray(at + 4, at + 4 + hello.readUInt16BE(at + 2));
    extensions.set(hello.readUInt16BE(at), body);
    at += 4 + body.length;
  }
  return { sessionId, extensions };
}

/** The X25519 public key that a client offers. */
function shareOf({ extensions }: Hello): Buffer {
  const shares = extensions.get(51) ?? Buffer.alloc(0);
  for (let at = 2; at < shares.length;) {
    const key = shares.subarray(at + 4, at + 4 + shares.readUInt16BE(at + 2));
    if (shares.readUInt16BE(at) === X25519) return key;
    at += 4 + key.length;
  }
  throw new Error("the client offers no X25519 share");
}

/** Signs with a P-256 key as an honest server would. */
export function p256Signer(key: KeyObject): (content: Uint8Array) => HandshakeSignature {
  return (content) => ({ scheme: 0x0403, signature: sign("sha256", content, key) });
}

/** Serves one connection, to its end, and reports. */
export async function rogueServer(conn: Conn, options: RogueOptions): Promise<RogueResult> {
  const records = new Records(conn);
  const first = await records.next();
  assert(first !== undefined && first[0] === HANDSHAKE, "no ClientHello");
  const clientHello = first.subarray(5);
  const hello = readHello(clientHello);
  const { privateKey, publicKey } = generateKeyPairSync("x25519");
  const ours = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const theirs = createPublicKey({
    key: Buffer.concat([SPKI_X25519, shareOf(hello)]),
    format: "der",
    type: "spki",
  });
  const shared = diffieHellman({ privateKey, publicKey: theirs });
  const serverHello = message(
    2,
    Buffer.from([3, 3]),
    randomBytes(32),
    hello.sessionId,
    Buffer.from([0x13, 0x01, 0]),
    vector(
      2,
      Buffer.concat([u16(43), vector(2, Buffer.from([3, 4]))]),
      Buffer.concat([u16(51), vector(2, u16(X25519), vector(2, ours))]),
    ),
  );
  const none = Buffer.alloc(0);
  const zero = Buffer.alloc(32);
  const handshakeSecret = hmac(derive(hmac(zero, zero), "derived", none), shared);
  let transcript = Buffer.concat([clientHello, serverHello]);
  const writing = new Protection(derive(handshakeSecret, "s hs traffic", transcript));
  let reading = new Protection(derive(handshakeSecret, "c hs traffic", transcript));

  const flight: Buffer[] = [];
  const add = (part: Buffer): void => {
    flight.push(part);
    transcript = Buffer.concat([transcript, part]);
  };
  const schemes = Buffer.from([4, 3, 5, 3, 8, 4, 8, 7]);
  add(message(8, vector(2)));
  add(message(13, vector(1), vector(2, u16(13), vector(2, vector(2, schemes)))));
  add(message(
    11,
    vector(1),
    vector(3, ...options.chain.flatMap((der) => [vector(3, der), vector(2)])),
  ));
  const content = Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from("TLS 1.3, server CertificateVerify\0"),
    hash(transcript),
  ]);
  const { scheme, signature } = options.sign?.(content) ??
    { scheme: 0x0403, signature: Buffer.alloc(70) };
  add(message(15, u16(scheme), vector(2, signature)));
  if (options.withholdFinished !== true) {
    const key = expand(writing.secret, "finished", none, 32);
    add(message(FINISHED, hmac(key, hash(transcript))));
  }

  const sealed: Buffer[] = [];
  const plain = Buffer.concat(flight);
  for (let at = 0; at < plain.length; at += 16_000) {
    sealed.push(writing.seal(HANDSHAKE, plain.subarray(at, at + 16_000)));
  }
  const clear = Buffer.concat([Buffer.from([HANDSHAKE, 3, 3]), vector(2, serverHello)]);
  await conn.write(Buffer.concat([clear, ...sealed]))?.catch(() => {});

  const messages: string[] = [];
  const certificates: Buffer[] = [];
  const alerts: number[] = [];
  const plaintext: Buffer[] = [];
  let finished = false;
  for (let record = await records.next(); record; record = await records.next()) {
    if (record[0] === ALERT) alerts.push(record[6] ?? -1);
    if (record[0] !== DATA) continue;
    const { type, content } = reading.open(record);
    if (type === ALERT) alerts.push(content[1] ?? -1);
    if (type === DATA) plaintext.push(content);
    if (type !== HANDSHAKE) continue;
    for (let at = 0; at < content.length;) {
      const part = content.subarray(at, at + 4 + content.readUIntBE(at + 1, 3));
      at += part.length;
      messages.push(MESSAGES[part[0] ?? -1] ?? `message ${part[0]}`);
      if (part[0] === 11 && part.readUIntBE(5, 3) > 0) {
        certificates.push(part.subarray(11, 11 + part.readUIntBE(8, 3)));
      }
      if (part[0] === FINISHED) {
        const expected = hmac(expand(reading.secret, "finished", none, 32), hash(transcript));
        finished = expected.equals(part.subarray(4));
        const master = hmac(derive(handshakeSecret, "derived", none), zero);
        const serverEnd = transcript.subarray(
          0,
          clientHello.length + serverHello.length +
            plain.length,
        );
        reading = new Protection(derive(master, "c ap traffic", serverEnd));
      }
      transcript = Buffer.concat([transcript, part]);
    }
  }
  return { messages, certificates, finished, plaintext: Buffer.concat(plaintext), alerts };
}

/**
 * TLS by hand: the hellos of both sides, written and read.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { keyShare } from "./crypto.ts";
import { X25519_MLKEM768 } from "./hybrid.ts";
import {
  helloExtension,
  MESSAGE,
  message,
  SUITE_13,
  SUITES_12,
  u16,
  vector,
  X25519,
} from "./octets.ts";

/** Versions that are spoken here. */
export type Version = "TLS1.2" | "TLS1.3";

/**
 * A client's hello; `share` is its X25519 key, which TLS 1.2 sends later. With a key for the hybrid it
 * prefers that.
 */
export function clientHello(
  version: Version,
  share: Uint8Array = keyShare().own,
  hybrid?: Uint8Array,
): Buffer {
  const is13 = version === "TLS1.3";
  const [preferred, keys] = hybrid === undefined
    ? [[], []]
    : [[u16(X25519_MLKEM768)], [u16(X25519_MLKEM768), vector(2, hybrid)]];
  const schemes = [0x0403, 0x0503, 0x0804, 0x0805, 0x0806, 0x0807, 0x0401];
  const suites = is13 ? [SUITE_13] : SUITES_12;
  const extensions = [
    helloExtension(0, vector(2, Buffer.from([0]), vector(2, Buffer.from("localhost")))),
    helloExtension(10, vector(2, ...preferred, u16(X25519))),
    helloExtension(13, vector(2, ...schemes.map(u16))),
    ...(is13
      ? [
        helloExtension(43, vector(1, Buffer.from([3, 4]))),
        helloExtension(45, vector(1, Buffer.from([1]))),
        helloExtension(51, vector(2, ...keys, u16(X25519), vector(2, share))),
      ]
      : [helloExtension(11, vector(1, Buffer.from([0]))), helloExtension(35)]),
  ];
  return message(
    MESSAGE.clientHello,
    Buffer.from([3, 3]),
    randomBytes(32),
    vector(1),
    vector(2, ...suites.map(u16)),
    vector(1, Buffer.from([0])),
    vector(2, ...extensions),
  );
}

/** The random of a hello, whichever side's. */
export function randomOf(hello: Buffer): Buffer {
  return hello.subarray(6, 38);
}

/** The server's key in its hello. */
export function shareOf(hello: Buffer): Buffer {
  // A hello of TLS 1.3 to a client without a session identifier: the random, suite, compression.
  let at = 4 + 2 + 32 + 1 + (hello[38] ?? 0) + 2 + 1 + 2;
  while (at < hello.length) {
    const length = hello.readUInt16BE(at + 2);
    if (hello.readUInt16BE(at) === 51) return hello.subarray(at + 8, at + 4 + length);
    at += 4 + length;
  }
  throw new Error("the server's hello has no key share");
}

/** The contents of the extensions of a ClientHello by their types, and its session identifier. */
export function readHello(
  hello: Buffer,
): { readonly sessionId: Buffer; readonly extensions: ReadonlyMap<number, Buffer> } {
  let at = 4 + 2 + 32;
  const sessionId = hello.subarray(at, at + 1 + (hello[at] ?? 0));
  at += sessionId.length;
  at += 2 + hello.readUInt16BE(at);
  at += 1 + (hello[at] ?? 0);
  const extensions = new Map<number, Buffer>();
  for (at += 2; at < hello.length;) {
    const body = hello.subarray(at + 4, at + 4 + hello.readUInt16BE(at + 2));
    extensions.set(hello.readUInt16BE(at), body);
    at += 4 + body.length;
  }
  return { sessionId, extensions };
}

/** The key for a group among those that a client offers. */
export function offeredShare(extensions: ReadonlyMap<number, Buffer>, group = X25519): Buffer {
  const shares = extensions.get(51) ?? Buffer.alloc(0);
  for (let at = 2; at < shares.length;) {
    const key = shares.subarray(at + 4, at + 4 + shares.readUInt16BE(at + 2));
    if (shares.readUInt16BE(at) === group) return key;
    at += 4 + key.length;
  }
  throw new Error(`the client offers no share of group ${group}`);
}

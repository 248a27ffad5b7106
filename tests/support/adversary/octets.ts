/**
 * TLS by hand, for peers that do what no library would: the octets of records and messages (RFC 8446
 * sections 4 and 5, RFC 5246). Nothing here checks what it is told to write.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** Content types of records. */
export const RECORD = { ccs: 20, alert: 21, handshake: 22, data: 23, heartbeat: 24 } as const;

/** Types of handshake messages. */
export const MESSAGE = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  encryptedExtensions: 8,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

/** The named group that is spoken here. */
export const X25519 = 0x001d;
/** TLS_AES_128_GCM_SHA256. */
export const SUITE_13 = 0x1301;
/** TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and the same with RSA. */
export const SUITES_12 = [0xc02b, 0xc02f] as const;

/** Two octets, high one first. */
export function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** A length in so many octets, and what it counts. */
export function vector(lengthOctets: 1 | 2 | 3, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(lengthOctets);
  length.writeUIntBE(body.length, 0, lengthOctets);
  return Buffer.concat([length, body]);
}

/** A handshake message. */
export function message(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([type]), vector(3, ...parts)]);
}

/** An extension of a hello. */
export function helloExtension(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u16(type), vector(2, ...parts)]);
}

/** A record as it goes over the wire; its length may lie. */
export function record(
  type: number,
  body: Uint8Array,
  { version = 0x0303, length = body.length }: { version?: number; length?: number } = {},
): Buffer {
  return Buffer.concat([Buffer.from([type]), u16(version), u16(length), body]);
}

/**
 * The type-length-value fields after the addresses of a version 2 header.
 *
 * @module
 */

import { SSL_FIXED_LENGTH, TLV, TLV_HEADER_LENGTH } from "./format.ts";

/** One field. */
export type Tlv = {
  readonly type: number;
  readonly value: Uint8Array;
  /** Offset of the value from the start of the first field. */
  readonly offset: number;
};

/** Concatenates the parts. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Encodes one field.
 *
 * @throws {RangeError} when the value is longer than 65535 bytes.
 */
export function writeTlv(type: number, value: Uint8Array): Uint8Array {
  if (value.length > 0xffff) {
    throw new RangeError(`Cannot write a TLV of ${value.length} bytes: 65535 is the most`);
  }
  return concat([Uint8Array.of(type, value.length >> 8, value.length & 0xff), value]);
}

/**
 * Splits bytes into fields; `undefined` where the last field does not end exactly at the end of
 * `bytes`.
 */
export function readTlvs(bytes: Uint8Array): readonly Tlv[] | undefined {
  const found: Tlv[] = [];
  for (let at = 0; at < bytes.length;) {
    const [type, high, low] = bytes.subarray(at, at + TLV_HEADER_LENGTH);
    if (type === undefined || high === undefined || low === undefined) return undefined;
    const offset = at + TLV_HEADER_LENGTH;
    at = offset + high * 256 + low;
    if (at > bytes.length) return undefined;
    found.push({ type, value: bytes.subarray(offset, at), offset });
  }
  return found;
}

/** Why the fields are invalid, or `undefined`. Unknown types are ignored. */
export function tlvFault(found: readonly Tlv[] | undefined): string | undefined {
  if (found === undefined) return "a TLV goes beyond the end";
  const sums = found.filter(({ type }) => type === TLV.crc32c);
  if (sums.length > 1) return "there is more than one checksum";
  if (sums.some(({ value }) => value.length !== 4)) return "the checksum is not 4 bytes long";
  const broken = found.some(({ type, value }) =>
    type === TLV.ssl &&
    (value.length < SSL_FIXED_LENGTH || readTlvs(value.subarray(SSL_FIXED_LENGTH)) === undefined)
  );
  return broken ? "a TLV inside the one about TLS goes beyond the end" : undefined;
}

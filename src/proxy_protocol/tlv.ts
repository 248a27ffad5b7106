/**
 * The type-length-value fields behind the addresses of a version 2 header.
 *
 * @module
 */

import { SSL_FIXED_LENGTH, TLV, TLV_HEADER_LENGTH } from "./format.ts";

/** One field. */
export type Tlv = {
  readonly type: number;
  readonly value: Uint8Array;
  /** Where the value begins, from the first field on. */
  readonly offset: number;
};

/** All of the parts in one. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** One field. @throws {RangeError} when the value is longer than 65535 bytes. */
export function writeTlv(type: number, value: Uint8Array): Uint8Array {
  if (value.length > 0xffff) {
    throw new RangeError(`Cannot write a TLV of ${value.length} bytes: 65535 is the most`);
  }
  return concat([Uint8Array.of(type, value.length >> 8, value.length & 0xff), value]);
}

/** Takes fields apart; `undefined` where they do not end exactly where `bytes` does. */
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

/** Why fields are not to be believed, or `undefined`; what is not known is passed over. */
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

/**
 * A small DER writer for tests (ITU-T X.690). It writes what it is told to, so that a test can also
 * make what no honest encoder would.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** Encoded bytes: one value or several in a row. */
export type Der = Uint8Array;

/** Bytes, or hex digits (white space is ignored). */
export type Bytes = Uint8Array | string;

/** Joins byte strings. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Takes bytes as they are; a string is read as hex digits, and an odd or foreign digit throws. */
export function raw(bytes: Bytes): Der {
  if (typeof bytes !== "string") return bytes;
  const digits = bytes.replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new TypeError(`Cannot read hex: ${bytes}`);
  return new Uint8Array(Buffer.from(digits, "hex"));
}

/** The length octets in their shortest form. */
export function length(size: number): Uint8Array {
  if (size < 0x80) return Uint8Array.of(size);
  const digits: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Uint8Array.of(0x80 | digits.length, ...digits);
}

/** One value with the given identifier octet (tags above 30 are not needed here). */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Der {
  const content = concat(...contents);
  return concat(Uint8Array.of(tag), length(content.length), content);
}

/** The offset of the content and the end of the first value in `der`. */
function bounds(der: Der): { readonly start: number; readonly end: number } {
  const first = der[1] ?? 0;
  const octets = first < 0x80 ? 0 : first & 0x7f;
  let size = octets === 0 ? first : 0;
  for (let i = 0; i < octets; i++) size = size * 256 + (der[2 + i] ?? 0);
  return { start: 2 + octets, end: 2 + octets + size };
}

/** The content of the first value in `der`. */
export function contentOf(der: Der): Uint8Array {
  const { start, end } = bounds(der);
  return der.subarray(start, end);
}

/** Splits values that stand in a row. */
export function split(der: Der): Der[] {
  const values: Der[] = [];
  for (let rest = der; rest.length > 0;) {
    const { end } = bounds(rest);
    values.push(rest.subarray(0, end));
    rest = rest.subarray(end);
  }
  return values;
}

/** BER, not DER: the first value again, its length with `extra` leading zero octets. */
export function longForm(der: Der, extra = 1): Der {
  const content = contentOf(der);
  const digits = length(content.length);
  const value = digits.length === 1 ? digits : digits.subarray(1);
  const octets = concat(new Uint8Array(digits.length === 1 ? extra - 1 : extra), value);
  return concat(Uint8Array.of(der[0] ?? 0, 0x80 | octets.length), octets, content);
}

/** BER, not DER: the first value again with an indefinite length. */
export function indefinite(der: Der): Der {
  return concat(Uint8Array.of(der[0] ?? 0, 0x80), contentOf(der), Uint8Array.of(0, 0));
}

/** SEQUENCE. */
export function seq(...items: readonly Der[]): Der {
  return tlv(0x30, ...items);
}

/** SET OF, sorted as DER demands. */
export function set(...items: readonly Der[]): Der {
  return tlv(0x31, ...items.toSorted((a, b) => Buffer.compare(a, b)));
}

/** SET OF in the order given. */
export function setUnsorted(...items: readonly Der[]): Der {
  return tlv(0x31, ...items);
}

/** BOOLEAN. */
export function bool(value: boolean): Der {
  return tlv(0x01, Uint8Array.of(value ? 0xff : 0));
}

/** INTEGER: a number in its shortest two's complement, or content octets as they are. */
export function int(value: number | bigint | Bytes): Der {
  if (typeof value !== "number" && typeof value !== "bigint") return tlv(0x02, raw(value));
  const octets: number[] = [];
  for (let rest = BigInt(value);; rest >>= 8n) {
    octets.unshift(Number(rest & 0xffn));
    if ((rest >= -128n && rest < 128n)) break;
  }
  return tlv(0x02, Uint8Array.from(octets));
}

/** ENUMERATED. */
export function enumerated(value: number): Der {
  return tlv(0x0a, contentOf(int(value)));
}

/** NULL. */
export function nil(): Der {
  return tlv(0x05);
}

/** OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Der {
  const [first, second, ...others] = dotted.split(".").map((arc) => BigInt(arc));
  if (first === undefined || second === undefined) {
    throw new TypeError(`Cannot read OID: ${dotted}`);
  }
  const octets: number[] = [];
  for (const arc of [first * 40n + second, ...others]) {
    const digits = [Number(arc & 0x7fn)];
    for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) {
      digits.unshift(Number(rest & 0x7fn) | 0x80);
    }
    octets.push(...digits);
  }
  return tlv(0x06, Uint8Array.from(octets));
}

/** OCTET STRING. */
export function octet(...contents: readonly Uint8Array[]): Der {
  return tlv(0x04, ...contents);
}

/** BIT STRING of whole octets, the last `unused` bits of which do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Der {
  return tlv(0x03, Uint8Array.of(unused), bytes);
}

/** BIT STRING of named bits (bit 0 is the first), trailing zero bits left out as DER demands. */
export function namedBits(bits: readonly number[]): Der {
  const highest = Math.max(-1, ...bits);
  const bytes = new Uint8Array(Math.floor(highest / 8) + 1);
  for (const bit of bits) {
    const at = Math.floor(bit / 8);
    bytes[at] = (bytes[at] ?? 0) | (0x80 >> (bit % 8));
  }
  return bitString(bytes, highest < 0 ? 0 : 7 - highest % 8);
}

const text = new TextEncoder();

/** UTF8String. */
export function utf8(value: string): Der {
  return tlv(0x0c, text.encode(value));
}

/** PrintableString; the characters are not checked. */
export function printable(value: string): Der {
  return tlv(0x13, text.encode(value));
}

/** TeletexString, written as Latin-1. */
export function teletex(value: string): Der {
  return tlv(0x14, new Uint8Array(Buffer.from(value, "latin1")));
}

/** IA5String; the characters are not checked. */
export function ia5(value: string): Der {
  return tlv(0x16, text.encode(value));
}

/** BMPString: UTF-16, high octet first; surrogates are not checked. */
export function bmp(value: string): Der {
  return tlv(0x1e, new Uint8Array(Buffer.from(value, "utf16le").swap16()));
}

/** UniversalString: UTF-32, high octet first. */
export function universal(value: string): Der {
  const points = [...value].map((character) => character.codePointAt(0) ?? 0);
  return tlv(0x1c, Uint8Array.from(points.flatMap((p) => [p >>> 24, p >>> 16, p >>> 8, p])));
}

/** `YYYYMMDDHHMMSSZ`. */
function stamp(date: Date): string {
  return date.toISOString().replace(/\.\d+/, "").replace(/[-:T]/g, "");
}

/** UTCTime; a string is written as it is (`2401010000Z`, `240101000000+0100`). */
export function utcTime(time: Date | string): Der {
  return tlv(0x17, text.encode(typeof time === "string" ? time : stamp(time).slice(2)));
}

/** GeneralizedTime; a string is written as it is (`20240101000000.5Z`). */
export function generalizedTime(time: Date | string): Der {
  return tlv(0x18, text.encode(typeof time === "string" ? time : stamp(time)));
}

/** UTCTime up to 2049 and GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5). */
export function time(date: Date): Der {
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050 ? utcTime(date) : generalizedTime(date);
}

/** `[n] EXPLICIT`: the whole value inside. */
export function explicit(tag: number, ...values: readonly Der[]): Der {
  return tlv(0xa0 | tag, ...values);
}

/** `[n] IMPLICIT`: the value's own tag replaced, its constructed bit kept. */
export function implicit(tag: number, value: Der): Der {
  return tlv(0x80 | ((value[0] ?? 0) & 0x20) | tag, contentOf(value));
}

/**
 * A parser for DER, the canonical encoding of ASN.1 (X.690 section 10): definite lengths in the
 * fewest bytes, single-byte tags, no trailing bytes. Non-canonical encodings are rejected, because
 * forged certificates exploit parsers that disagree about the same bytes.
 *
 * Three deviations are accepted, as in OpenSSL, Go and the runtime's TLS, because CAs in use write
 * them and no two parsers disagree about their meaning: an explicit default
 * ({@linkcode readDefaultFalse}), zero bits at the end of a named bit list
 * ({@linkcode readNamedBits}), and serial numbers that are negative or long
 * ({@linkcode readSerial}).
 *
 * @module
 */

import { CertificateError } from "./certificate.ts";

/** Universal tags that certificates use. Context tags are `0x80 | n`, constructed `0xa0 | n`. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The longest certificate in bytes; the runtime's TLS has the same limit. */
export const MAX_DER_LENGTH = 65_535;
/**
 * Maximum number of bytes in a length. Only revocation lists, which may be longer than the above,
 * need four.
 */
const MAX_LENGTH_BYTES = 4;

/**
 * One tag, length and value. Views are made only on request, because certificates hold thousands of
 * elements.
 */
export class Element {
  /** The identifier byte. */
  readonly tag: number;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #contentStart: number;
  readonly #end: number;

  /** The element of `bytes` from `start` to `end`, whose content begins at `contentStart`. */
  constructor(bytes: Uint8Array, start: number, contentStart: number, end: number) {
    this.tag = bytes[start] ?? 0;
    this.#bytes = bytes;
    this.#start = start;
    this.#contentStart = contentStart;
    this.#end = end;
  }

  /** The content, as a view. */
  get content(): Uint8Array {
    return this.#bytes.subarray(this.#contentStart, this.#end);
  }

  /** Header and content, as a view. */
  get whole(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }
}

function fail(message: string): never {
  throw new CertificateError(message);
}

/** Iterates over consecutive elements. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  /** Starts at the first byte of `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether everything was read. */
  get done(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** The next element's tag, or `undefined` at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /**
   * Reads the next element, which must have `tag` if one is given.
   *
   * @throws {CertificateError} when it is missing or not canonical.
   */
  next(what: string, tag?: number): Element {
    const bytes = this.#bytes;
    const start = this.#offset;
    const found = bytes[start];
    if (found === undefined) return fail(`${what} is missing`);
    if (tag !== undefined && found !== tag) {
      return fail(`${what} has tag 0x${hex(found)} where 0x${hex(tag)} belongs`);
    }
    if ((found & 0x1f) === 0x1f) return fail(`${what} has a tag of more than one byte`);
    const first = bytes[start + 1];
    // A fast path: nearly all elements of a certificate are shorter than 128 bytes.
    const { length, headerLength } = first !== undefined && first < 0x80
      ? { length: first, headerLength: 1 }
      : readLength(bytes, start + 1, what);
    const contentStart = start + 1 + headerLength;
    const end = contentStart + length;
    if (end > bytes.length) return fail(`${what} is cut off`);
    this.#offset = end;
    return new Element(bytes, start, contentStart, end);
  }

  /** Reads the next element if it has `tag`; otherwise returns `undefined`. */
  optional(what: string, tag: number): Element | undefined {
    return this.peek() === tag ? this.next(what, tag) : undefined;
  }

  /**
   * Checks that everything was read.
   *
   * @throws {CertificateError} when bytes are left over.
   */
  end(what: string): void {
    if (!this.done) fail(`${what} has bytes left over at its end`);
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

function readLength(
  bytes: Uint8Array,
  at: number,
  what: string,
): { length: number; headerLength: number } {
  const first = bytes[at];
  if (first === undefined) return fail(`${what} is cut off`);
  const count = first & 0x7f;
  if (count === 0) return fail(`${what} has an indefinite length, which is not DER`);
  if (count > 2 && (bytes.length <= MAX_DER_LENGTH || count > MAX_LENGTH_BYTES)) {
    return fail(`${what} is longer than ${MAX_DER_LENGTH} bytes`);
  }
  let length = 0;
  for (let i = at + 1; i <= at + count; i++) {
    const byte = bytes[i];
    if (byte === undefined) return fail(`${what} is cut off`);
    length = length * 256 + byte;
  }
  if (length < (count === 1 ? 0x80 : 256 ** (count - 1))) {
    return fail(`${what} has a length in more bytes than needed, which is not DER`);
  }
  return { length, headerLength: 1 + count };
}

/** A reader of the children of a SEQUENCE that spans all of `bytes`. */
export function sequence(bytes: Uint8Array, what: string): DerReader {
  const outer = new DerReader(bytes);
  const element = outer.next(what, TAG.sequence);
  outer.end(what);
  return new DerReader(element.content);
}

/** Parses an object identifier into dotted decimal. */
export function readOid(content: Uint8Array, what: string): string {
  if (content.length === 0 || content.length > 64) return fail(`${what} is not an OID`);
  let text = "";
  let arc = 0;
  let fresh = true;
  for (const byte of content) {
    if (fresh && byte === 0x80) return fail(`${what} is an OID that is not DER`);
    if (arc >= 2 ** 45) return fail(`${what} is an OID with too large an arc`);
    arc = arc * 128 + (byte & 0x7f);
    fresh = (byte & 0x80) === 0;
    if (!fresh) continue;
    if (text === "") {
      const top = Math.min(2, Math.floor(arc / 40));
      text = `${top}.${arc - top * 40}`;
    } else {
      text += `.${arc}`;
    }
    arc = 0;
  }
  return fresh ? text : fail(`${what} is an OID that is cut off`);
}

/** The bytes of a non-negative INTEGER without a leading zero byte. Rejects negative ones. */
export function readUnsigned(content: Uint8Array, what: string): Uint8Array {
  const [first, second] = content;
  if (first === undefined) return fail(`${what} is an empty INTEGER`);
  if (second !== undefined && (first === 0 ? second < 0x80 : first === 0xff && second >= 0x80)) {
    return fail(`${what} is an INTEGER that is not DER`);
  }
  if (first >= 0x80) return fail(`${what} is negative`);
  return first === 0 && second !== undefined ? content.subarray(1) : content;
}

/** Length limit of a serial number in bytes; RFC 5280 section 4.1.2.2 allows CAs 20. */
const MAX_SERIAL_BYTES = 256;

/**
 * A serial number in lower-case hex, two digits per byte, without a leading zero byte that only
 * makes it positive. Old CAs wrote negative ones: these become the magnitude after a `-`, as
 * OpenSSL shows them, so that `-01` and `ff` remain different numbers.
 */
export function readSerial(content: Uint8Array): string {
  const what = "serial number";
  const [first = 0, second = 0] = content;
  const value = first < 0x80 ? readUnsigned(content, what) : content;
  if (value.length > MAX_SERIAL_BYTES) {
    return fail(`${what} is longer than ${MAX_SERIAL_BYTES} bytes`);
  }
  if (first < 0x80) return value.toHex();
  if (first === 0xff && second >= 0x80) return fail(`${what} is an INTEGER that is not DER`);
  const magnitude = content.map((byte) => ~byte);
  for (let i = magnitude.length - 1; i >= 0; i--) {
    const next = ((magnitude[i] ?? 0) + 1) & 0xff;
    magnitude[i] = next;
    if (next !== 0) break;
  }
  const from = magnitude.length > 1 && magnitude[0] === 0 ? 1 : 0;
  return `-${magnitude.subarray(from).toHex()}`;
}

/** Parses a non-negative INTEGER of at most 2^31-1. */
export function readSmallInteger(content: Uint8Array, what: string): number {
  const bytes = readUnsigned(content, what);
  const value = bytes.length > 4 ? Infinity : bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  if (value > 0x7fffffff) return fail(`${what} is too large`);
  return value;
}

/** Parses a BOOLEAN: DER allows only 0x00 and 0xff. */
export function readBoolean(content: Uint8Array, what: string): boolean {
  const [byte] = content;
  if (content.length !== 1 || (byte !== 0 && byte !== 0xff)) {
    return fail(`${what} is a BOOLEAN that is not DER`);
  }
  return byte === 0xff;
}

/**
 * Parses a BOOLEAN DEFAULT FALSE. DER omits FALSE; an explicit one means the same and is accepted
 * too.
 */
export function readDefaultFalse(reader: DerReader, what: string): boolean {
  const element = reader.optional(what, TAG.boolean);
  return element !== undefined && readBoolean(element.content, what);
}

/** Parses a BIT STRING of whole bytes: a signature or a key. */
export function readBitString(content: Uint8Array, what: string): Uint8Array {
  if (content.length < 1 || content[0] !== 0) {
    return fail(`${what} is a BIT STRING that is not of whole bytes`);
  }
  return content.subarray(1);
}

/**
 * Parses a named bit list into bytes. DER omits trailing zero bits (X.690 section 11.2.2); they
 * mean nothing and are accepted. Unused bits that are set are rejected, because some parsers
 * interpret them.
 */
export function readNamedBits(content: Uint8Array, what: string): Uint8Array {
  const unused = content[0];
  const bits = content.subarray(1);
  const last = bits.at(-1);
  if (unused === undefined || unused > 7 || (last === undefined && unused !== 0)) {
    return fail(`${what} is not a BIT STRING`);
  }
  if (last !== undefined && (last & ((1 << unused) - 1)) !== 0) {
    return fail(`${what} has unused bits that are set, which is not DER`);
  }
  return bits;
}

/** Parses `count` decimal digits; -1 when there is another character. */
function readDigits(content: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const digit = (content[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/**
 * Parses a UTCTime or GeneralizedTime in the form that RFC 5280 section 4.1.2.5 requires, into
 * milliseconds since the epoch. Optimized, because revocation lists hold many.
 */
export function readTime({ tag, content }: Element, what: string): number {
  const long = tag === TAG.generalizedTime;
  if (!long && tag !== TAG.utcTime) return fail(`${what} is not a time`);
  const digits = long ? 4 : 2;
  const written = readDigits(content, 0, digits);
  const month = readDigits(content, digits, 2);
  const day = readDigits(content, digits + 2, 2);
  const hour = readDigits(content, digits + 4, 2);
  const minute = readDigits(content, digits + 6, 2);
  const second = readDigits(content, digits + 8, 2);
  const formed = content.length === digits + 11 && content[digits + 10] === 0x5a &&
    Math.min(written, month, day, hour, minute, second) >= 0;
  if (!formed) return fail(`${what} is not written as ${long ? "YYYY" : "YY"}MMDDHHMMSSZ`);
  const year = long ? written : written + (written < 50 ? 2000 : 1900);
  // `Date.UTC` maps years below 100 to 19xx. The calendar repeats after 400 years, so calculate
  // with a later year.
  const date = new Date(Date.UTC(year + 400, month - 1, day));
  // A day beyond the end of its month would become one of the next month.
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day &&
    hour < 24 && minute < 60 && second < 60;
  if (!exists) return fail(`${what} is not a time that exists`);
  return date.getTime() - FOUR_CENTURIES + (hour * 3600 + minute * 60 + second) * 1000;
}

/** Milliseconds of any 400 years. */
const FOUR_CENTURIES = 146_097 * 86_400_000;

/**
 * The reader of DER takes the one encoding of each value and no other.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CertificateError } from "../../../src/x509/certificate.ts";
import * as reader from "../../../src/x509/der.ts";
import * as der from "../../support/der.ts";

function test(name: string, fn: () => void): void {
  Deno.test({ name: `der: ${name}`, permissions: "none", fn });
}

function refuses(fn: () => unknown, message: string, what?: string): void {
  assert.throws(fn, { name: "CertificateError", message }, what);
}

const { raw } = der;

test("walks over values", () => {
  const values = new reader.DerReader(raw("020101 0500 0401ff"));
  assert.equal(values.peek(), 0x02);
  const { tag, content, whole } = values.next("x", 0x02);
  assert.deepEqual({ tag, content, whole }, {
    tag: 2,
    content: raw("01"),
    whole: raw("020101"),
  });
  assert.equal(values.optional("x", 0x02), undefined);
  assert.deepEqual(values.optional("x", 0x05)?.whole, raw("0500"));
  assert.equal(values.done, false);
  refuses(() => values.end("x"), "x has bytes left over at its end");
  assert.deepEqual(values.next("x").content, raw("ff"));
  assert.equal(values.done, true);
  assert.equal(values.peek(), undefined);
  values.end("x");
  refuses(() => values.next("x"), "x is missing");
});

test("header: one tag byte, the shortest length", () => {
  const cases: [string, string][] = [
    ["", "x is missing"],
    ["04", "x is cut off"],
    ["0401", "x is cut off"],
    ["048180", "x is cut off"],
    ["0481", "x is cut off"],
    ["048201", "x is cut off"],
    ["04820100", "x is cut off"],
    ["0480000000", "x has an indefinite length, which is not DER"],
    ["04810101", "x has a length in more bytes than needed, which is not DER"],
    ["0482000101", "x has a length in more bytes than needed, which is not DER"],
    ["048200ff", "x has a length in more bytes than needed, which is not DER"],
    ["04830000ff", "x is longer than 65535 bytes"],
    ["0483010000", "x is longer than 65535 bytes"],
    ["0484ffffffff", "x is longer than 65535 bytes"],
    ["04ffffffff", "x is longer than 65535 bytes"],
    ["1f0100", "x has a tag of more than one byte"],
    ["bf0100", "x has a tag of more than one byte"],
  ];
  for (const [hex, message] of cases) {
    refuses(() => new reader.DerReader(raw(hex)).next("x"), message, hex);
  }
  refuses(
    () => new reader.DerReader(raw("0500")).next("x", 0x30),
    "x has tag 0x05 where 0x30 belongs",
  );
  for (const size of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff]) {
    const value = der.octet(new Uint8Array(size));
    assert.equal(new reader.DerReader(value).next("x").content.length, size);
    assert.equal(new reader.DerReader(value).next("x").whole.length, value.length);
  }
});

test("a sequence is the whole of its bytes", () => {
  assert.equal(reader.sequence(raw("3000"), "x").done, true);
  refuses(() => reader.sequence(raw("300000"), "x"), "x has bytes left over at its end");
  refuses(() => reader.sequence(raw("3100"), "x"), "x has tag 0x31 where 0x30 belongs");
});

test("object identifiers", () => {
  const read = (hex: string): string => reader.readOid(raw(hex), "x");
  for (const dotted of ["0.0", "0.39", "1.0", "1.39", "2.0", "2.40", "2.999", "1.2.840.113549.1"]) {
    assert.equal(reader.readOid(der.contentOf(der.oid(dotted)), "x"), dotted);
  }
  assert.equal(read("2a" + "ffffffffffff7f"), `1.2.${2 ** 49 - 1}`);
  refuses(() => read(""), "x is not an OID");
  refuses(() => read("2a".repeat(65)), "x is not an OID");
  refuses(() => read("80"), "x is an OID that is not DER");
  refuses(() => read("2a8001"), "x is an OID that is not DER");
  refuses(() => read("ff"), "x is an OID that is cut off");
  refuses(() => read("2aff"), "x is an OID that is cut off");
  refuses(() => read("2affffffffffffffff7f"), "x is an OID with too large an arc");
});

test("integers", () => {
  const read = (hex: string): Uint8Array => reader.readUnsigned(raw(hex), "x");
  assert.deepEqual(read("00"), raw("00"));
  assert.deepEqual(read("7f"), raw("7f"));
  assert.deepEqual(read("0080"), raw("80"));
  assert.deepEqual(read("00ff01"), raw("ff01"));
  refuses(() => read(""), "x is an empty INTEGER");
  refuses(() => read("007f"), "x is an INTEGER that is not DER");
  refuses(() => read("0000"), "x is an INTEGER that is not DER");
  refuses(() => read("ff80"), "x is an INTEGER that is not DER");
  refuses(() => read("80"), "x is negative");
  refuses(() => read("ff"), "x is negative");
  refuses(() => read("ff7f"), "x is negative");
  const small = (hex: string): number => reader.readSmallInteger(raw(hex), "x");
  assert.equal(small("00"), 0);
  assert.equal(small("7fffffff"), 0x7fffffff);
  refuses(() => small("0080000000"), "x is too large");
  refuses(() => small("0100000000"), "x is too large");
  refuses(() => small("01".padEnd(400, "0")), "x is too large");
});

test("serial numbers, which may be negative and long", () => {
  const serial = (hex: string): string => reader.readSerial(raw(hex));
  const rows = [
    ["00", "00"],
    ["01", "01"],
    ["00ff", "ff"],
    ["0080", "80"],
    ["ff", "-01"],
    ["80", "-80"],
    ["ff01", "-ff"],
    ["ff00", "-0100"],
    ["ff7f", "-81"],
    ["8000", "-8000"],
    ["81".padEnd(40, "0"), `-7f${"00".repeat(19)}`],
  ] as const;
  for (const [written, expected] of rows) assert.equal(serial(written), expected, written);
  assert.equal(serial("7f".repeat(256)), "7f".repeat(256));
  assert.equal(serial("00" + "ff".repeat(256)), "ff".repeat(256));
  refuses(() => serial("7f".repeat(257)), "serial number is longer than 256 bytes");
  refuses(() => serial(""), "serial number is an empty INTEGER");
  for (const hex of ["0001", "007f", "ffff", "ff80"]) {
    refuses(() => serial(hex), "serial number is an INTEGER that is not DER", hex);
  }
});

test("booleans", () => {
  assert.equal(reader.readBoolean(raw("ff"), "x"), true);
  assert.equal(reader.readBoolean(raw("00"), "x"), false);
  for (const hex of ["", "01", "fe", "ffff", "0000"]) {
    refuses(() => reader.readBoolean(raw(hex), "x"), "x is a BOOLEAN that is not DER", hex);
  }
  const withDefault = (hex: string): boolean =>
    reader.readDefaultFalse(new reader.DerReader(raw(hex)), "x");
  assert.equal(withDefault(""), false);
  assert.equal(withDefault("0500"), false);
  assert.equal(withDefault("0101ff"), true);
  // The default that is spelled out: not DER, and clear.
  assert.equal(withDefault("010100"), false);
  refuses(() => withDefault("010101"), "x is a BOOLEAN that is not DER");
});

test("strings of bits", () => {
  assert.deepEqual(reader.readBitString(raw("00"), "x"), raw(""));
  assert.deepEqual(reader.readBitString(raw("00ff"), "x"), raw("ff"));
  for (const hex of ["", "01fe", "0780", "08ff"]) {
    refuses(
      () => reader.readBitString(raw(hex), "x"),
      "x is a BIT STRING that is not of whole bytes",
      hex,
    );
  }
  const named = (hex: string): Uint8Array => reader.readNamedBits(raw(hex), "x");
  assert.deepEqual(named("00"), raw(""));
  assert.deepEqual(named("0780"), raw("80"));
  assert.deepEqual(named("0001"), raw("01"));
  assert.deepEqual(named("078080"), raw("8080"));
  // Zero bits at the end: not DER, and clear.
  assert.deepEqual(named("0000"), raw("00"));
  assert.deepEqual(named("0080"), raw("80"));
  assert.deepEqual(named("0680"), raw("80"));
  assert.deepEqual(named("00ff00"), raw("ff00"));
  for (const hex of ["", "01", "0880", "ff80"]) {
    refuses(() => named(hex), "x is not a BIT STRING", hex);
  }
  for (const hex of ["0781", "07ff", "0181", "07ff01"]) {
    refuses(() => named(hex), "x has unused bits that are set, which is not DER", hex);
  }
});

test("times that are written as RFC 5280 has them", () => {
  const read = (value: Uint8Array): number =>
    reader.readTime(new reader.DerReader(value).next("x"), "x");
  const good: [Uint8Array, string][] = [
    [der.utcTime("240229235959Z"), "2024-02-29T23:59:59Z"],
    [der.utcTime("000101000000Z"), "2000-01-01T00:00:00Z"],
    [der.utcTime("491231235959Z"), "2049-12-31T23:59:59Z"],
    [der.utcTime("500101000000Z"), "1950-01-01T00:00:00Z"],
    [der.utcTime("991231235959Z"), "1999-12-31T23:59:59Z"],
    [der.generalizedTime("20500101000000Z"), "2050-01-01T00:00:00Z"],
    [der.generalizedTime("00010101000000Z"), "0001-01-01T00:00:00Z"],
    [der.generalizedTime("00000229000000Z"), "0000-02-29T00:00:00Z"],
    [der.generalizedTime("99991231235959Z"), "9999-12-31T23:59:59Z"],
    [der.generalizedTime("20000229000000Z"), "2000-02-29T00:00:00Z"],
  ];
  for (const [value, iso] of good) assert.equal(read(value), Date.parse(iso), iso);
  const odd = [
    "2401010000Z",
    "240101000000",
    "240101000000z",
    "240101000000+0000",
    "240101000000-0100",
    "240101000000.5Z",
    "24010100000Z",
    "2401010000000Z",
    "24-101000000Z",
    " 40101000000Z",
    "+40101000000Z",
    "240101000000Z ",
    "240101000000Z\0",
    "20240101000000Z",
    "",
    "\u0664\u0664",
  ];
  for (const text of odd) {
    refuses(() => read(der.utcTime(text)), "x is not written as YYMMDDHHMMSSZ", text);
  }
  const long = ["20240101000000.0Z", "20240101000000+0000", "202401010000Z", "240101000000Z", ""];
  for (const text of long) {
    refuses(() => read(der.generalizedTime(text)), "x is not written as YYYYMMDDHHMMSSZ", text);
  }
  const impossible = [
    "230229000000Z",
    "240230000000Z",
    "240001000000Z",
    "241301000000Z",
    "240100000000Z",
    "240132000000Z",
    "240431000000Z",
    "240101240000Z",
    "240101006000Z",
    "240101000060Z",
  ];
  for (const text of impossible) {
    refuses(() => read(der.utcTime(text)), "x is not a time that exists", text);
  }
  refuses(() => read(der.generalizedTime("19000229000000Z")), "x is not a time that exists");
  refuses(() => read(der.octet()), "x is not a time");
  refuses(() => read(der.utcTime("1".repeat(60_000))), "x is not written as YYMMDDHHMMSSZ");
});

test("its errors tell themselves from others", () => {
  assert.equal(new CertificateError("x").name, "CertificateError");
  assert.ok(new CertificateError("x") instanceof Error);
});

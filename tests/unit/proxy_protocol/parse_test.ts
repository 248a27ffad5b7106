import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { crc32c } from "../../../src/proxy_protocol/crc32c.ts";
import { type ParsedHeader, parseHeader } from "../../../src/proxy_protocol/parse.ts";
import { binary, hex, octets, SIGNATURE, tlvHex } from "../../support/proxy_protocol.ts";

const PURE = { permissions: "none" } as const;

function header(length: number, from?: string, to?: string): ParsedHeader {
  const end = (text: string) => {
    const colon = text.lastIndexOf(":");
    return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
  };
  const proxied = from === undefined || to === undefined
    ? undefined
    : { source: end(from), destination: end(to) };
  return { kind: "header", length, proxied };
}

const LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

/** Lines that are right, and what they say. */
const LINES: readonly (readonly [line: string, from?: string, to?: string])[] = [
  ["PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", "192.168.0.1:56324", "192.168.0.11:443"],
  ["PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0:0", "255.255.255.255:65535"],
  ["PROXY TCP6 2001:DB8::1 2001:0db8:0:0:0:0:0:2 1 2", "2001:db8::1:1", "2001:db8::2:2"],
  [
    `PROXY TCP6 ${LONGEST} ${LONGEST} 65535 65535`,
    ...[`${LONGEST}:65535`, `${LONGEST}:65535`] as const,
  ],
  ["PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2", "192.0.2.1:1", "192.0.2.2:2"],
  ["PROXY UNKNOWN"],
  ["PROXY UNKNOWN "],
  [`PROXY UNKNOWN ${LONGEST} ${LONGEST} 65535 65535`],
  ["PROXY UNKNOWN \0\xff anything at all"],
];

for (const [line, from, to] of LINES) {
  Deno.test(`v1: ${JSON.stringify(line)}`, PURE, () => {
    const bytes = octets(`${line}\r\n`);
    assert.deepEqual(parseHeader(bytes), header(bytes.length, from, to));
    assert.deepEqual(
      parseHeader(octets(`${line}\r\nPROXY TCP4\r\n`)),
      header(bytes.length, from, to),
    );
    for (let length = 0; length < bytes.length; length++) {
      assert.deepEqual(parseHeader(bytes.subarray(0, length)), { kind: "more" });
    }
  });
}

const TAIL = "192.0.2.1 192.0.2.2 1 2\r\n";

/** Lines that are wrong, with what is said of them. */
const BAD_LINES: readonly (readonly [line: string, reason: RegExp])[] = [
  [`PROXY TCP4 ${TAIL.replace("\r\n", "\n")}`, /does not end with CR and LF/],
  [`PROXY TCP4 ${TAIL.replace("\r\n", "\r")}x`, /does not end with CR and LF/],
  ["PROXY UNKNOWN\n\n", /does not end with CR and LF/],
  ["PROXY UNKNOWN a\nb\r\n", /does not end with CR and LF/],
  ["PROXY UNKNOWN a\rb\r\n", /does not end with CR and LF/],
  [`PROXY UNKNOWN ${"x".repeat(93)}`, /does not end within 107 bytes/],
  [`PROXY UNKNOWN ${"x".repeat(92)}\r\n`, /does not end within 107 bytes/],
  [`PROXY UNKNOWN ${"x".repeat(1000)}\r\n`, /does not end within 107 bytes/],
  ["PROXY \r\n", /"" is not TCP4/],
  ["PROXY UNKNOWNS\r\n", /"UNKNOWNS" is not TCP4/],
  [`PROXY tcp4 ${TAIL}`, /"tcp4" is not TCP4/],
  [`PROXY UDP4 ${TAIL}`, /"UDP4" is not/],
  [`PROXY  TCP4 ${TAIL}`, /"" is not TCP4/],
  [`PROXY TCP4  ${TAIL}`, /not exactly two addresses/],
  [`PROXY TCP4\t${TAIL}`, /is not TCP4/],
  ["PROXY TCP4\r\n", /not exactly two addresses/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", /not exactly two addresses/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", /not exactly two addresses/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", /not exactly two addresses/],
  ["PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", /"192\.0\.2\.01" is not an IPv4 address/],
  ["PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", /"192\.0\.2\.256" is not an IPv4 address/],
  ["PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", /"192\.0\.2" is not an IPv4 address/],
  ["PROXY TCP4 0x7f000001 192.0.2.2 1 2\r\n", /"0x7f000001" is not an IPv4 address/],
  ["PROXY TCP4 192.0.2.1 2130706433 1 2\r\n", /"2130706433" is not an IPv4 address/],
  ["PROXY TCP4 localhost 192.0.2.2 1 2\r\n", /"localhost" is not an IPv4 address/],
  ["PROXY TCP4 ::1 ::1 1 2\r\n", /"::1" is not an IPv4 address/],
  ["PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n", /is not an IPv4 address/],
  ["PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", /"192\.0\.2\.1" is not an IPv6 address/],
  ["PROXY TCP6 ::1 192.0.2.2 1 2\r\n", /"192\.0\.2\.2" is not an IPv6 address/],
  ["PROXY TCP6 ::1::2 ::1 1 2\r\n", /"::1::2" is not an IPv6 address/],
  ["PROXY TCP6 [::1] ::1 1 2\r\n", /"\[::1\]" is not an IPv6 address/],
  ["PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", /"fe80::1%eth0" is not an IPv6 address/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", /"01" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", /"\+1" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", /"-2" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", /"65536" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 1e3\r\n", /"1e3" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 0x50\r\n", /"0x50" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", /"" is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n", /is not a port/],
  ["PROXY TCP4 192.0.2.1 192.0.2.2 1 \xb2\r\n", /"\xb2" is not a port/],
];

for (const [line, reason] of BAD_LINES) {
  Deno.test(`v1, malformed: ${JSON.stringify(line).slice(0, 80)}`, PURE, () => {
    assertMalformed(octets(line), reason);
  });
}

/** Malformed, for the same reason however it comes, and never a header before that shows. */
function assertMalformed(bytes: Uint8Array, reason: RegExp): void {
  const parsed = parseHeader(bytes);
  assert.equal(parsed.kind, "malformed");
  assert.match(parsed.kind === "malformed" ? parsed.reason : "", reason);
  for (let length = 0; length < bytes.length; length++) {
    const early = parseHeader(bytes.subarray(0, length));
    if (early.kind !== "more") assert.deepEqual(early, parsed);
  }
}

Deno.test("no header: other protocols, as soon as it shows", PURE, () => {
  const others = [
    ...["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "proxy TCP4 ", "\n"],
    ...["\x16\x03\x01\x02\x00\x01", "PROXY\r\n", "PROXY\0", " PROXY TCP4", "\r\n\r\n\0\r\nQUIT\r"],
  ];
  for (const text of others) {
    const bytes = octets(text);
    assert.deepEqual(parseHeader(bytes), { kind: "absent" }, text);
  }
  assert.deepEqual(parseHeader(octets("\x16")), { kind: "absent" });
  assert.deepEqual(parseHeader(new Uint8Array()), { kind: "more" });
});

const V4 = "c0000201 c0000202 0001 0002";
const V6 = "20010db8000000000000000000000001 00000000000000000000ffffc0000202 0001 0002";
const FROM = "192.0.2.1:1";
const TO = "192.0.2.2:2";

function withChecksum(bytes: Uint8Array, at: number, sum?: number): Uint8Array {
  new DataView(bytes.buffer).setUint32(at, sum ?? crc32c(bytes));
  return bytes;
}

/** Headers that are right, and what they say. */
const HEADERS: readonly (readonly [name: string, bytes: Uint8Array, from?: string, to?: string])[] =
  [
    ["TCP over IPv4", binary("21 11", V4), FROM, TO],
    ["TCP over IPv6, with a mapped address", binary("21 21", V6), "2001:db8::1:1", TO],
    [
      "TLVs, known and not",
      binary("21 11", `${V4} 010000 0401f4${"00".repeat(500)} ff0001aa`),
      FROM,
      TO,
    ],
    ["a TLV about TLS", binary("21 11", `${V4} 20000a 0100000000 21000278 79`), FROM, TO],
    ["a checksum", withChecksum(binary("21 11", `${V4} 040000 030004 00000000`), 34), FROM, TO],
    ["the longest", binary("21 11", `${V4} 040fe1 ${"00".repeat(4065)}`), FROM, TO],
    ["LOCAL", binary("20 00")],
    ["LOCAL with anything", binary("20 ff", "030001 ff")],
    ["LOCAL with addresses", binary("20 11", V4)],
    ["unspecified", binary("21 00", "00 01 02")],
    ["IPv4 without a transport", binary("21 10", "00")],
    ["UDP", binary("21 12", V4)],
    ["UDP over IPv6", binary("21 22", V6)],
    ["a UNIX socket", binary("21 31", "2f61".padEnd(432, "0"))],
    ["UNIX datagrams", binary("21 32", "00".repeat(216))],
  ];

for (const [name, bytes, from, to] of HEADERS) {
  Deno.test(`v2: ${name}`, PURE, () => {
    assert.deepEqual(parseHeader(bytes), header(bytes.length, from, to));
    const more = new Uint8Array(bytes.length + 20);
    more.set(bytes);
    assert.deepEqual(parseHeader(more), header(bytes.length, from, to));
    for (let length = 0; length < bytes.length; length++) {
      assert.deepEqual(parseHeader(bytes.subarray(0, length)), { kind: "more" });
    }
  });
}

/** Headers that are wrong, with what is said of them. */
const BAD_HEADERS: readonly (readonly [name: string, bytes: Uint8Array, reason: RegExp])[] = [
  ["version 1", binary("11 11", V4), /the version is 1, not 2/],
  ["version 3", binary("31 11", V4), /the version is 3, not 2/],
  ["a command", binary("22 11", V4), /there is no command 2/],
  ["a family", binary("21 41", V4), /there is no address family 4/],
  ["a transport", binary("21 13", V4), /there is no transport 3/],
  ["a transport of nothing", binary("21 03"), /there is no transport 3/],
  [
    "no room for IPv4",
    binary("21 11", V4.slice(0, -2)),
    /27 bytes long: the addresses do not fit/,
  ],
  ["no room for IPv6", binary("21 21", V4), /28 bytes long: the addresses do not fit/],
  ["no room for a path", binary("21 31", "00".repeat(215)), /the addresses do not fit/],
  ["no addresses", binary("21 11"), /16 bytes long: the addresses do not fit/],
  ["too long", hex(`${SIGNATURE} 21 11 0ff1`), /4097 bytes long, 4096 is the most/],
  ["far too long", hex(`${SIGNATURE} 20 00 ffff`), /65551 bytes long, 4096 is the most/],
  ["half a TLV", binary("21 11", `${V4} 0400`), /a TLV goes beyond the end/],
  ["a TLV that is longer", binary("21 11", `${V4} 040002 00`), /a TLV goes beyond the end/],
  ["a TLV behind a good one", binary("21 11", `${V4} 040000 040001`), /goes beyond the end/],
  ["a TLV behind UDP", binary("21 12", `${V4} 04ffff`), /a TLV goes beyond the end/],
  ["TLS without its bits", binary("21 11", `${V4} 200004 01000000`), /inside the one about TLS/],
  [
    "half a TLV of TLS",
    binary("21 11", `${V4} 200007 0100000000 2100`),
    /inside the one about TLS/,
  ],
  ["a long one of TLS", binary("21 11", `${V4} 200008 0100000000 210001`), /inside the one about/],
  ["a short checksum", binary("21 11", `${V4} 030003 000000`), /is not 4 bytes long/],
  ["a wrong checksum", binary("21 11", `${V4} 030004 00000000`), /the checksum does not fit/],
  [
    "two checksums",
    withChecksum(binary("21 11", `${V4} 030004 00000000 030004 00000000`), 31),
    /more than one checksum/,
  ],
];

for (const [name, bytes, reason] of BAD_HEADERS) {
  Deno.test(`v2, malformed: ${name}`, PURE, () => assertMalformed(bytes, reason));
}

Deno.test("v2: a header in the middle of a buffer", PURE, () => {
  const bytes = withChecksum(binary("21 11", `${V4} ${tlvHex(3, "\0\0\0\0")}`), 31);
  const buffer = new Uint8Array(bytes.length + 7);
  buffer.set(bytes, 7);
  assert.deepEqual(parseHeader(buffer.subarray(7)), header(bytes.length, FROM, TO));
});

Deno.test("v2: what is read is left as it was, also where it is a Buffer", PURE, () => {
  const bytes = withChecksum(binary("21 11", `${V4} ${tlvHex(3, "\0\0\0\0")}`), 31);
  const buffer = Buffer.concat([octets("before "), bytes]).subarray(7);
  assert.deepEqual(parseHeader(buffer), header(bytes.length, FROM, TO));
  assert.deepEqual(Uint8Array.from(buffer), bytes);
});

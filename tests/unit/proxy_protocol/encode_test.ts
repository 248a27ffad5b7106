import assert from "node:assert/strict";
import { crc32c } from "../../../src/proxy_protocol/crc32c.ts";
import {
  type ConnectionFacts,
  encodeHeader,
  type HeaderVersion,
} from "../../../src/proxy_protocol/encode.ts";
import { parseEndpoint } from "../../../src/proxy_protocol/endpoint.ts";
import { soleCommonName, type TlsFacts } from "../../../src/proxy_protocol/tls_facts.ts";
import { EMPTY_PEER } from "../../support/acl.ts";
import { binary, hex, octets, tlvHex, tlvsOf } from "../../support/proxy_protocol.ts";

const PURE = { permissions: "none" } as const;

const V4: ConnectionFacts = {
  source: { host: "192.168.0.1", port: 56324 },
  destination: { host: "192.168.0.11", port: 443 },
};
const V6: ConnectionFacts = {
  source: { host: "2001:db8::1", port: 1 },
  destination: { host: "2001:DB8:0:0::2", port: 65535 },
};
const NOTHING: ConnectionFacts = { source: undefined, destination: undefined };

function bytesOf(version: HeaderVersion, facts: ConnectionFacts): Uint8Array {
  const { bytes, omitted } = encodeHeader(version, facts);
  assert.deepEqual(omitted, []);
  return bytes;
}

function line(facts: ConnectionFacts): string {
  return new TextDecoder().decode(bytesOf("v1", facts));
}

Deno.test("v1: a line, to the letter", PURE, () => {
  assert.equal(line(V4), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
  assert.equal(line(V6), "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
  assert.equal(line(NOTHING), "PROXY UNKNOWN\r\n");
});

Deno.test("v1: what is known of TLS is not in it", PURE, () => {
  const tls = { protocol: "TLSv1.3", alpn: "h2", certificate: certificate(new Uint8Array(9)) };
  assert.equal(line({ ...V4, tls }), line(V4));
  assert.deepEqual(bytesOf("v2", { ...V4, tls }), bytesOf("v2", V4));
});

/** Ends of which a header cannot have both as they are. */
const ENDS: readonly (readonly [name: string, from: string, to: string, line: string])[] = [
  ["mapped IPv4 is IPv4", "::ffff:192.0.2.1", "::FFFF:c000:202", "TCP4 192.0.2.1 192.0.2.2"],
  ["IPv4 beside IPv6 is mapped", "192.0.2.1", "2001:db8::2", "TCP6 ::ffff:c000:201 2001:db8::2"],
  ["IPv6 beside IPv4", "2001:db8::1", "192.0.2.2", "TCP6 2001:db8::1 ::ffff:c000:202"],
  ["zones are left out", "fe80::1%eth0", "fe80::2%a b\r\n", "TCP6 fe80::1 fe80::2"],
];

for (const [name, from, to, expected] of ENDS) {
  Deno.test(`ends: ${name}`, PURE, () => {
    const facts = { source: { host: from, port: 7 }, destination: { host: to, port: 8 } };
    assert.equal(line(facts), `PROXY ${expected} 7 8\r\n`);
    assert.equal(bytesOf("v2", facts)[13], expected.startsWith("TCP4") ? 0x11 : 0x21);
  });
}

Deno.test("ends: one that is unknown makes the whole unknown", PURE, () => {
  const bad = [
    { host: "example.com", port: 1 },
    { host: "1.2.3", port: 1 },
    { host: "1.2.3.4", port: 65536 },
    { host: "1.2.3.4", port: -1 },
    { host: "1.2.3.4", port: 1.5 },
    { host: "1.2.3.4", port: NaN },
    undefined,
  ];
  for (const end of bad) {
    for (const facts of [{ ...V4, source: end }, { ...V4, destination: end }]) {
      assert.equal(line(facts), "PROXY UNKNOWN\r\n");
      assert.deepEqual(bytesOf("v2", facts), binary("20 00"));
    }
  }
});

Deno.test("ends: a channel's remote is read as it is written", PURE, () => {
  assert.deepEqual(parseEndpoint("192.0.2.1:80"), { host: "192.0.2.1", port: 80 });
  assert.deepEqual(parseEndpoint("[::1]:0"), { host: "::1", port: 0 });
  for (
    const text of [
      ...["", ":80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:1x", "::1:80"],
      ...["[::1]", "[::1:80", "::1]:80", "[]:80", "localhost:80", "unix:/a", "unix:", "memory:0"],
      ...["1.2.3.4:80\n", " 1.2.3.4:80", "[[::1]]:80"],
    ]
  ) assert.equal(parseEndpoint(text), undefined, text);
});

Deno.test("v2: octet for octet", PURE, () => {
  assert.deepEqual(bytesOf("v2", V4), binary("21 11", "c0a80001 c0a8000b dc04 01bb"));
  const v6 = "20010db8000000000000000000000001 20010db8000000000000000000000002 0001 ffff";
  assert.deepEqual(bytesOf("v2", V6), binary("21 21", v6));
  assert.deepEqual(bytesOf("v2", NOTHING), binary("20 00"));
});

function certificate(der: Uint8Array, commonName?: string, resumed = false) {
  return { der, commonName, resumed };
}

const FULL: TlsFacts = {
  protocol: "TLSv1.3",
  alpn: "h2",
  serverName: "db.example.com",
  cipher: "TLS_AES_128_GCM_SHA256",
  keyAlgorithm: "RSA2048",
  signatureAlgorithm: "RSA-SHA256",
  certificate: certificate(hex("3003 020101"), "J\u00f6rg"),
};

Deno.test("v2-tls: octet for octet", PURE, () => {
  const inner = [
    tlvHex(0x21, "TLSv1.3"),
    tlvHex(0x22, "J\xc3\xb6rg"),
    tlvHex(0x25, "RSA2048"),
    tlvHex(0x24, "RSA-SHA256"),
    tlvHex(0x23, "TLS_AES_128_GCM_SHA256"),
    tlvHex(0x28, hex("3003020101")),
  ].join("");
  const expected = binary(
    "21 11",
    "c0a80001 c0a8000b dc04 01bb" + tlvHex(1, "h2") + tlvHex(2, "db.example.com") +
      tlvHex(0x20, hex("07 00000000" + inner)),
  );
  assert.deepEqual(bytesOf("v2-tls", { ...V4, tls: FULL }), expected);
});

Deno.test("v2-tls: who shows no certificate was not verified", PURE, () => {
  const bytes = bytesOf("v2-tls", { ...V4, tls: { protocol: "TLSv1.2", certificate: undefined } });
  assert.deepEqual(tlvsOf(bytes), ["20: 0100000001", "20/21: TLSv1.2"]);
});

Deno.test("v2-tls: a resumed session has the certificate of an earlier connection", PURE, () => {
  const tls = { protocol: "TLSv1.3", certificate: certificate(hex("30"), "web", true) };
  const fields = tlvsOf(bytesOf("v2-tls", { ...V4, tls }));
  assert.deepEqual(fields, ["20: 0500000000", "20/21: TLSv1.3", "20/22: web", "20/28: 30"]);
});

Deno.test("v2-tls: ends that are not known", PURE, () => {
  const tls = { protocol: "TLSv1.3", certificate: undefined };
  const bytes = bytesOf("v2-tls", { ...NOTHING, tls });
  assert.equal(bytes[12], 0x20);
  assert.deepEqual(tlvsOf(bytes), ["20: 0100000001", "20/21: TLSv1.3"]);
});

Deno.test("v2-tls: words that a receiver could take for others are left out", PURE, () => {
  for (
    const bad of [
      ...[
        "",
        "admin\0.evil",
        "admin\r\nX-Role: root",
        "\x7f",
        "a\u0085b",
        "\ud800",
        "x".repeat(256),
      ],
      "\u00f6".repeat(128),
    ]
  ) {
    const tls: TlsFacts = {
      protocol: "TLSv1.3",
      alpn: bad,
      serverName: bad,
      cipher: bad,
      keyAlgorithm: bad,
      signatureAlgorithm: bad,
      certificate: certificate(hex("30"), bad),
    };
    const { bytes, omitted } = encodeHeader("v2-tls", { ...V4, tls });
    assert.deepEqual(tlvsOf(bytes), ["20: 0700000000", "20/21: TLSv1.3", "20/28: 30"]);
    assert.deepEqual(
      [...omitted].sort(),
      ["alpn", "cipher", "commonName", "keyAlgorithm", "serverName", "signatureAlgorithm"],
    );
  }
});

Deno.test("v2-tls: words at the limit go in", PURE, () => {
  const long = "\u00f6".repeat(127) + "x";
  const tls = { protocol: "TLSv1.3", certificate: certificate(hex("30"), long) };
  assert(tlvsOf(bytesOf("v2-tls", { ...V4, tls })).includes(`20/22: ${long}`));
});

Deno.test("v2-tls: a certificate goes in as long as the header stays within 4096", PURE, () => {
  const encode = (length: number, checksum: boolean) =>
    encodeHeader("v2-tls", {
      ...V4,
      tls: { ...FULL, certificate: certificate(new Uint8Array(length), "web") },
    }, { checksum });
  for (const checksum of [false, true]) {
    const room = 4096 - encode(0, checksum).bytes.length;
    assert.equal(encode(room, checksum).bytes.length, 4096);
    assert.deepEqual(encode(room, checksum).omitted, []);
    for (const length of [room + 1, 65_535, 65_536, 1_000_000]) {
      const { bytes, omitted } = encode(length, checksum);
      assert.deepEqual(omitted, ["certificate"]);
      const fields = tlvsOf(bytes);
      assert(fields.includes("20: 0700000000") && fields.includes("20/22: web"), String(fields));
      assert(!fields.some((field) => field.startsWith("20/28")), String(fields));
    }
  }
});

Deno.test("v2: a checksum over the whole", PURE, () => {
  const { bytes } = encodeHeader("v2", V4, { checksum: true });
  const zeroed = Uint8Array.from(bytes);
  zeroed.fill(0, bytes.length - 4);
  const sum = crc32c(zeroed).toString(16).padStart(8, "0");
  assert.deepEqual(tlvsOf(bytes), [`03: ${sum}`]);
  assert.deepEqual(encodeHeader("v1", V4, { checksum: true }), encodeHeader("v1", V4));
});

Deno.test("CRC-32C: the vectors of RFC 3720 appendix B.4 and the usual one", PURE, () => {
  const vectors = [
    [octets("123456789"), 0xe3069283],
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    [new Uint8Array(), 0],
  ] as const;
  for (const [bytes, sum] of vectors) assert.equal(crc32c(bytes), sum);
});

Deno.test("common name: the only one that can be read", PURE, () => {
  const named = (...commonNames: { text: string | undefined; guess: string }[]) =>
    soleCommonName({ ...EMPTY_PEER, commonNames });
  const web = { text: "web", guess: "web" };
  assert.equal(named(web), "web");
  assert.equal(named(), undefined);
  assert.equal(named(web, { text: "admin", guess: "admin" }), undefined);
  assert.equal(named(web, web), undefined);
  assert.equal(named({ text: undefined, guess: "web" }), undefined);
});

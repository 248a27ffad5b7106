/**
 * Which keys and signatures the profile knows, and in which form.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  fits,
  readPublicKey,
  readSignatureAlgorithm,
  weakKey,
} from "../../../src/x509/algorithms.ts";
import type { PublicKey } from "../../../src/x509/certificate.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

const { raw } = der;

function test(name: string, fn: () => void): void {
  Deno.test({ name: `algorithms: ${name}`, permissions: "none", fn });
}

function algorithm(identifier: Uint8Array): string {
  const read = readSignatureAlgorithm(der.contentOf(identifier));
  if (read.kind === "unsupported") return `unsupported ${read.oid}`;
  return "hash" in read ? `${read.kind} ${read.hash}` : read.kind;
}

test("signatures of the profile", () => {
  const known: [pki.SignatureKind, string][] = [
    ["ecdsa-sha256", "ecdsa sha256"],
    ["ecdsa-sha384", "ecdsa sha384"],
    ["ecdsa-sha512", "ecdsa sha512"],
    ["rsa-sha256", "rsa-pkcs1 sha256"],
    ["rsa-sha384", "rsa-pkcs1 sha384"],
    ["rsa-sha512", "rsa-pkcs1 sha512"],
    ["pss-sha256", "rsa-pss sha256"],
    ["pss-sha384", "rsa-pss sha384"],
    ["pss-sha512", "rsa-pss sha512"],
    ["ed25519", "ed25519"],
  ];
  for (const [kind, name] of known) assert.equal(algorithm(pki.signatureAlgorithm(kind)), name);
});

test("signatures outside of it are named, and verify nothing", () => {
  const nil = (oid: string): Uint8Array => der.seq(der.oid(oid), der.nil());
  const unsupported: Uint8Array[] = [
    pki.signatureAlgorithm("rsa-md5"),
    pki.signatureAlgorithm("rsa-sha1"),
    pki.signatureAlgorithm("ecdsa-sha1"),
    pki.signatureAlgorithm("pss-sha1"),
    // The right OID, parameters that do not belong.
    nil("1.2.840.10045.4.3.2"),
    nil("1.3.101.112"),
    der.seq(der.oid("1.2.840.113549.1.1.11"), der.octet()),
    der.seq(der.oid("1.2.840.113549.1.1.10")),
    nil("1.2.840.113549.1.1.10"),
    pki.pssAlgorithm("sha256", "sha1"),
    pki.pssAlgorithm("sha256", "sha512"),
    pki.pssAlgorithm("sha256", "sha256", 20),
    pki.pssAlgorithm("sha256", "sha256", 48),
    pki.pssAlgorithm("sha512", "sha512", 32),
    // Ed448, SHA3-256 with RSA, DSA with SHA-256.
    der.seq(der.oid("1.3.101.113")),
    nil("2.16.840.1.101.3.4.3.14"),
    der.seq(der.oid("2.16.840.1.101.3.4.3.2")),
  ];
  for (const identifier of unsupported) {
    assert.match(algorithm(identifier), /^unsupported [\d.]+$/, identifier.toHex());
  }
});

function key(spki: Uint8Array): string {
  const read = readPublicKey(spki);
  assert.deepEqual(read.der, spki);
  if (read.kind === "unsupported") return read.what;
  if (read.kind === "rsa") return `rsa ${read.bits}`;
  return read.kind === "ec" ? read.curve : read.kind;
}

function rsa(modulus: Uint8Array, exponent: Uint8Array = raw("010001")): Uint8Array {
  const numbers = der.seq(der.int(modulus), der.int(exponent));
  const id = der.seq(der.oid("1.2.840.113549.1.1.1"), der.nil());
  return der.seq(id, der.bitString(numbers));
}

/** An odd modulus of so many bits, with the zero that keeps it positive. */
function modulus(bits: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  bytes[0] = 0xff >> ((8 - (bits % 8)) % 8);
  return bytes[0] >= 0x80 ? der.concat(raw("00"), bytes) : bytes;
}

test("keys of the profile", () => {
  for (const kind of ["p256", "p384", "ed25519", "rsa2048"] as const) {
    const name = { p256: "P-256", p384: "P-384", ed25519: "ed25519", rsa2048: "rsa 2048" }[kind];
    assert.equal(key(pki.spkiOf(pki.makeKey(kind, "algorithms"))), name);
  }
  for (const bits of [1024, 2040, 2047, 2048, 2049, 3072, 4095, 4096]) {
    assert.equal(key(rsa(modulus(bits))), `rsa ${bits}`);
  }
  for (const exponent of ["03", "11", "010001", "7fffffff"]) {
    assert.equal(key(rsa(modulus(2048), raw(exponent))), "rsa 2048", exponent);
  }
});

test("keys outside of it", () => {
  const ec = (curve: Uint8Array, point: Uint8Array): Uint8Array =>
    der.seq(der.seq(der.oid("1.2.840.10045.2.1"), curve), der.bitString(point));
  const p256 = der.oid("1.2.840.10045.3.1.7");
  const point = der.concat(raw("04"), new Uint8Array(64));
  const oddEc = "an EC key that is not P-256 or P-384";
  const oddRsa = "an RSA key whose numbers are not those of RSA";
  const cases: [string, Uint8Array, string][] = [
    ["secp256k1", pki.spkiOf(pki.makeKey("secp256k1")), oddEc],
    ["P-521", ec(der.oid("1.3.132.0.35"), new Uint8Array(133).fill(4)), oddEc],
    ["compressed point", ec(p256, der.concat(raw("02"), new Uint8Array(32))), oddEc],
    ["hybrid point", ec(p256, der.concat(raw("06"), new Uint8Array(64))), oddEc],
    ["point at infinity", ec(p256, raw("00")), oddEc],
    ["empty point", ec(p256, raw("")), oddEc],
    ["point of the other curve", ec(p256, new Uint8Array(97).fill(4)), oddEc],
    ["parameters spelled out", ec(der.seq(der.int(1)), point), oddEc],
    ["implicit curve", ec(der.nil(), point), oddEc],
    ["no curve", ec(raw(""), point), oddEc],
    ["large RSA", rsa(modulus(4097)), "an RSA key of more than 4096 bits"],
    ["huge RSA", rsa(modulus(65_536)), "an RSA key of more than 4096 bits"],
    ["even modulus", rsa(der.concat(modulus(2048).subarray(0, -1), raw("fe"))), oddRsa],
    ["modulus 0", rsa(raw("00")), oddRsa],
    ["exponent 1", rsa(modulus(2048), raw("01")), oddRsa],
    ["exponent 0", rsa(modulus(2048), raw("00")), oddRsa],
    ["even exponent", rsa(modulus(2048), raw("010000")), oddRsa],
    ["long exponent", rsa(modulus(2048), raw("0100000001")), oddRsa],
    [
      "short Ed25519",
      der.seq(der.seq(der.oid("1.3.101.112")), der.bitString(new Uint8Array(31))),
      "an odd Ed25519 key",
    ],
    [
      "Ed25519 with parameters",
      der.seq(der.seq(der.oid("1.3.101.112"), der.nil()), der.bitString(new Uint8Array(32))),
      "an odd Ed25519 key",
    ],
    [
      "X25519",
      der.seq(der.seq(der.oid("1.3.101.110")), der.bitString(new Uint8Array(32))),
      "a key of algorithm 1.3.101.110",
    ],
    [
      "RSA for PSS only",
      der.seq(der.seq(der.oid("1.2.840.113549.1.1.10")), der.bitString(raw("00"))),
      "a key of algorithm 1.2.840.113549.1.1.10",
    ],
  ];
  for (const [what, spki, message] of cases) {
    assert.equal(key(spki), message, what);
    assert.equal(weakKey(readPublicKey(spki)), message, what);
  }
});

test("what is no key at all", () => {
  const id = der.seq(der.oid("1.2.840.113549.1.1.1"), der.nil());
  const cases: [Uint8Array, string][] = [
    [raw(""), "public key is missing"],
    [der.seq(), "public key is missing"],
    [der.seq(id), "public key is missing"],
    [der.seq(id, der.octet()), "public key has tag 0x04 where 0x03 belongs"],
    [
      der.seq(id, der.bitString(raw("00"), 1)),
      "public key is a BIT STRING that is not of whole bytes",
    ],
    [der.seq(id, der.bitString(raw("3100"))), "public key has tag 0x31 where 0x30 belongs"],
    [der.concat(der.seq(id), raw("00")), "public key has bytes left over at its end"],
    [der.seq(der.seq(), der.bitString(raw("00"))), "public key is missing"],
    [
      der.seq(der.seq(der.oid("1.2.3")), der.bitString(raw("")), der.nil()),
      "public key has bytes left over at its end",
    ],
    [
      der.seq(der.seq(der.oid("1.2.3"), der.nil(), der.nil()), der.bitString(raw(""))),
      "public key has bytes left over at its end",
    ],
    [
      der.seq(der.seq(der.oid("1.2.840.113549.1.1.1")), der.bitString(raw("3000"))),
      "public key has odd parameters",
    ],
    [der.seq(id, der.bitString(der.seq(der.int(3)))), "public key is missing"],
    [
      der.seq(id, der.bitString(der.seq(der.int(3), der.int(3), der.int(3)))),
      "public key has bytes left over at its end",
    ],
    [rsa(raw("80"), raw("03")), "public key is negative"],
    [rsa(raw("0003"), raw("03")), "public key is an INTEGER that is not DER"],
    [rsa(modulus(2048), raw("0003")), "public key is an INTEGER that is not DER"],
    [
      der.seq(
        id,
        der.concat(der.bitString(der.concat(der.seq(der.int(3), der.int(3)), raw("00")))),
      ),
      "public key has bytes left over at its end",
    ],
  ];
  const said = cases.map(([spki]) => {
    try {
      return readPublicKey(spki).kind;
    } catch (error) {
      assert.equal(error instanceof Error ? error.name : error, "CertificateError");
      return error instanceof Error ? error.message : "";
    }
  });
  assert.deepEqual(said, cases.map(([, message]) => message));
});

test("keys and signatures that belong together", () => {
  const keys: PublicKey[] = (["p256", "p384", "ed25519", "rsa2048", "secp256k1"] as const).map(
    (kind) => readPublicKey(pki.spkiOf(pki.makeKey(kind, "algorithms"))),
  );
  const together = (["ecdsa-sha256", "ed25519", "rsa-sha256", "pss-sha256", "rsa-sha1"] as const)
    .map((kind) => {
      const read = readSignatureAlgorithm(der.contentOf(pki.signatureAlgorithm(kind)));
      return [kind, ...keys.map((key) => Number(fits(read, key)))].join(" ");
    });
  assert.deepEqual(together, [
    "ecdsa-sha256 1 1 0 0 0",
    "ed25519 0 0 1 0 0",
    "rsa-sha256 0 0 0 1 0",
    "pss-sha256 0 0 0 1 0",
    "rsa-sha1 0 0 0 0 0",
  ]);
});

test("strength", () => {
  assert.equal(weakKey(readPublicKey(rsa(modulus(2048)))), undefined);
  const weak = "an RSA key of 2047 bits where 2048 is the least";
  assert.equal(weakKey(readPublicKey(rsa(modulus(2047)))), weak);
  assert.equal(weakKey(readPublicKey(pki.spkiOf(pki.makeKey("p384")))), undefined);
  assert.equal(weakKey(readPublicKey(pki.spkiOf(pki.makeKey("ed25519")))), undefined);
});

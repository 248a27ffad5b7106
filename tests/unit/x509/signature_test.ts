/**
 * The engine's checks of signatures are strict, and nothing makes them throw. These are facts of the
 * runtime that path validation stands on: a failure here after an update of Deno is a hole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import * as crypto from "node:crypto";
import { verifySignature, verifySignatureFaster } from "../../../src/tls/signature.ts";
import { readPublicKey, readSignatureAlgorithm } from "../../../src/x509/algorithms.ts";
import type { PublicKey, SignatureAlgorithm } from "../../../src/x509/certificate.ts";
import { parseCertificate } from "../../../src/x509/parse.ts";
import type { VerifySignature } from "../../../src/x509/path.ts";
import * as der from "../../support/der.ts";
import * as pki from "../../support/pki.ts";

const { raw, concat } = der;
const DATA = new TextEncoder().encode("what was signed");

/** What both implementations have to agree on by the end of a test. */
const agreements: Promise<void>[] = [];

const verify: VerifySignature = (...args) => {
  const good = verifySignature(...args);
  agreements.push(
    verifySignatureFaster(...args).then((faster) => {
      assert.equal(faster, good, `the two implementations differ: ${JSON.stringify(args[0])}`);
    }),
  );
  return good;
};

function test(name: string, fn: () => void): void {
  Deno.test({
    name: `signature: ${name}`,
    permissions: "none",
    fn: async () => {
      fn();
      assert(agreements.length > 0);
      await Promise.all(agreements.splice(0));
    },
  });
}

function algorithm(kind: pki.SignatureKind): SignatureAlgorithm {
  return readSignatureAlgorithm(der.contentOf(pki.signatureAlgorithm(kind)));
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

const KINDS: readonly [pki.KeyKind, readonly pki.SignatureKind[]][] = [
  ["p256", ["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]],
  ["p384", ["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]],
  ["ed25519", ["ed25519"]],
  [
    "rsa2048",
    ["rsa-sha256", "rsa-sha384", "rsa-sha512", "pss-sha256", "pss-sha384", "pss-sha512"],
  ],
];

test("every algorithm of the profile verifies what it signed and nothing else", () => {
  const keys = KINDS.map(([kind]) => readPublicKey(pki.spkiOf(pki.makeKey(kind, "signature"))));
  for (const [i, [kind, algorithms]] of KINDS.entries()) {
    const private_ = kind === "rsa2048" ? pki.makeKey(kind, "signature") : pki.makeKey(kind);
    const key = readPublicKey(pki.spkiOf(private_));
    for (const name of algorithms) {
      const signature = pki.sign(name, private_, DATA);
      const said = (k: PublicKey, a: string, data: Uint8Array, s: Uint8Array): boolean =>
        verify(algorithm(a as pki.SignatureKind), k, data, s);
      assert.equal(said(key, name, DATA, signature), true, name);
      assert.equal(said(key, name, flipped(DATA, 0), signature), false, name);
      assert.equal(said(key, name, new Uint8Array(), signature), false, name);
      for (const at of [0, 1, 5, signature.length - 1]) {
        assert.equal(said(key, name, DATA, flipped(signature, at)), false, `${name} ${at}`);
      }
      for (const length of [0, 1, signature.length - 1]) {
        assert.equal(said(key, name, DATA, signature.subarray(0, length)), false, name);
      }
      assert.equal(said(key, name, DATA, concat(signature, raw("00"))), false, name);
      assert.equal(said(key, name, DATA, concat(raw("00"), signature)), false, name);
      for (const other of KINDS.flatMap(([, names]) => names)) {
        if (other !== name) assert.equal(said(key, other, DATA, signature), false, other);
      }
      for (const [j, other] of keys.entries()) {
        if (i !== j) assert.equal(said(other, name, DATA, signature), false, name);
      }
    }
  }
});

test("weak and unknown algorithms verify nothing, even where the signature is right", () => {
  const key = pki.makeKey("rsa2048", "signature");
  for (const kind of ["rsa-sha1", "rsa-md5", "pss-sha1"] as const) {
    const signature = pki.sign(kind, key, DATA);
    assert.equal(verify(algorithm(kind), readPublicKey(pki.spkiOf(key)), DATA, signature), false);
  }
});

test("a key that cannot be used answers no, once and again", () => {
  const ec = der.seq(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"));
  const off = readPublicKey(der.seq(ec, der.bitString(new Uint8Array(65).fill(4))));
  assert.equal(off.kind, "ec");
  const strange = readPublicKey(der.seq(der.seq(der.oid("1.2.3")), der.bitString(raw("00"))));
  for (const key of [off, off, strange, strange]) {
    assert.equal(verify(algorithm("ecdsa-sha256"), key, DATA, raw("3006020101020101")), false);
  }
});

test("an argument that is none answers no", () => {
  const key = readPublicKey(pki.spkiOf(pki.makeKey()));
  const nothing = undefined as unknown as Uint8Array;
  assert.equal(verify(algorithm("ecdsa-sha256"), key, nothing, raw("00")), false);
  assert.equal(verify(algorithm("ecdsa-sha256"), key, DATA, nothing), false);
});

test("certificates are verified by their issuers' keys", () => {
  for (const [kind] of KINDS) {
    const ca = pki.makeCa({ kind });
    const key = parseCertificate(ca.der).publicKey;
    for (const [forged, expected] of [[false, true], [true, false]] as const) {
      const { signatureAlgorithm, tbs, signature } = parseCertificate(
        pki.makeLeaf({ forged }, ca).der,
      );
      assert.equal(verify(signatureAlgorithm, key, tbs, signature), expected, kind);
      assert.equal(verify(signatureAlgorithm, key, tbs, signature), expected, kind);
    }
  }
});

test("ECDSA: r and s in strict DER and in range", () => {
  const orders = {
    p256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    p384: BigInt("0x" + "f".repeat(48) + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973"),
  };
  for (const kind of ["p256", "p384"] as const) {
    const n = orders[kind];
    let private_ = pki.makeKey(kind);
    // One whose r has its first bit set, so that leaving the zero out makes it negative. The
    // signature is the same each time: only another key gives another.
    let [r, s, bare] = [raw(""), raw(""), raw("")];
    while ((bare[0] ?? 0) < 0x80) {
      private_ = pki.makeKey(kind);
      const signature = pki.sign("ecdsa-sha256", private_, DATA);
      const [first, second] = der.split(der.contentOf(signature)).map(der.contentOf);
      assert.ok(first && second);
      [r, s, bare] = [first, second, first[0] === 0 ? first.subarray(1) : first];
    }
    const key = readPublicKey(pki.spkiOf(private_));
    const says = (signature: Uint8Array): boolean =>
      verify(algorithm("ecdsa-sha256"), key, DATA, signature);
    const number = (bytes: Uint8Array): bigint => BigInt(`0x${bytes.toHex()}`);
    const good = der.seq(der.int(r), der.int(s));
    assert.equal(says(good), true);
    // Both s and n - s are signatures; a certificate signed anew so has another fingerprint only.
    assert.equal(says(der.seq(der.int(r), der.int(n - number(s)))), true);
    const bad: Record<string, Uint8Array> = {
      "padded r": der.seq(der.int(concat(raw("00"), r)), der.int(s)),
      "padded s": der.seq(der.int(r), der.int(concat(raw("0000"), s))),
      "negative r": der.seq(der.int(bare), der.int(s)),
      "zero r": der.seq(der.int(0), der.int(s)),
      "zero s": der.seq(der.int(r), der.int(0)),
      "zeros": der.seq(der.int(0), der.int(0)),
      "order": der.seq(der.int(n), der.int(n)),
      "r + n": der.seq(der.int(number(r) + n), der.int(s)),
      "s + n": der.seq(der.int(r), der.int(number(s) + n)),
      "huge r": der.seq(der.int(1n << 4000n), der.int(s)),
      "empty numbers": der.seq(der.int(""), der.int("")),
      "long length": der.longForm(good),
      "indefinite": der.indefinite(good),
      "three numbers": der.seq(der.int(r), der.int(s), der.int(0)),
      "one number": der.seq(der.int(r)),
      "a set": der.setUnsorted(der.int(r), der.int(s)),
      "no DER at all": concat(bare, s),
    };
    for (const [what, signature] of Object.entries(bad)) assert.equal(says(signature), false, what);
  }
});

test("Ed25519: 64 bytes, S in range", () => {
  const private_ = pki.makeKey("ed25519");
  const key = readPublicKey(pki.spkiOf(private_));
  const signature = pki.sign("ed25519", private_, DATA);
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${signature.slice(32).reverse().toHex()}`) + order;
  const sPlusOrder = raw(s.toString(16).padStart(64, "0")).reverse();
  const bad = [concat(signature.subarray(0, 32), sPlusOrder), new Uint8Array(64), raw("ff")];
  for (const length of [32, 63, 65, 128]) bad.push(concat(signature, signature).slice(0, length));
  for (const bytes of bad) assert.equal(verify(algorithm("ed25519"), key, DATA, bytes), false);
});

test("RSA-PSS: the salt is as long as the hash", () => {
  const private_ = pki.makeKey("rsa2048", "signature");
  const key = readPublicKey(pki.spkiOf(private_));
  const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
  for (const hash of ["sha256", "sha384", "sha512"] as const) {
    const right = pki.HASH_SIZE[hash];
    for (const saltLength of [0, 20, right - 1, right, right + 1, 222 - right]) {
      const signature = crypto.sign(hash, DATA, { key: private_, padding, saltLength });
      const says = verify({ kind: "rsa-pss", hash }, key, DATA, new Uint8Array(signature));
      assert.equal(says, saltLength === right, `${hash} ${saltLength}`);
    }
  }
});

/** Powers modulo n, for making signatures that no library would. */
function power(base: bigint, exponent: bigint, n: bigint): bigint {
  let result = 1n;
  for (let e = exponent, b = base % n; e > 0n; e >>= 1n, b = (b * b) % n) {
    if ((e & 1n) === 1n) result = (result * b) % n;
  }
  return result;
}

const SIZE = 256;
const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${bytes.toHex() || "0"}`);
const toBytes = (value: bigint): Uint8Array => raw(value.toString(16).padStart(SIZE * 2, "0"));
const DIGEST = new Uint8Array(crypto.createHash("sha256").update(DATA).digest());

/** The padded message of PKCS#1 v1.5, filled up with 0xff, or with so many and then garbage. */
function padded(digestInfo: Uint8Array, filler = SIZE - 3 - digestInfo.length): Uint8Array {
  const head = concat(raw("0001"), new Uint8Array(filler).fill(0xff), raw("00"), digestInfo);
  return concat(head, new Uint8Array(SIZE - head.length).fill(0xaa));
}

const INFO = concat(raw("3031300d060960864801650304020105000420"), DIGEST);

test("RSA PKCS#1 v1.5: the padding is compared whole", () => {
  const private_ = pki.makeKey("rsa2048", "signature");
  const { n, d } = private_.export({ format: "jwk" });
  const [modulus, secret] = [n, d].map((text) => toNumber(Buffer.from(text ?? "", "base64url")));
  assert.ok(modulus && secret);
  const key = readPublicKey(pki.spkiOf(private_));
  const says = (s: bigint): boolean => verify(algorithm("rsa-sha256"), key, DATA, toBytes(s));
  const signed = (message: Uint8Array): bigint => power(toNumber(message), secret, modulus);
  assert.equal(says(signed(padded(INFO))), true);
  const sha256 = der.oid("2.16.840.1.101.3.4.2.1");
  const bad: Record<string, Uint8Array> = {
    "garbage behind the hash": padded(INFO, 8),
    "garbage in the padding": flipped(padded(INFO), 10),
    "another block type": flipped(padded(INFO), 1),
    "no zero in front": flipped(padded(INFO), 0),
    "no zero before the hash": flipped(padded(INFO), SIZE - INFO.length - 1),
    "no NULL": padded(der.seq(der.seq(sha256), der.octet(DIGEST))),
    "lengths that are not DER": padded(der.seq(der.longForm(INFO.subarray(2, 17)), INFO.slice(17))),
    "garbage as parameters": padded(
      der.seq(der.seq(sha256, der.octet(new Uint8Array(100))), der.octet(DIGEST)),
    ),
    "the hash alone": padded(DIGEST),
    "the hash of another": padded(concat(INFO.subarray(0, 19), DIGEST.toReversed())),
  };
  for (const [what, message] of Object.entries(bad)) {
    assert.equal(says(signed(message) % modulus), false, what);
  }
  for (const s of [0n, 1n, modulus, modulus - 1n]) assert.equal(says(s), false);
});

test("RSA with exponent 3: a cube root is no signature", () => {
  // Bleichenbacher 2006: with room for garbage behind the hash, a cube can be made by anybody.
  const modulus = (1n << 2048n) - 1n - (1n << 1000n);
  const numbers = der.seq(der.int(modulus), der.int(3));
  const id = der.seq(der.oid("1.2.840.113549.1.1.1"), der.nil());
  const key = readPublicKey(der.seq(id, der.bitString(numbers)));
  assert.deepEqual([key.kind, "bits" in key && key.bits], ["rsa", 2048]);
  const head = concat(raw("0001"), new Uint8Array(8).fill(0xff), raw("00"), INFO);
  const goal = toNumber(concat(head, new Uint8Array(SIZE - head.length).fill(0xff)));
  let [low, high] = [0n, 1n << 690n];
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (middle ** 3n <= goal) low = middle;
    else high = middle - 1n;
  }
  assert.deepEqual(toBytes(low ** 3n).subarray(0, head.length), head);
  assert.equal(verify(algorithm("rsa-sha256"), key, DATA, toBytes(low)), false);
});
